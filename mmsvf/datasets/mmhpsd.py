"""MMHPSD: human pose from grey frames or events, in both layouts it is distributed in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset

from mmsvf.arguments import renamed
from mmsvf.body import JOINTS, SMPL_METAINFO
from mmsvf.body import MMHPSD_SIZE as SIZE
from mmsvf.registry import DATASETS

from .mmhpsd_layouts import open_layout, read_pictures

RATE = 15
TEST_SUBJECTS = ('subject01', 'subject02', 'subject07')
ACTION = re.compile(r'(?P<subject>subject\d+)_group(?P<group>\d+)_time\d+')


@DATASETS.register_module()
class MMHPSDDataset(BaseDataset):
    """Clips of frames or events with a pose a step, in the fields of mmpose's samples.

    mmpose's ``BaseMocapDataset`` reads one .npz of joints and boxes, and its clips have one length.

    A clip of T steps lasts one of ``durations`` seconds: a step is ``round(15 * duration / T)``
    frames (D7). Of frames, step k is a frame and its pose; of events, step k holds three binary
    frames of the events since step k - 1 (or the clip's begin), and the pose at its end (D9, D10).
    Clips never reach over a gap in the annotated frames. Raw events are used where an action has a folder of them
    (layout B), quarters of intervals otherwise.

    Args:
        data_root: Folder of either layout; which one is told by its folders.
        split: 'train' or 'test', by subject (01, 02 and 07 test; group 4 is left out).
        modality: 'frames' or 'events'.
        time_steps: Time steps T.
        durations: Seconds; one is drawn in training, the first is used in testing.
        **kwargs: As in MMEngine's ``BaseDataset`` (pipeline, indices, ...).

    Results of a sample, by mmpose's names: ``img`` uint8 (T, 256, 256, 3); ``keypoints`` (T, 24, 2) in pixels of 256 x
    256 and ``lifting_target`` (T, 24, 3) in metres in the camera's coordinates, each with its ``_visible`` (T, 24), all
    ones; ``bbox`` (T, 4), the whole frame, and ``bbox_score`` (T,); SMPL's ``pose`` (T, 24, 3), ``shape`` (T, 10) and
    ``translation`` (T, 3); ``action``, ``frames`` (their numbers), ``modality``; ``img_path`` of the last frame, and
    ``target_img_path``, names from which mmpose's ``MPJPE`` takes subject and group.

    Raises:
        FileNotFoundError: neither layout, no action of the split, or a file of a clip is missing.
        ValueError: an unknown option, no clip is long enough, raw events whose order cannot be told, or a file that
            is not as it should be.
    """

    METAINFO = SMPL_METAINFO

    @renamed(steps='time_steps')
    def __init__(
        self,
        data_root: str,
        split: str,
        modality: str = 'frames',
        time_steps: int = 8,
        durations: Sequence[float] = (1, 2, 3, 4),
        **kwargs: Any,
    ) -> None:
        if split not in ('train', 'test') or modality not in ('frames', 'events'):
            raise ValueError(f"split={split!r}, modality={modality!r}; 'train' or 'test', and 'frames' or 'events'")
        if type(time_steps) is not int or time_steps < 1:
            raise ValueError(f'time_steps={time_steps!r}; a whole number of time steps, at least 1')
        if not durations or not all(0 < duration < float('inf') for duration in durations):
            raise ValueError(f'durations={durations!r}; positive numbers of seconds, such as (1, 2, 3, 4)')
        self.split, self.modality, self.time_steps = split, modality, time_steps
        self.gaps = tuple(max(1, round(RATE * duration / time_steps)) for duration in durations)
        self.layout = open_layout(data_root, modality)
        super().__init__(data_root=data_root, test_mode=split == 'test', **kwargs)

    @classmethod
    def _load_metainfo(cls, metainfo: dict | None = None) -> dict[str, Any]:
        """As mmpose's data sets do."""
        from mmpose.datasets.datasets.utils import parse_pose_metainfo  # not for scripts that take a constant of here

        return parse_pose_metainfo(metainfo or cls.METAINFO)

    def load_data_list(self) -> list[dict[str, Any]]:
        folder = Path(self.data_root) / self.layout.annotations
        actions = []
        for path in sorted(p for p in folder.iterdir() if p.is_dir()):
            match = ACTION.fullmatch(path.name)
            if match and match['group'] != '4' and (match['subject'] in TEST_SUBJECTS) == (self.split == 'test'):
                actions.append(path.name)
        if not actions:
            raise FileNotFoundError(f'{folder} has no action of the {self.split} subjects (subjectNN_groupG_timeK)')
        clips = []
        for action in actions:
            indices = self.layout.indices(action)
            known = set(indices)
            shortest = self.gaps[0] if self.split == 'test' else min(self.gaps)
            stride = self.time_steps * shortest if self.split == 'test' else max(1, self.time_steps // 8)
            next_start = -1
            for start in indices:
                if start < next_start or not self._fits(known, start, shortest):
                    continue
                clips.append(
                    dict(action=action, start=start, gaps=[g for g in self.gaps if self._fits(known, start, g)])
                )
                next_start = start + stride
        if not clips:
            needed = f'{self.time_steps} steps of {min(self.gaps)} frames'
            raise ValueError(f'no action of {folder} has {needed} without a gap')
        return clips

    def _fits(self, known: set[int], start: int, gap: int) -> bool:
        return all(i in known for i in range(start, start + gap * self.time_steps + 1))

    def prepare_data(self, idx: int) -> Any:
        """Draw a duration, read the clip and run the pipeline."""
        info = self.get_data_info(idx)
        gaps = info['gaps']
        gap = gaps[0] if self.split == 'test' else gaps[np.random.randint(len(gaps))]  # noqa: NPY002
        first = info['start'] + (gap if self.modality == 'events' else 0)
        frames = [first + gap * k for k in range(self.time_steps)]
        action, layout = info['action'], self.layout
        poses = [layout.pose(action, i) for i in frames]
        clip = read_pictures(layout, action, frames, gap, self.modality)
        results = {name: np.stack([pose[name] for pose in poses]) for name in poses[0]}
        seen = np.ones((self.time_steps, len(JOINTS)), np.float32)
        results.update(keypoints=results.pop('joints_2d'), lifting_target=results.pop('joints_3d'))
        results.update(keypoints_visible=seen, lifting_target_visible=seen.copy(), bbox_score=seen[:, 0].copy())
        results.update(bbox=np.tile(np.array([0, 0, SIZE, SIZE], np.float32), (self.time_steps, 1)))
        paths = dict(
            img_path=str(layout.frame(action, frames[-1])),
            target_img_path=[f'{action}.{frame:04d}.jpg' for frame in frames],
        )
        return self.pipeline(dict(**results, **paths, img=clip, action=action, frames=frames, modality=self.modality))
