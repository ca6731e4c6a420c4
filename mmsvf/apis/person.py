"""The square of a frame that a pose is told from: around a person, or in the middle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from mmsvf.frameworks import require

MARGIN = 1.25  # of the square around a box, as top-down pose estimators have it
PERSON = 0  # COCO's label
Box = tuple[float, float, float, float]
Detector = Callable[[np.ndarray], 'Box | None']


class PersonChooser:
    """Chooses a square, once for a video: the model takes the camera for one that stands still.

    Args:
        bbox: x, y, width and height in pixels of the person; the square is around it.
        detector: From a frame to the box of a person, or None if there is none; asked until there is one, and the
            square in the middle is taken until then.

    Raises:
        ValueError: a box without area, or both.
    """

    def __init__(self, bbox: Sequence[float] | None = None, detector: Detector | None = None) -> None:
        if bbox is not None and (len(bbox) != 4 or not all(np.isfinite(bbox)) or min(bbox[2:]) <= 0):
            raise ValueError(f'bbox={bbox}; x, y, width and height in pixels, the latter two above 0')
        if bbox is not None and detector is not None:
            raise ValueError('a bbox and a detector; give one of them')
        self.bbox, self.detector = bbox, detector
        self._found: Box | None = None

    def reset(self) -> None:
        """Forget the person, before another video."""
        self._found = None

    def __call__(self, image: np.ndarray) -> tuple[tuple[int, int, int], str]:
        """Left, top and side of the square in pixels, and what chose it: 'bbox', 'detector' or 'centre'.

        Raises:
            ValueError: the given box is outside the frame.
        """
        height, width = image.shape[:2]
        if self.bbox is not None:
            x, y, w, h = self.bbox
            if x >= width or y >= height or x + w <= 0 or y + h <= 0:
                raise ValueError(f'bbox={tuple(self.bbox)} is outside the frame of {width} x {height} pixels')
            return _around(*self.bbox), 'bbox'
        if self.detector is not None and self._found is None:
            self._found = self.detector(image)
        if self._found is not None:
            return _around(*self._found), 'detector'
        side = min(height, width)
        return ((width - side) // 2, (height - side) // 2, side), 'centre'


def _around(x: float, y: float, width: float, height: float) -> tuple[int, int, int]:
    side = max(1, round(MARGIN * max(width, height)))
    return round(x + width / 2 - side / 2), round(y + height / 2 - side / 2), side


def cut(image: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    """A square of an image, grey (side, side); black where it reaches beyond the image."""
    height, width = image.shape[:2]
    inside = image[max(0, top) : max(0, min(height, top + side)), max(0, left) : max(0, min(width, left + side))]
    grey = cv2.cvtColor(np.ascontiguousarray(inside), cv2.COLOR_BGR2GRAY)
    whole = np.zeros((side, side), np.uint8)
    whole[max(0, -top) : max(0, -top) + len(grey), max(0, -left) : max(0, -left) + grey.shape[1]] = grey
    return whole


def mmdet_detector(config: str, checkpoint: str, device: str, threshold: float = 0.3) -> Detector:
    """The largest person that a detector of mmdetection finds in a frame.

    Args:
        config, checkpoint: Of the detector, trained on COCO or with persons as its first class.
        device: Such as 'cpu'.
        threshold: Least score of a box.

    Raises:
        ImportError: mmdetection, or the compiled mmcv that most of its detectors need, is missing.
    """
    require('mmdet', '--det-config')
    try:
        from mmdet.apis import inference_detector, init_detector

        model = init_detector(config, checkpoint, device=device)
    except (ImportError, RuntimeError) as error:
        raise ImportError(
            f'the detector {config} cannot be built ({error}). Most of mmdetection needs the compiled mmcv: pip '
            'install -U openmim && mim install "mmcv>=2.0.0,<2.2.0"; --bbox X Y WIDTH HEIGHT does without'
        ) from error

    def largest(image: np.ndarray) -> Box | None:
        found: Any = inference_detector(model, image).pred_instances
        keep = (found.labels == PERSON) & (found.scores >= threshold)
        boxes = found.bboxes[keep].cpu().numpy()
        if not len(boxes):
            return None
        left, top, right, bottom = max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1])).tolist()
        return left, top, right - left, bottom - top

    return largest
