"""Clips of Cityscapes for mmsegmentation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmseg.datasets import CityscapesDataset

from mmsvf.registry import DATASETS

from .clip_segmentation import check_offsets, run_pipeline


@DATASETS.register_module()
class CityscapesClipDataset(CityscapesDataset):
    """mmsegmentation's ``CityscapesDataset`` with the frames of its sequences, of which it knows nothing.

    Samples are the labelled frames ``gtFine/<split>/<city>/*_gtFine_labelTrainIds.png`` with
    ``leftImg8bit``; earlier frames are looked up in ``sequence_path`` (leftImg8bit_sequence) by
    the number in the file name. In training the clip comes from later frames with ``reverse_prob``,
    and from the other side where a frame is missing; in testing a missing frame is an error.

    Args:
        sequence_path: Folder of the sequence's frames, under ``data_root``; the default is that
            of the images, of which those with a label are samples.
        offsets, reverse_prob: As in :class:`VSPWDataset`.
        **kwargs: As in mmsegmentation's ``CityscapesDataset``.

    Raises:
        FileNotFoundError: no labelled frame, or a frame is missing.
    """

    NAME = re.compile(r'(?P<city>.+)_(?P<sequence>\d{6})_(?P<frame>\d{6})_leftImg8bit\.png')

    def __init__(
        self,
        sequence_path: str | None = None,
        offsets: Sequence[int] = (-9, -6, -3),
        reverse_prob: float = 0.5,
        **kwargs: Any,
    ) -> None:
        self.offsets, self.reverse_prob = check_offsets(offsets), reverse_prob
        self.sequence_path = sequence_path
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """As ``CityscapesDataset``'s, for the labelled frames alone."""
        labels = Path(self.data_prefix['seg_map_path'])
        found = sorted(labels.rglob(f'*{self.seg_map_suffix}')) if labels.is_dir() else []
        if not found:
            raise FileNotFoundError(f'no *{self.seg_map_suffix} under {labels}; set data_root and data_prefix')
        samples = {Path(info['seg_map_path']): info for info in super().load_data_list()}
        for label in found:
            if label not in samples:
                image = label.relative_to(labels).as_posix().replace(self.seg_map_suffix, self.img_suffix)
                raise FileNotFoundError(f'{self.data_prefix["img_path"]}/{image} is missing; {label} is its label')
        return [samples[label] for label in found]

    def earlier(self, path: Path) -> list[Path]:
        """Frames of the clip of a labelled frame but itself, the furthest from it first.

        Raises:
            FileNotFoundError: a frame is missing on this side and, in training, on the other.
            ValueError: a name that is not Cityscapes'.
        """
        match = self.NAME.fullmatch(path.name)
        if match is None:
            raise ValueError(f"{path}: not a name of Cityscapes', city_sequence_frame_leftImg8bit.png")
        folder = path.parent
        if self.sequence_path is not None:
            city = path.parent.relative_to(self.data_prefix['img_path'])
            folder = Path(self.data_root or '') / self.sequence_path / city

        def frames(sign: int) -> list[Path]:
            numbers = (int(match['frame']) + sign * offset for offset in self.offsets)
            return [folder / f'{match["city"]}_{match["sequence"]}_{n:06d}_leftImg8bit.png' for n in numbers]

        sign = 1
        if not self.test_mode:
            sign = -1 if np.random.rand() < self.reverse_prob else 1  # noqa: NPY002
            if not all(frame.is_file() for frame in frames(sign)):
                sign = -sign
        missing = [frame for frame in frames(sign) if not frame.is_file()]
        if missing:
            raise FileNotFoundError(
                f'{missing[0]} is missing, a frame of the clip of {path}; set sequence_path to the frames of '
                'leftImg8bit_sequence'
            )
        return frames(sign)

    def prepare_data(self, idx: int) -> Any:
        """Draw a clip, look at its files and run the pipeline on it."""
        info = self.get_data_info(idx)
        info['clip_paths'] = [*map(str, self.earlier(Path(info['img_path']))), info['img_path']]
        return run_pipeline(self, info)
