"""What a model says of a frame or a time step: typed, to be drawn and to be written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from mmsvf.body import MMHPSD_SIZE as SIZE
from mmsvf.visualization import drawing
from mmsvf.visualization.skeleton import draw_skeleton, side_view

from .sources import Frame

ARRAYS = ('joints_3d', 'translation', 'joints_2d', 'pose', 'shape')  # of a pose


@dataclass
class Record(ABC):
    """A prediction of a frame.

    Attributes:
        frame: The frame, with its number, its time in seconds and its image.
    """

    frame: Frame

    @abstractmethod
    def draw(self) -> np.ndarray:
        """The prediction over the frame, BGR uint8 (H, W, 3): of one shape for all frames of a source."""

    def to_dict(self) -> dict[str, Any]:
        """Values that JSON takes."""
        return dict(frame=self.frame.index, time=round(self.frame.time, 4))


@dataclass
class ActionRecord(Record):
    """Scores of a frame: the blended ones of the windows over it.

    Attributes:
        scores: (classes,), as ``tools/test.py`` has them: of 0 to 1 with ``average_clips='prob'``.
        classes: Names.
    """

    scores: np.ndarray
    classes: Sequence[str]

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """Names and scores of the best classes."""
        best = np.argsort(-self.scores, kind='stable')[:count]
        return [(self.classes[i], float(self.scores[i])) for i in best]

    def draw(self) -> np.ndarray:
        picture = drawing.enlarged(self.frame.image)
        drawing.caption(picture, drawing.clock(self.frame.time))
        names, values = zip(*self.top())
        return np.hstack([picture, drawing.bars(names, values, len(picture))])

    def to_dict(self) -> dict[str, Any]:
        return dict(**super().to_dict(), top=[[name, round(score, 5)] for name, score in self.top()])


@dataclass
class SegmentationRecord(Record):
    """Classes of a frame's pixels.

    Attributes:
        mask: Labels (H, W) uint8, of the frame's size.
        classes, palette: Names and RGB colours by label.
        truth: True labels (H, W) uint8, 255 of none, where they are known.
    """

    mask: np.ndarray
    classes: Sequence[str]
    palette: Sequence[Sequence[int]]
    truth: np.ndarray | None = None

    def shares(self) -> dict[int, float]:
        """Share of the pixels of each label that is there, the largest first."""
        return self._shares.copy()

    @cached_property
    def right(self) -> tuple[int, int]:
        """Pixels that are right, and pixels whose truth is known."""
        if self.truth is None:
            return 0, 0
        known = self.truth != 255
        return int(np.count_nonzero((self.truth == self.mask) & known)), int(np.count_nonzero(known))

    @cached_property
    def _shares(self) -> dict[int, float]:
        count = np.bincount(self.mask.ravel(), minlength=256) / self.mask.size
        return {int(label): float(count[label]) for label in np.argsort(-count, kind='stable') if count[label]}

    def draw(self) -> np.ndarray:
        frame = drawing.enlarged(self.frame.image)
        if self.truth is not None:
            titles = {f'truth, {drawing.clock(self.frame.time)}': self.truth, 'prediction': self.mask}
            return drawing.segmented(frame, titles, self.classes, self.palette)
        shares = {label: share for label, share in self.shares().items() if label < len(self.classes)}
        mask = cv2.resize(self.mask, frame.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        picture = drawing.overlay(frame, mask, self.palette)
        drawing.caption(picture, drawing.clock(self.frame.time))
        names, colours = [self.classes[k] for k in shares], [self.palette[k] for k in shares]
        notes = [f'{100 * share:.0f} %' if share >= 0.005 else '< 1 %' for share in shares.values()]
        return np.hstack([picture, drawing.legend(names, colours, notes, len(picture))])

    def to_dict(self) -> dict[str, Any]:
        names = {k: self.classes[k] if k < len(self.classes) else 'void' for k in self.shares()}
        values = dict(**super().to_dict(), shares={names[k]: round(share, 5) for k, share in self.shares().items()})
        right, known = self.right
        return values if self.truth is None else dict(**values, right=round(right / known, 5) if known else None)


@dataclass
class PoseRecord(Record):
    """A body's pose in a time step, in metres and radians; the camera looks along z, x is right and y down.

    Attributes:
        last: Number of the last frame that belongs to the step.
        square: What the model saw of the frame: left, top and side in pixels.
        chosen: What chose it: 'centre', 'bbox' or 'detector'.
        joints_3d: (24, 3). joints_2d: (24, 2) in pixels of 256 x 256.
        translation: (3,). pose: (24, 3) as axis-angle. shape: (10,).
        truth: Joints (24, 3), of an action of the data set.
    """

    last: int
    square: tuple[float, float, float]
    chosen: str
    joints_3d: np.ndarray
    translation: np.ndarray
    joints_2d: np.ndarray
    pose: np.ndarray
    shape: np.ndarray
    truth: np.ndarray | None = None

    @property
    def pixels(self) -> np.ndarray:
        """Joints (24, 2) in pixels of the frame."""
        return np.array(self.square[:2]) + self.joints_2d * (self.square[2] / SIZE)

    def draw(self) -> np.ndarray:
        image = self.frame.image
        picture = drawing.enlarged(image)
        scale = len(picture) / len(image)
        left, top, side = (round(scale * value) for value in self.square)
        whole = (left, top, side, side) == (0, 0, *picture.shape[1::-1])
        width = max(2, len(picture) // 180)
        if not whole:
            outside = picture // 3
            inside = np.s_[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)]
            outside[inside] = picture[inside]
            picture = outside
            cv2.rectangle(picture, (left, top), (left + side, top + side), drawing.ACCENT, 2)
            drawing.caption(picture, self.chosen, max(0, left) + 2, max(0, top) + 2, drawing.ACCENT)
        picture = draw_skeleton(picture, scale * self.pixels, width)
        size = drawing.unit(picture)
        drawing.caption(picture, drawing.clock(self.frame.time), 0, len(picture) - 2 * size)
        views = [picture]
        for name, joints in (('side view', self.joints_3d), ('truth, side view', self.truth)):
            if joints is not None:
                views.append(side_view(joints, len(picture), name, drawing.clock(self.frame.time)))
        return np.hstack(views)

    def to_dict(self) -> dict[str, Any]:
        arrays = dict(joints_3d=self.joints_3d, translation=self.translation, joints_2d=self.pixels)
        arrays.update(pose=self.pose, shape=self.shape)
        values = {name: np.round(array.astype(float), 4).tolist() for name, array in arrays.items()}
        return dict(**super().to_dict(), last=self.last, square=list(self.square), chosen=self.chosen, **values)
