"""VSPW for mmsegmentation."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import Compose
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset

from mmsvf.registry import DATASETS

from .clip_segmentation import check_offsets, clip_indices, run_pipeline, without_masks
from .reading import check_image, list_pictures, natural, read_list, reading

# labels 1 to 124, spelt as in label_num_dic_final.json, which the data set's authors publish with VIPSeg, made from it
# (github.com/VIPSeg-Dataset/VIPSeg-Dataset); label 0 is "others", which is void
CLASSES = tuple(
    """
    wall ceiling door stair ladder escalator Playground_slide handrail_or_fence window rail goal pillar pole
    floor ground grass sand athletic_field road path crosswalk building house bridge tower windmill
    well_or_well_lid other_construction sky mountain stone wood ice snowfield grandstand sea river lake
    waterfall water billboard_or_Bulletin_Board sculpture pipeline flag parasol_or_umbrella cushion_or_carpet
    tent roadblock car bus truck bicycle motorcycle wheeled_machine ship_or_boat raft airplane tyre
    traffic_light lamp person cat dog horse cattle other_animal tree flower other_plant toy ball_net backboard
    skateboard bat ball cupboard_or_showcase_or_storage_rack box traveling_case_or_trolley_case basket
    bag_or_package trash_can cage plate tub_or_bowl_or_pot bottle_or_cup barrel fishbowl bed pillow
    table_or_desk chair_or_seat bench sofa shelf bathtub gun commode roaster other_machine refrigerator
    washing_machine Microwave_oven fan curtain textiles clothes painting_or_poster mirror flower_pot_or_vase
    clock book tool blackboard tissue screen_or_television computer printer Mobile_phone keyboard
    other_electronic_product fruit food instrument train
    """.split()  # noqa: SIM905
)


@DATASETS.register_module()
class VSPWDataset(BaseSegDataset):
    """VSPW: ``data_root/data/<video>/{origin/*.jpg, mask/*.png}``, videos listed in ``ann_file``.

    mmsegmentation has no data set of videos: its ``BaseSegDataset`` wants masks under the paths of their pictures and
    lists of pictures, and would make each of the 198,244 frames a sample of an epoch. Here, in training, a sample is a
    video, of which a frame is drawn; with ``reverse_prob`` the video runs backwards. In testing every frame is one; a
    video without masks (VSPW's test videos, the user's own) is tested without: set ``test_evaluator.format_only``. A
    video that is shorter than the offsets follows the rule of :func:`clip_indices`.

    Args:
        ann_file: ``train.txt``, ``val.txt`` or ``test.txt``, one video per line.
        offsets: Earlier frames, relative to the labelled one; () for images.
        reverse_prob: Probability of a reversed video, in training.
        metainfo: ``classes`` (and ``palette``) other than VSPW's 124.
        pipeline: Transforms; those that load a mask are left out for videos without masks.
        **kwargs: As in mmsegmentation's ``BaseSegDataset``. Labels 0 and 255 are void, 1 to 124
            the classes (``reduce_zero_label=True``).

    Raises:
        FileNotFoundError: the list, a video's folder, a frame or a mask is missing.
        ValueError: an empty list, a frame or a mask that is not as it should be, or frames whose order cannot be told.
    """

    def __init__(
        self,
        ann_file: str,
        offsets: Sequence[int] = (-9, -6, -3),
        reverse_prob: float = 0.5,
        metainfo: dict[str, Any] | None = None,
        reduce_zero_label: bool = True,
        pipeline: Sequence[Any] = (),
        **kwargs: Any,
    ) -> None:
        self.offsets, self.reverse_prob = check_offsets(offsets), reverse_prob
        self.unlabelled = Compose(without_masks(pipeline))
        # not METAINFO: what is there, others' classes could only be a part of
        metainfo = metainfo or dict(classes=CLASSES)
        super().__init__(
            ann_file=ann_file,
            metainfo=metainfo,
            reduce_zero_label=reduce_zero_label,
            pipeline=list(pipeline),
            **kwargs,
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """A video per entry in training, a frame per entry in testing (``target``, its index)."""
        if not Path(self.ann_file).is_file():
            raise FileNotFoundError(f'{self.ann_file} does not exist; set ann_file to a list of videos, one per line')
        root, data, gaps = Path(self.data_root or ''), [], []
        for line, video in read_list(self.ann_file):
            folder = root / 'data' / video
            if not folder.is_dir():
                raise FileNotFoundError(f'{folder} is missing; line {line} of {self.ann_file} lists this video')
            frames, labelled = self._frames(folder)
            numbers = [int(digits) for name in frames if (digits := ''.join(re.findall(r'\d', name)))]
            if len(set(np.diff(numbers).tolist())) > 1:  # allowed: clips go by place, not by number
                gaps.append(str(folder / 'origin'))
            for target in range(len(frames)) if self.test_mode else [None]:
                data.append(dict(folder=str(folder), frames=frames, target=target, labelled=labelled))
        if not data:
            raise ValueError(f'{self.ann_file} lists no video; one name per line')
        if gaps:
            message = f'{len(gaps)} videos have gaps between their frames, which clips go over, such as {gaps[0]}'
            print_log(message, logger='current', level=logging.WARNING)
        return data

    def _frames(self, folder: Path) -> tuple[list[str], bool]:
        """Names of the frames of a video, and whether they have masks."""
        frames = list_pictures(folder / 'origin', '.jpg')
        if self.test_mode and not any((folder / 'mask').glob('*')):
            return frames, False
        masks = list_pictures(folder / 'mask', '.png')
        unpaired = sorted({name[:-4] for name in frames} ^ {name[:-4] for name in masks}, key=natural)
        if unpaired:
            raise FileNotFoundError(
                f'{folder} has {len(unpaired)} frames without a mask or masks without a frame, such as '
                f'{unpaired[0]}; origin and mask have the same names'
            )
        return frames, True

    def sample(self, info: dict[str, Any]) -> dict[str, Any]:
        """``img_path``, ``seg_map_path`` if there is one, ``clip_paths``, ``video_id`` and ``frame_id`` of a draw."""
        frames, target, folder = info['frames'], info['target'], Path(info['folder'])
        if target is None:
            first = -self.offsets[0] if self.offsets else 0
            target = int(np.random.randint(min(first, len(frames) - 1), len(frames)))  # noqa: NPY002
            if np.random.rand() < self.reverse_prob:  # noqa: NPY002
                frames = frames[::-1]
        name = frames[target]
        found = dict(
            img_path=str(folder / 'origin' / name),
            clip_paths=[str(folder / 'origin' / frames[i]) for i in clip_indices(target, self.offsets)],
            video_id=folder.name,
            frame_id=target,
        )
        if info['labelled']:
            found['seg_map_path'] = str(folder / 'mask' / f'{Path(name).stem}.png')
        return found

    def prepare_data(self, idx: int) -> Any:
        """Draw a clip, look at its files and run the pipeline on it."""
        info = self.get_data_info(idx)
        info.update(self.sample(info), seg_fields=[])
        info.update(label_map=self.label_map, reduce_zero_label=self.reduce_zero_label)
        if info['labelled']:
            return run_pipeline(self, info)
        for path in info['clip_paths']:
            check_image(path)
        with reading(info['img_path']):
            return self.unlabelled(info)
