"""MMHPSD: human pose from grey frames or events, in both layouts it is distributed in (protocol 1).

Frames and annotations come at 15 Hz. A pose is axis-angle (24, 3), a shape (10,), a translation (3,)
and joints (24, 3) in metres in the camera's coordinates, and joints (24, 2) in pixels of 256 x 256.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dataset import BaseDataset

from mmsvf.files.pickles import load_joblib
from mmsvf.registry import DATASETS

from .events import BINS, bin_events, join_intervals

RATE = 15
SIZE = 256
TEST_SUBJECTS = ('subject01', 'subject02', 'subject07')
ACTION = re.compile(r'(?P<subject>subject\d+)_group(?P<group>\d+)_time\d+')


class Layout(ABC):
    """What is read of an action, whatever the files are."""

    marker: str

    def __init__(self, root: Path) -> None:
        self.root = root

    @abstractmethod
    def indices(self, action: str) -> list[int]:
        """Annotated frames."""

    @abstractmethod
    def pose(self, action: str, index: int) -> dict[str, np.ndarray]:
        """The annotation of a frame."""

    @abstractmethod
    def frame(self, action: str, index: int) -> Path:
        """File of a frame."""

    @abstractmethod
    def bins(self, action: str, index: int) -> np.ndarray:
        """Binary (256, 256, 4): the quarters of the interval from a frame to the next."""

    def raw(self, action: str, index: int) -> Path | None:
        """File of the raw events (xy, t) of an interval, if it is there."""
        return None

    def picture(self, action: str, index: int) -> np.ndarray:
        """A grey frame, uint8 (256, 256, 3)."""
        return grey_picture(_image(self.frame(action, index), cv2.IMREAD_GRAYSCALE))

    def event_picture(self, action: str, index: int, gap: int) -> np.ndarray:
        """Binary (256, 256, 3) of the ``gap`` intervals before a frame: exact from raw events, else by quarters."""
        intervals = range(index - gap, index)
        files = [file for i in intervals if (file := self.raw(action, i))]
        if len(files) == gap:
            events = [_npz(file) for file in files]
            x, y = np.concatenate([e['xy'].reshape(-1, 2) for e in events]).T
            t = join_intervals([e['t'] for e in events], files)
            return bin_events(x, y, t, 1, (SIZE, SIZE))[0].transpose(1, 2, 0)
        quarters = [plane for i in intervals for plane in cv2.split(self.bins(action, i))]
        edges = [round(k * len(quarters) / BINS) for k in range(BINS + 1)]
        groups = [np.maximum.reduce(quarters[a:b]) for a, b in zip(edges, edges[1:])]
        return (np.stack(groups, -1) > 0).astype(np.uint8)

    def clip(self, action: str, frames: Sequence[int], gap: int, modality: str) -> np.ndarray:
        """Pictures of 'frames' or 'events', uint8 (T, 256, 256, 3)."""
        if modality == 'events':
            return np.stack([self.event_picture(action, i, gap) for i in frames])
        return np.stack([self.picture(action, i) for i in frames])


class LayoutA(Layout):
    """The public release of EventHPE: ``pose_events``, ``full_pic_256``, ``events_256``."""

    marker = 'pose_events'

    def indices(self, action: str) -> list[int]:
        return sorted(int(i) for i in load_joblib(self.root / 'pose_events' / action / 'pose_info.pkl'))

    def pose(self, action: str, index: int) -> dict[str, np.ndarray]:
        path = self.root / 'pose_events' / action / f'pose{index:04d}.pkl'
        shape, pose, translation, joints_3d, joints_2d = load_joblib(path)
        return _pose(path, pose, shape, translation, joints_3d, joints_2d)

    def frame(self, action: str, index: int) -> Path:
        return self.root / 'full_pic_256' / action / f'fullpic{index:04d}.jpg'

    def bins(self, action: str, index: int) -> np.ndarray:
        return _image(self.root / 'events_256' / action / f'event{index:04d}.png', cv2.IMREAD_UNCHANGED)


class LayoutB(Layout):
    """The release of HumanPoseTracking: ``mmhpsd_events/<action>``, ``mmhpsd_grayscale_img/<action>``."""

    marker = 'mmhpsd_events'

    def indices(self, action: str) -> list[int]:
        return sorted(int(p.stem[5:]) for p in (self.root / 'mmhpsd_events' / action / 'poses').glob('pose_*.npz'))

    def pose(self, action: str, index: int) -> dict[str, np.ndarray]:
        path = self.root / 'mmhpsd_events' / action / 'poses' / f'pose_{index:04d}.npz'
        data = _npz(path)
        return _pose(path, *(data[k] for k in ('body_pose', 'beta', 'trans', 'joints3d', 'joints2d')))

    def frame(self, action: str, index: int) -> Path:
        return self.root / 'mmhpsd_grayscale_img' / action / 'imgs' / f'fullpic{index:04d}.jpg'

    def bins(self, action: str, index: int) -> np.ndarray:
        path = self.root / 'mmhpsd_events' / action / 'events_frame_04' / f'events_{index:04d}.npz'
        bits = np.unpackbits(_npz(path)['events_frame'].ravel())
        return bits[: SIZE * SIZE * 4].reshape(SIZE, SIZE, 4)

    def raw(self, action: str, index: int) -> Path | None:
        path = self.root / 'mmhpsd_events' / action / 'events' / f'events_{index:04d}.npz'
        return path if path.is_file() else None


LAYOUTS = (LayoutA, LayoutB)


def open_layout(root: str | os.PathLike) -> Layout:
    """The layout of a folder, told by its folders.

    Raises:
        FileNotFoundError: it has neither layout.
    """
    for layout in LAYOUTS:
        if (Path(root) / layout.marker).is_dir():
            return layout(Path(root))
    raise FileNotFoundError(f'{root} has neither pose_events/ nor mmhpsd_events/; set data_root to MMHPSD')


def grey_picture(image: np.ndarray) -> np.ndarray:
    """A grey image (H, W) as the model sees frames: uint8 (256, 256, 3)."""
    if image.shape != (SIZE, SIZE):
        image = cv2.resize(image, (SIZE, SIZE))
    return np.repeat(image[..., None], 3, -1)


def _npz(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(f'{path} is missing')
    with np.load(path, allow_pickle=False) as data:
        return dict(data)


def _image(path: Path, flag: int) -> np.ndarray:
    image = cv2.imread(str(path), flag)
    if image is None:
        raise FileNotFoundError(f'{path} is missing, or no image')
    return image


def _pose(path: Path, pose: Any, shape: Any, translation: Any, joints_3d: Any, joints_2d: Any) -> dict[str, np.ndarray]:
    try:
        return dict(
            pose=np.asarray(pose, np.float32).reshape(24, 3),
            shape=np.asarray(shape, np.float32).reshape(10),
            translation=np.asarray(translation, np.float32).reshape(3),
            joints_3d=np.asarray(joints_3d, np.float32).reshape(24, 3),
            joints_2d=np.asarray(joints_2d, np.float32).reshape(24, -1)[:, :2],
        )
    except ValueError as error:
        raise ValueError(f'{path}: not a pose of 24 joints and 10 shape values ({error})') from error


@DATASETS.register_module()
class MMHPSDDataset(BaseDataset):
    """Clips of frames or events with a pose a step.

    A clip of T steps lasts one of ``durations`` seconds: a step is ``round(15 * duration / T)``
    frames (D7). Of frames, step k is a frame and its pose; of events, step k holds three binary
    frames of the events since step k - 1 (or the clip's begin), and the pose at its end (D9, D10).
    Clips never reach over a gap in the annotated frames.

    Args:
        data_root: Folder of either layout; which one is told by its folders.
        split: 'train' or 'test', by subject (01, 02 and 07 test; group 4 is left out).
        modality: 'frames' or 'events'.
        steps: Time steps T.
        durations: Seconds; one is drawn in training, the first is used in testing.
        **kwargs: As in MMEngine's ``BaseDataset`` (pipeline, indices, ...).

    Results of a sample: ``clip`` uint8 (T, 256, 256, 3), the pose's arrays with T in front, and
    ``action``, ``frames`` (their numbers).

    Raises:
        FileNotFoundError: neither layout, no action of the split, or a file of a clip is missing.
        ValueError: an unknown option, no clip is long enough, or raw events whose order cannot be told.
    """

    def __init__(
        self,
        data_root: str,
        split: str,
        modality: str = 'frames',
        steps: int = 8,
        durations: Sequence[float] = (1, 2, 3, 4),
        **kwargs: Any,
    ) -> None:
        if split not in ('train', 'test') or modality not in ('frames', 'events'):
            raise ValueError(f"split={split!r}, modality={modality!r}; 'train' or 'test', and 'frames' or 'events'")
        self.split, self.modality, self.steps = split, modality, steps
        self.gaps = tuple(max(1, round(RATE * duration / steps)) for duration in durations)
        self.layout = open_layout(data_root)
        super().__init__(data_root=data_root, test_mode=split == 'test', **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        folder = Path(self.data_root) / self.layout.marker
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
            stride = self.steps * shortest if self.split == 'test' else max(1, self.steps // 8)
            next_start = -1
            for start in indices:
                if start < next_start or not self._fits(known, start, shortest):
                    continue
                clips.append(
                    dict(action=action, start=start, gaps=[g for g in self.gaps if self._fits(known, start, g)])
                )
                next_start = start + stride
        if not clips:
            raise ValueError(f'no action of {folder} has {self.steps} steps of {min(self.gaps)} frames without a gap')
        return clips

    def _fits(self, known: set[int], start: int, gap: int) -> bool:
        return all(i in known for i in range(start, start + gap * self.steps + 1))

    def prepare_data(self, idx: int) -> Any:
        """Draw a duration, read the clip and run the pipeline."""
        info = self.get_data_info(idx)
        gaps = info['gaps']
        gap = gaps[0] if self.split == 'test' else gaps[np.random.randint(len(gaps))]  # noqa: NPY002
        first = info['start'] + (gap if self.modality == 'events' else 0)
        frames = [first + gap * k for k in range(self.steps)]
        poses = [self.layout.pose(info['action'], i) for i in frames]
        clip = self.layout.clip(info['action'], frames, gap, self.modality)
        results = {name: np.stack([pose[name] for pose in poses]) for name in poses[0]}
        return self.pipeline(dict(**results, clip=clip, action=info['action'], frames=frames, modality=self.modality))
