"""MMHPSD: human pose from grey frames or events, in both layouts it is distributed in.

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

from mmsvf.arguments import renamed
from mmsvf.body import MMHPSD_SIZE as SIZE
from mmsvf.files.pickles import load_joblib
from mmsvf.registry import DATASETS

from .event_transforms import read_interval
from .events import BINS, bin_events, join_intervals
from .reading import check_numbers, read_image, read_npz, reading

RATE = 15
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
        """File of the raw events (xy, t, p) of an interval; None where an action has none of them."""
        return None

    def picture(self, action: str, index: int) -> np.ndarray:
        """A grey frame, uint8 (256, 256, 3)."""
        path = self.frame(action, index)
        image = read_image(path, cv2.IMREAD_GRAYSCALE)
        with reading(path):
            if image.shape[0] != image.shape[1] or len(image) < SIZE:
                raise ValueError(
                    f'a frame of {image.shape[0]} x {image.shape[1]} pixels; {SIZE} x {SIZE} or a larger square'
                )
        return grey_picture(image)

    def event_picture(self, action: str, index: int, gap: int) -> np.ndarray:
        """Binary (256, 256, 3) of the ``gap`` intervals before a frame: exact from raw events, else by quarters."""
        intervals = range(index - gap, index)
        files = [file for i in intervals if (file := self.raw(action, i))]
        if files:
            xy, times = zip(*(read_interval(file, (SIZE, SIZE)) for file in files))
            x, y = np.concatenate(xy).T
            with reading(files[0]):
                t = join_intervals(times, files)
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
        path = self.root / 'pose_events' / action / 'pose_info.pkl'
        with reading(path, 'it lists the annotated frames'):
            found = np.asarray(load_joblib(path))
            if found.dtype.kind not in 'iu' or found.ndim != 1 or len(np.unique(found)) < len(found) or found.min() < 0:
                raise ValueError(f'{found.dtype} {found.shape}; a list of frame numbers expected, each once')
        return sorted(found.tolist())

    def pose(self, action: str, index: int) -> dict[str, np.ndarray]:
        path = self.root / 'pose_events' / action / f'pose{index:04d}.pkl'
        with reading(path):
            shape, pose, translation, joints_3d, joints_2d = load_joblib(path)
        return _pose(path, pose, shape, translation, joints_3d, joints_2d)

    def frame(self, action: str, index: int) -> Path:
        return self.root / 'full_pic_256' / action / f'fullpic{index:04d}.jpg'

    def bins(self, action: str, index: int) -> np.ndarray:
        path = self.root / 'events_256' / action / f'event{index:04d}.png'
        image = read_image(path, cv2.IMREAD_UNCHANGED)
        with reading(path):
            if image.shape != (SIZE, SIZE, 4) or image.dtype != np.uint8:
                raise ValueError(
                    f'{image.shape} {image.dtype}; a quarter of an interval a channel, ({SIZE}, {SIZE}, 4) uint8'
                )
            if not ((image == 0) | (image == image.max())).all():
                raise ValueError('an event frame has two values, with and without an event')
        return image


class LayoutB(Layout):
    """The release of HumanPoseTracking: ``mmhpsd_events/<action>``, ``mmhpsd_grayscale_img/<action>``."""

    marker = 'mmhpsd_events'

    def indices(self, action: str) -> list[int]:
        folder = self.root / 'mmhpsd_events' / action / 'poses'
        names = [p.name for p in folder.glob('pose_*.npz')]
        for name in names:
            if not re.fullmatch(r'pose_(\d{4}|[1-9]\d{4,})\.npz', name):
                raise ValueError(
                    f'{folder / name} has no number; poses are pose_0000.npz and so on: rename or remove it'
                )
        return sorted(int(name[5:-4]) for name in names)

    def pose(self, action: str, index: int) -> dict[str, np.ndarray]:
        path = self.root / 'mmhpsd_events' / action / 'poses' / f'pose_{index:04d}.npz'
        return _pose(path, *read_npz(path, ('body_pose', 'beta', 'trans', 'joints3d', 'joints2d')).values())

    def frame(self, action: str, index: int) -> Path:
        return self.root / 'mmhpsd_grayscale_img' / action / 'imgs' / f'fullpic{index:04d}.jpg'

    def bins(self, action: str, index: int) -> np.ndarray:
        path = self.root / 'mmhpsd_events' / action / 'events_frame_04' / f'events_{index:04d}.npz'
        packed = read_npz(path, ('events_frame',))['events_frame']
        with reading(path):
            if packed.size * 8 != SIZE * SIZE * 4 or packed.dtype != np.uint8:
                raise ValueError(f'{packed.size} x {packed.dtype}; {SIZE} x {SIZE} x 4 bits packed into uint8 expected')
        return np.unpackbits(packed.ravel()).reshape(SIZE, SIZE, 4)

    def raw(self, action: str, index: int) -> Path | None:
        folder = self.root / 'mmhpsd_events' / action / 'events'
        return folder / f'events_{index:04d}.npz' if folder.is_dir() else None


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


# shapes that the arrays of a pose are stored in, axes of length 1 aside
STORED: dict[str, tuple[tuple[int, ...], ...]] = dict(
    pose=((24, 3), (72,)), shape=((10,),), translation=((3,),), joints_3d=((24, 3),), joints_2d=((24, 3), (24, 2))
)


def _pose(path: Path, *values: Any) -> dict[str, np.ndarray]:
    """Values in the order of ``STORED`` as float32."""
    arrays = {}
    with reading(path):
        for (name, shapes), value in zip(STORED.items(), values):
            array = np.squeeze(value)
            if array.shape not in shapes:
                raise ValueError(f'{name} of shape {np.shape(value)}; {" or ".join(map(str, shapes))} expected')
            check_numbers(name, array)
            if np.abs(array).max() > np.finfo(np.float32).max:
                raise ValueError(f'{name} has numbers beyond single precision')
            arrays[name] = array.astype(np.float32)
    return {**arrays, 'pose': arrays['pose'].reshape(24, 3), 'joints_2d': arrays['joints_2d'][:, :2]}


@DATASETS.register_module()
class MMHPSDDataset(BaseDataset):
    """Clips of frames or events with a pose a step.

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

    Results of a sample: ``clip`` uint8 (T, 256, 256, 3), the pose's arrays with T in front, and
    ``action``, ``frames`` (their numbers).

    Raises:
        FileNotFoundError: neither layout, no action of the split, or a file of a clip is missing.
        ValueError: an unknown option, no clip is long enough, raw events whose order cannot be told, or a file that
            is not as it should be.
    """

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
        poses = [self.layout.pose(info['action'], i) for i in frames]
        clip = self.layout.clip(info['action'], frames, gap, self.modality)
        results = {name: np.stack([pose[name] for pose in poses]) for name in poses[0]}
        return self.pipeline(dict(**results, clip=clip, action=info['action'], frames=frames, modality=self.modality))
