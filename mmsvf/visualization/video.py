"""Frames as an mp4 file that browsers, office programs and phones play.

OpenCV's wheels have no encoder for H.264, and its VP9 makes two frames of 720p a second: PyAV (BSD licence, wheels for
Linux, macOS and Windows) brings FFmpeg with x264, at fifty. mmsvf itself has and ships no part of FFmpeg; where a build
of PyAV is free of the GPL, and so without x264, OpenH264 or VP9 take its place.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

with suppress(ImportError):  # which VideoWriter says; before decord, with whose libvpx PyAV could not write VP9
    import_module('av')

# encoders in the order of how many players take what they write, with options for a speed beyond that of a model
CODECS: dict[str, dict[str, str]] = {
    'libx264': {'preset': 'veryfast', 'crf': '23'},
    'libopenh264': {'allow_skip_frames': '0'},
    'libvpx-vp9': {'deadline': 'realtime', 'cpu-used': '8', 'row-mt': '1', 'crf': '32', 'b': '0'},
}
BT709, BT601, LIMITED = 1, 6, 1  # FFmpeg's numbers: of primaries and curve, of the matrix and range of its scaler


class VideoWriter:
    """An mp4 file of H.264 (or VP9), 4:2:0, its index in front so that it starts before it is there as a whole.

    Reason: what OpenCV's writer, which mmcv and the frameworks use, cannot do; see above.

    It has a temporary name until it is released: a file of the name asked for is a whole one. As a context manager it
    is released at the end, or taken away if there was an error.

    Args:
        path: The file; folders are made.
        shape: Of the frames (H, W, ...). The codec wants even sides: an odd last row or column is left out.
        fps: Frames a second.
        timed: Whether each frame comes with its own time, as a camera's do; ``fps`` is then a hint for the encoder.

    Raises:
        ImportError: PyAV is missing.
        OSError: the file cannot be written, or this PyAV has none of ``CODECS``.
    """

    def __init__(self, path: str | os.PathLike, shape: Sequence[int], fps: float, timed: bool = False) -> None:
        try:
            av: Any = import_module('av')
        except ImportError as error:
            raise ImportError('writing a video needs PyAV; add it with: pip install av') from error
        self._av = av
        codec = next((name for name in CODECS if name in av.codecs_available), None)
        if codec is None:
            raise OSError(f'this PyAV encodes none of {", ".join(CODECS)}; pip install --force-reinstall av')
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._part = self.path.with_name(f'.{self.path.name}.{os.getpid()}.part')
        self.height, self.width = (max(2, side // 2 * 2) for side in shape[:2])
        # the whole path: FFmpeg takes what is before a colon for a protocol
        self._file: Any = av.open(str(self._part.absolute()), 'w', format='mp4', options={'movflags': 'faststart'})
        rate = Fraction(fps).limit_denominator(1001)
        self._stream: Any = self._file.add_stream(codec, rate=rate, options=CODECS[codec])
        self._stream.width, self._stream.height, self._stream.pix_fmt = self.width, self.height, 'yuv420p'
        self._first, self._last = 0.0, -1
        self._base = Fraction(1, 1000) if timed else None
        if timed:
            self._stream.time_base = self._stream.codec_context.time_base = self._base
            # frames that go back and forth in time have the file's header say a wrong length
            self._stream.codec_context.max_b_frames = 0
        # said, all of it: players guess another matrix from 720 lines on
        context = self._stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = (
            BT709,
            BT709,
            BT601,
            LIMITED,
        )
        try:
            self._file.start_encoding()  # here, and not with the first frame, the file is opened
        except OSError as error:
            raise OSError(f'cannot write {path}: {error}') from error

    def write(self, frame: np.ndarray, time: float = 0.0) -> None:
        """Add a BGR frame (H, W, 3) uint8; one of another shape than the first is scaled to it.

        Args:
            frame: The frame.
            time: Its time in seconds, of a ``timed`` file.
        """
        if abs(frame.shape[0] - self.height) > 1 or abs(frame.shape[1] - self.width) > 1:
            frame = cv2.resize(frame, (self.width, self.height), interpolation=cv2.INTER_AREA)
        frame = np.ascontiguousarray(frame[: self.height, : self.width])
        picture = self._av.VideoFrame.from_ndarray(frame, format='bgr24')
        if self._base is not None:
            self._first = time if self._last < 0 else self._first
            # an encoder refuses a time twice
            self._last = max(self._last + 1, round((time - self._first) / self._base))
            picture.pts, picture.time_base = self._last, self._base
        self._file.mux(self._stream.encode(picture))

    def release(self) -> None:
        """End the file and give it its name."""
        self._file.mux(self._stream.encode())
        self._file.close()
        os.replace(self._part, self.path)

    def discard(self) -> None:
        """Take away what is written."""
        self._file.close()
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release() if kind is None else self.discard()


def write_video(path: str | os.PathLike, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write BGR frames (H, W, 3) uint8 as mp4, whole or not at all (:class:`VideoWriter`).

    Raises:
        OSError: the file cannot be written.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        return
    with VideoWriter(path, first.shape, fps) as writer:
        writer.write(first)
        for frame in frames:
            writer.write(frame)
