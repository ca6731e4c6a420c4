"""Frames as an mp4 file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np


def write_video(path: str | os.PathLike, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write BGR frames (H, W, 3) uint8, all of one size, as mp4; folders are made.

    The codec wants even sides: an odd last row or column is left out.

    Raises:
        OSError: the file cannot be written.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    writer = None
    for frame in frames:
        height, width = (side // 2 * 2 for side in frame.shape[:2])
        if writer is None:
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), fps, (width, height))
            if not writer.isOpened():
                raise OSError(f'cannot write {path}: OpenCV has no mp4 encoder here, or the folder is not writable')
        writer.write(frame[:height, :width])
    if writer is not None:
        writer.release()
