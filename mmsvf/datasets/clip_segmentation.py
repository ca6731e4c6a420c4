"""Video segmentation data sets for mmsegmentation: a labelled frame and the earlier frames of its clip."""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset, CityscapesDataset

from mmsvf.registry import DATASETS

from .reading import PICTURES, check_image, natural, read_list, reading

MASKS = ('1', 'L', 'P')  # Pillow's modes of a label a pixel, in up to 8 bits


class ClipSegDataset(BaseSegDataset, ABC):
    """A sample is a labelled frame with ``clip_paths``, its clip from the oldest frame to itself.

    A subclass gives ``sample``. Without offsets a sample is an image.
    """

    def __init__(self, offsets: Sequence[int] = (-9, -6, -3), reverse_prob: float = 0.5, **kwargs: Any) -> None:
        self.offsets = tuple(offsets)
        if any(offset >= 0 for offset in self.offsets) or list(self.offsets) != sorted(set(self.offsets)):
            raise ValueError(
                f'offsets={self.offsets}; frames before the labelled one, oldest first, such as (-9, -6, -3)'
            )
        self.reverse_prob = reverse_prob
        super().__init__(**kwargs)

    @abstractmethod
    def sample(self, info: dict[str, Any]) -> dict[str, Any]:
        """``img_path``, ``seg_map_path``, ``clip_paths``, ``video_id`` and ``frame_id`` of a draw."""

    def prepare_data(self, idx: int) -> Any:
        """Draw a clip, look at its files and run the pipeline on it."""
        info = self.get_data_info(idx)
        info.update(self.sample(info))
        for path in info['clip_paths']:
            check_image(path)
        check_image(info['seg_map_path'], MASKS)
        with reading(info['img_path']):
            return self.pipeline(info)

    def _info(self, **values: Any) -> dict[str, Any]:
        common = dict(label_map=self.label_map, reduce_zero_label=self.reduce_zero_label, seg_fields=[])
        return dict(**common, num_classes=len(self.metainfo['classes']), **values)


def clip_indices(target: int, offsets: Sequence[int]) -> list[int]:
    """Frames of the clip of a target, oldest first; near the start of a video they move together.

    From ``-offsets[0]`` on they are the offsets'. Before that, from ``len(offsets)`` on, they are
    spread evenly over what there is; the first frames stand alone (VSPW's rule in CFFM).
    """
    if not offsets or target < len(offsets):
        return [target]
    if target >= -offsets[0]:
        return [target + offset for offset in offsets] + [target]
    return [ceil(k * target / len(offsets)) for k in range(len(offsets))] + [target]


def list_pictures(folder: Path, suffix: str) -> list[str]:
    """Names of the pictures of a folder in the order of the numbers in them, whether padded with zeros or not.

    Raises:
        FileNotFoundError: there are none.
        ValueError: pictures of another suffix among them, or two of the same number.
    """
    names = (p.name for p in folder.glob('*') if p.suffix.lower() in PICTURES and p.name[0] != '.')
    found = sorted(names, key=lambda name: (natural(name), name))
    if not found:
        raise FileNotFoundError(f'{folder} has no *{suffix}')
    others = [name for name in found if not name.endswith(suffix)]
    if others:
        raise ValueError(
            f'{folder} has {len(others)} pictures that are not *{suffix}, such as {others[0]}; convert them'
        )
    for name, following in zip(found, found[1:]):
        if natural(name) == natural(following):
            raise ValueError(f'{folder} has {name} and {following}, whose order cannot be told; rename or remove one')
    return found


@DATASETS.register_module()
class VSPWDataset(ClipSegDataset):
    """VSPW: ``data_root/data/<video>/{origin/*.jpg, mask/*.png}``, videos listed in ``ann_file``.

    In training a sample is a video, of which a frame is drawn; with ``reverse_prob`` the video
    runs backwards. In testing every frame is a sample. A video that is shorter than the offsets
    follows the rule of :func:`clip_indices`.

    Args:
        ann_file: ``train.txt`` or ``val.txt``, a video a line.
        offsets: Earlier frames, relative to the labelled one; () for images.
        reverse_prob: Probability of a reversed video, in training.
        metainfo: ``classes`` (and ``palette``) other than VSPW's 124, which are numbered here.
        **kwargs: As in mmsegmentation's ``BaseSegDataset``. Labels 0 and 255 are void, 1 to 124
            the classes (``reduce_zero_label=True``).

    Raises:
        FileNotFoundError: the list, a video's folder, a frame or a mask is missing.
        ValueError: an empty list, a frame or a mask that is not as it should be, or frames whose order cannot be told.
    """

    def __init__(
        self,
        ann_file: str,
        metainfo: dict[str, Any] | None = None,
        reduce_zero_label: bool = True,
        **kwargs: Any,
    ) -> None:
        metainfo = metainfo or dict(classes=tuple(f'class {i}' for i in range(1, 125)))
        super().__init__(ann_file=ann_file, metainfo=metainfo, reduce_zero_label=reduce_zero_label, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        if not Path(self.ann_file).is_file():
            raise FileNotFoundError(f'{self.ann_file} does not exist; set ann_file to a list of videos, one a line')
        root, data, gaps = Path(self.data_root or ''), [], []
        for line, video in read_list(self.ann_file):
            folder = root / 'data' / video
            if not folder.is_dir():
                raise FileNotFoundError(f'{folder} is missing; line {line} of {self.ann_file} lists this video')
            frames, masks = list_pictures(folder / 'origin', '.jpg'), list_pictures(folder / 'mask', '.png')
            unpaired = sorted({name[:-4] for name in frames} ^ {name[:-4] for name in masks}, key=natural)
            if unpaired:
                raise FileNotFoundError(
                    f'{folder} has {len(unpaired)} frames without a mask or masks without a frame, such as '
                    f'{unpaired[0]}; origin and mask have the same names'
                )
            numbers = [int(digits) for name in frames if (digits := ''.join(re.findall(r'\d', name)))]
            if len(set(np.diff(numbers).tolist())) > 1:  # allowed: clips go by place, not by number
                gaps.append(str(folder / 'origin'))
            targets = range(len(frames)) if self.test_mode else [None]
            data += [self._info(folder=str(folder), frames=frames, target=t) for t in targets]
        if not data:
            raise ValueError(f'{self.ann_file} lists no video; one name a line')
        if gaps:
            message = f'{len(gaps)} videos have gaps between their frames, which clips go over, such as {gaps[0]}'
            print_log(message, logger='current', level=logging.WARNING)
        return data

    def sample(self, info: dict[str, Any]) -> dict[str, Any]:
        frames, target, folder = info['frames'], info['target'], Path(info['folder'])
        if target is None:
            first = -self.offsets[0] if self.offsets else 0
            target = int(np.random.randint(min(first, len(frames) - 1), len(frames)))  # noqa: NPY002
            if np.random.rand() < self.reverse_prob:  # noqa: NPY002
                frames = frames[::-1]
        name = frames[target]
        return dict(
            img_path=str(folder / 'origin' / name),
            seg_map_path=str(folder / 'mask' / f'{Path(name).stem}.png'),
            clip_paths=[str(folder / 'origin' / frames[i]) for i in clip_indices(target, self.offsets)],
            video_id=folder.name,
            frame_id=target,
        )


@DATASETS.register_module()
class CityscapesClipDataset(ClipSegDataset, CityscapesDataset):
    """Cityscapes with the frames of its sequences.

    Samples are the labelled frames ``gtFine/<split>/<city>/*_gtFine_labelTrainIds.png`` with
    ``leftImg8bit``; earlier frames are looked up in ``sequence_path`` (leftImg8bit_sequence) by
    the number in the file name. In training the clip comes from later frames with ``reverse_prob``,
    and from the other side where a frame is missing; in testing a missing frame is an error.

    Args:
        sequence_path: Folder of the sequence's frames, under ``data_root``; the default is that
            of the images.
        offsets, reverse_prob: As in :class:`VSPWDataset`.
        **kwargs: As in mmsegmentation's ``CityscapesDataset``.

    Raises:
        FileNotFoundError: no labelled frame, or a frame is missing.
    """

    NAME = re.compile(r'(?P<city>.+)_(?P<sequence>\d{6})_(?P<frame>\d{6})_leftImg8bit\.png')

    def __init__(self, sequence_path: str | None = None, **kwargs: Any) -> None:
        self.sequence_path = sequence_path
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        images, labels = Path(self.data_prefix['img_path']), Path(self.data_prefix['seg_map_path'])
        found = sorted(labels.rglob(f'*{self.seg_map_suffix}')) if labels.is_dir() else []
        if not found:
            raise FileNotFoundError(f'no *{self.seg_map_suffix} under {labels}; set data_root and data_prefix')
        data = []
        for label in found:
            name = label.relative_to(labels).as_posix()[: -len(self.seg_map_suffix)] + self.img_suffix
            if not (images / name).is_file():
                raise FileNotFoundError(f'{images / name} is missing; {label} is its label')
            data.append(self._info(img_path=str(images / name), seg_map_path=str(label), name=name))
        return data

    def sample(self, info: dict[str, Any]) -> dict[str, Any]:
        name = Path(info['name'])
        match = self.NAME.fullmatch(name.name)
        if match is None:
            raise ValueError(f"{name}: not a name of Cityscapes', city_sequence_frame_leftImg8bit.png")
        folder = Path(self.data_prefix['img_path'])
        if self.sequence_path is not None:
            folder = Path(self.data_root or '') / self.sequence_path
        frame = int(match['frame'])

        def paths(sign: int) -> list[Path]:
            names = (
                f'{match["city"]}_{match["sequence"]}_{frame + sign * o:06d}_leftImg8bit.png' for o in self.offsets
            )
            return [folder / name.parent / n for n in names]

        sign = 1
        if not self.test_mode:
            sign = -1 if np.random.rand() < self.reverse_prob else 1  # noqa: NPY002
            if not all(path.is_file() for path in paths(sign)):
                sign = -sign
        missing = [path for path in paths(sign) if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f'{missing[0]} is missing, a frame of the clip of {info["img_path"]}; set sequence_path to the frames '
                'of leftImg8bit_sequence'
            )
        return dict(
            clip_paths=[*map(str, paths(sign)), info['img_path']],
            video_id=f'{match["city"]}_{match["sequence"]}',
            frame_id=frame,
        )
