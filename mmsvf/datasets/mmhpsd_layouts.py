"""MMHPSD's files, in both layouts it is distributed in.

Frames and annotations come at 15 Hz. A pose is axis-angle (24, 3), a shape (10,), a translation (3,)
and joints (24, 3) in metres in the camera's coordinates, and joints (24, 2) in pixels of 256 x 256.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

import cv2
import numpy as np

from mmsvf.body import MMHPSD_SIZE as SIZE
from mmsvf.files.pickles import load_joblib

from .event_transforms import read_interval
from .events import BINS, bin_events, join_intervals
from .grey_pictures import grey_picture
from .reading import check_numbers, read_image, read_npz, reading


@dataclass(frozen=True)
class LayoutA:
    """The public release of EventHPE; no framework reads it, as none reads :class:`LayoutB`, of the same methods."""

    root: Path
    annotations = 'pose_events'
    frames = 'full_pic_256'
    events = 'events_256'
    source = 'EventHPE (https://github.com/JimmyZou/EventHPE)'

    def indices(self, action: str) -> list[int]:
        """Annotated frames."""
        path = self.root / self.annotations / action / 'pose_info.pkl'
        with reading(path, 'it lists the annotated frames'):
            found = np.asarray(load_joblib(path))
            if found.dtype.kind not in 'iu' or found.ndim != 1 or len(np.unique(found)) < len(found) or found.min() < 0:
                raise ValueError(f'{found.dtype} {found.shape}; a list of frame numbers expected, each once')
        return sorted(found.tolist())

    def pose(self, action: str, index: int) -> dict[str, np.ndarray]:
        """The annotation of a frame."""
        path = self.root / self.annotations / action / f'pose{index:04d}.pkl'
        with reading(path):
            shape, pose, translation, joints_3d, joints_2d = load_joblib(path)
        return _pose(path, pose, shape, translation, joints_3d, joints_2d)

    def frame(self, action: str, index: int) -> Path:
        """File of a frame."""
        return self.root / self.frames / action / f'fullpic{index:04d}.jpg'

    def bins(self, action: str, index: int) -> np.ndarray:
        """Binary (256, 256, 4): the quarters of the interval from a frame to the next."""
        path = self.root / self.events / action / f'event{index:04d}.png'
        image = read_image(path, cv2.IMREAD_UNCHANGED)
        with reading(path):
            if image.shape != (SIZE, SIZE, 4) or image.dtype != np.uint8:
                raise ValueError(
                    f'{image.shape} {image.dtype}; a quarter of an interval a channel, ({SIZE}, {SIZE}, 4) uint8'
                )
            if not ((image == 0) | (image == image.max())).all():
                raise ValueError('an event frame has two values, with and without an event')
        return image

    def raw(self, action: str, index: int) -> Path | None:
        """File of the raw events (xy, t, p) of an interval; None where an action has none of them."""
        return None


@dataclass(frozen=True)
class LayoutB:
    """The release of HumanPoseTracking."""

    root: Path
    annotations = 'mmhpsd_events'
    frames = 'mmhpsd_grayscale_img'
    events = 'mmhpsd_events'
    source = 'HumanPoseTracking (https://github.com/JimmyZou/HumanPoseTracking_SNN)'

    def indices(self, action: str) -> list[int]:
        folder = self.root / self.annotations / action / 'poses'
        names = [p.name for p in folder.glob('pose_*.npz')]
        for name in names:
            if not re.fullmatch(r'pose_(\d{4}|[1-9]\d{4,})\.npz', name):
                raise ValueError(
                    f'{folder / name} has no number; poses are pose_0000.npz and so on: rename or remove it'
                )
        return sorted(int(name[5:-4]) for name in names)

    def pose(self, action: str, index: int) -> dict[str, np.ndarray]:
        path = self.root / self.annotations / action / 'poses' / f'pose_{index:04d}.npz'
        return _pose(path, *read_npz(path, ('body_pose', 'beta', 'trans', 'joints3d', 'joints2d')).values())

    def frame(self, action: str, index: int) -> Path:
        return self.root / self.frames / action / 'imgs' / f'fullpic{index:04d}.jpg'

    def bins(self, action: str, index: int) -> np.ndarray:
        path = self.root / self.events / action / 'events_frame_04' / f'events_{index:04d}.npz'
        packed = read_npz(path, ('events_frame',))['events_frame']
        with reading(path):
            if packed.size * 8 != SIZE * SIZE * 4 or packed.dtype != np.uint8:
                raise ValueError(f'{packed.size} x {packed.dtype}; {SIZE} x {SIZE} x 4 bits packed into uint8 expected')
        return np.unpackbits(packed.ravel()).reshape(SIZE, SIZE, 4)

    def raw(self, action: str, index: int) -> Path | None:
        folder = self.root / self.events / action / 'events'
        return folder / f'events_{index:04d}.npz' if folder.is_dir() else None


Layout = Union[LayoutA, LayoutB]
LAYOUTS = (LayoutA, LayoutB)


def open_layout(root: str | os.PathLike, modality: str = 'frames') -> Layout:
    """The layout of a folder, told by its folders.

    Args:
        root: Folder of the data set.
        modality: 'frames' or 'events', which a message asks for.

    Raises:
        FileNotFoundError: it has neither layout.
    """
    for layout in LAYOUTS:
        if (Path(root) / layout.annotations).is_dir():
            return layout(Path(root))
    for layout in LAYOUTS:
        if (Path(root) / getattr(layout, modality)).is_dir():
            raise FileNotFoundError(
                f'{root} has {modality} in {getattr(layout, modality)}/, but not their annotations, which '
                f'{layout.source} publishes in {layout.annotations}/: put them there'
            )
    wanted = ', or '.join(f'{getattr(layout, modality)}/ as {layout.source} publishes it' for layout in LAYOUTS)
    raise FileNotFoundError(
        f'{root} has no {modality} of MMHPSD. Unpack a release there, annotations included: {wanted}. For another '
        'folder set data_root: --cfg-options train_dataloader.dataset.data_root=FOLDER, and the same of val_dataloader '
        'and test_dataloader. make demo-pose does without MMHPSD'
    )


def read_frame(path: Path) -> np.ndarray:
    """A grey frame, uint8 (256, 256, 3)."""
    image = read_image(path, cv2.IMREAD_GRAYSCALE)
    with reading(path):
        if image.shape[0] != image.shape[1] or len(image) < SIZE:
            raise ValueError(
                f'a frame of {image.shape[0]} x {image.shape[1]} pixels; {SIZE} x {SIZE} or a larger square'
            )
    return grey_picture(image)


def event_frame(layout: Layout, action: str, index: int, gap: int) -> np.ndarray:
    """Binary (256, 256, 3) of the ``gap`` intervals before a frame: exact from raw events, else by quarters."""
    intervals = range(index - gap, index)
    files = [file for i in intervals if (file := layout.raw(action, i))]
    if files:
        xy, times = zip(*(read_interval(file, (SIZE, SIZE)) for file in files))
        x, y = np.concatenate(xy).T
        with reading(files[0]):
            t = join_intervals(times, files)
            return bin_events(x, y, t, 1, (SIZE, SIZE))[0].transpose(1, 2, 0)
    quarters = [plane for i in intervals for plane in cv2.split(layout.bins(action, i))]
    edges = [round(k * len(quarters) / BINS) for k in range(BINS + 1)]
    groups = [np.maximum.reduce(quarters[a:b]) for a, b in zip(edges, edges[1:])]
    return (np.stack(groups, -1) > 0).astype(np.uint8)


def read_pictures(layout: Layout, action: str, frames: Sequence[int], gap: int, modality: str) -> np.ndarray:
    """Pictures of 'frames' or 'events', uint8 (T, 256, 256, 3)."""
    if modality == 'events':
        return np.stack([event_frame(layout, action, i, gap) for i in frames])
    return np.stack([read_frame(layout.frame(action, i)) for i in frames])


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
