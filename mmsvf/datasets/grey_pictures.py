"""Pictures as MMHPSD's frames are: grey squares of 256 x 256 pixels."""

from __future__ import annotations

import cv2
import numpy as np

from mmsvf.body import MMHPSD_SIZE as SIZE


def grey_picture(image: np.ndarray) -> np.ndarray:
    """A grey square (S, S), or one in BGR (S, S, 3), as the model sees frames: uint8 (256, 256, 3)."""
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if image.shape != (SIZE, SIZE):
        image = cv2.resize(image, (SIZE, SIZE))
    return np.repeat(image[..., None], 3, -1)


def middle_square(height: int, width: int) -> tuple[int, int, int]:
    """Left, top and side of the largest square in the middle of a picture."""
    side = min(height, width)
    return (width - side) // 2, (height - side) // 2, side


def cut_square(image: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    """A square of a picture (H, W[, 3]), black beyond its border."""
    height, width = image.shape[:2]
    before = max(0, -top), max(0, -left)
    after = max(0, top + side - height), max(0, left + side - width)
    padded = np.pad(image, [*zip(before, after), *[(0, 0)] * (image.ndim - 2)])
    top, left = top + before[0], left + before[1]
    return padded[top : top + side, left : left + side]
