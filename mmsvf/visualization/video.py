"""Frames as an mp4 file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np


def open_video(path: str | os.PathLike, shape: Sequence[int], fps: float) -> cv2.VideoWriter:
    """An mp4 file for frames of a shape (H, W, ...); folders are made.

    Raises:
        OSError: the file cannot be written.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    height, width = even(shape)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), fps, (width, height))
    if not writer.isOpened():
        raise OSError(f'cannot write {path}: OpenCV has no mp4 encoder here, or the folder is not writable')
    return writer


def even(shape: Sequence[int]) -> tuple[int, int]:
    """Height and width of a shape (H, W, ...) as the codec wants them: an odd last row or column is left out."""
    return shape[0] // 2 * 2, shape[1] // 2 * 2


def write_frame(writer: cv2.VideoWriter, frame: np.ndarray) -> None:
    """Add a BGR frame (H, W, 3) uint8 of the shape that the file was opened for."""
    height, width = even(frame.shape)
    writer.write(np.ascontiguousarray(frame[:height, :width]))


def write_video(path: str | os.PathLike, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write BGR frames (H, W, 3) uint8, all of one size, as mp4; folders are made.

    The codec wants even sides: an odd last row or column is left out.

    Raises:
        OSError: the file cannot be written.
    """
    writer = None
    for frame in frames:
        if writer is None:
            writer = open_video(path, frame.shape, fps)
        write_frame(writer, frame)
    if writer is not None:
        writer.release()
