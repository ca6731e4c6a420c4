"""Where frames come from: files, folders, arrays, iterators and cameras, frame by frame in constant memory."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Union

import cv2
import numpy as np

from mmsvf.datasets.reading import PICTURES, natural, open_video, read_image, reading

EVENTS = '.npz'
QUALITY = 90  # of a JPEG that a frame is kept as

SourceLike = Union[str, os.PathLike, int, np.ndarray, Iterable[np.ndarray], 'Source']


class Frame:
    """A frame of a source.

    Attributes:
        index: Its number from 0.
        time: Seconds since the first frame.
        path: Its file, or a name for it that no file has (``frame://...``).
    """

    def __init__(self, image: np.ndarray, index: int, time: float, path: str | None = None) -> None:
        self._image, self._packed = image, b''
        self.index, self.time, self.path = index, time, path or f'frame://{index}'

    @property
    def image(self) -> np.ndarray:
        """BGR uint8 (H, W, 3)."""
        if self._packed:
            return cv2.imdecode(np.frombuffer(self._packed, np.uint8), cv2.IMREAD_COLOR)
        return self._image

    def pack(self) -> Frame:
        """Keep the image as a JPEG, of a tenth of the memory: to draw on, not to predict from."""
        self._packed = cv2.imencode('.jpg', self._image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
        self._image = np.empty(0)
        return self


class Source(ABC):
    """Frames one after the other.

    Attributes:
        name: For messages and files.
        fps: Frames a second, as far as it is known.
        length: Number of frames, as a header says, for a progress bar; None where nothing says.
        repeatable: Whether the frames can be read again from the first.
        problem: What a reader was stopped by before the end that the header says; '' if nothing did.
    """

    name: str
    fps: float = 25.0
    length: int | None = None
    repeatable = True
    problem = ''

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """The frames, from the first."""


class VideoFile(Source):
    """A video that OpenCV reads: upright, whatever its rotation flag, with the time stamps of a variable rate.

    OpenCV gives the same pixels as decord, which the configs decode with.

    Raises:
        UnreadableError: no such file, or no frame in it can be decoded.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path, self.name = Path(path), str(path)
        capture = self._open()
        fps, length = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        self.fps = fps if 0 < fps < 1e4 else Source.fps
        self.length = length if length > 0 else None

    def _open(self) -> cv2.VideoCapture:
        return open_video(self.path, 'give a video, a folder of pictures or a .npz of events')

    def __iter__(self) -> Iterator[Frame]:
        capture = self._open()
        start, last, index = None, -1.0, 0
        try:
            while True:
                good, image = capture.read()
                if not good:
                    break
                stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                start = stamp if start is None else start
                # a file without time stamps has frames of equal length
                last = stamp - start if stamp - start > last else last + 1 / self.fps
                yield Frame(image, index, last, f'frame://{self.name}/{index}')
                index += 1
        finally:
            capture.release()
        if not index:
            with reading(self.path, 'give a video, a folder of pictures or a .npz of events'):
                raise ValueError('cannot be read as a video: no frame of it can be decoded')
        if self.length is not None and index < self.length:
            self.problem = f'{self.name} ends after {index} of {self.length} frames: it is cut off or damaged there'


class Pictures(Source):
    """Pictures as the frames of a video, in the order given.

    Raises:
        UnreadableError: a picture is damaged.
    """

    def __init__(self, paths: Sequence[Path], fps: float, name: str) -> None:
        self.paths, self.fps, self.name, self.length = list(paths), fps, name, len(paths)

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self.paths):
            yield Frame(read_image(path, cv2.IMREAD_COLOR), index, index / self.fps, str(path))


class Images(Source):
    """Frames in memory, or as they come: an array (T, H, W, 3), a list, or an iterator of BGR uint8 (H, W, 3).

    An array (H, W, 3) is one frame.

    Raises:
        ValueError: no frames, or a frame is of another kind.
    """

    def __init__(self, images: Iterable[np.ndarray], fps: float, name: str = 'frames') -> None:
        shape = getattr(images, 'shape', ())
        if len(shape) == 3 and shape[2] in (1, 3, 4):  # not H grey frames
            images = np.asarray(images)[None]
        self.images, self.fps, self.name = images, fps, name
        self.length = len(images) if isinstance(images, Sized) else None
        self.repeatable = not isinstance(images, Iterator)

    def __iter__(self) -> Iterator[Frame]:
        index = -1
        for index, image in enumerate(self.images):
            image = np.asarray(image)
            if image.ndim == 2:
                image = np.repeat(image[..., None], 3, -1)
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
                raise ValueError(
                    f'frame {index} is {image.dtype} {image.shape}; BGR frames (height, width, 3) of uint8 expected'
                )
            yield Frame(image, index, index / self.fps, f'frame://{self.name}/{index}')
        if index < 0:
            raise ValueError(f'{self.name} has no frame; an array (T, H, W, 3), a list or an iterator expected')


class Camera(Source):
    """A camera by its number, until :meth:`stop`.

    Raises:
        OSError: there is no such camera.
    """

    repeatable = False

    def __init__(self, number: int) -> None:
        self.number, self.name, self._stopped = number, f'camera{number}', False
        capture = self._open()
        fps = capture.get(cv2.CAP_PROP_FPS)
        capture.release()
        self.fps = fps if 0 < fps < 1e4 else Source.fps

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self.number)
        if not capture.isOpened():
            raise OSError(f'camera {self.number} cannot be opened; see which there are, as with: ls /dev/video*')
        return capture

    def stop(self) -> None:
        """End after the frame that is next."""
        self._stopped = True

    def __iter__(self) -> Iterator[Frame]:
        capture, start, index = self._open(), time.monotonic(), 0
        try:
            while not self._stopped:
                good, image = capture.read()
                if not good:
                    break
                yield Frame(image, index, time.monotonic() - start, f'frame://{self.name}/{index}')
                index += 1
        finally:
            capture.release()


def open_source(source: SourceLike, fps: float = 25.0) -> Source:
    """The frames of one source.

    Args:
        source: A video file, a picture, a folder of pictures, frames in memory or from an iterator, or the number of a
            camera.
        fps: Frames a second of pictures and of frames in memory.

    Raises:
        FileNotFoundError, UnreadableError: no such file, or one that cannot be read.
        OSError, ValueError: no such camera; a folder without pictures; another kind of source.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, int):
        return Camera(source)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if path.suffix.lower() in PICTURES and not path.is_dir():
            return Pictures([path], fps, str(path))
        if not path.is_dir():
            return VideoFile(path)
        pictures = pictures_of(path)
        if not pictures:
            raise ValueError(f'{path} has no pictures ({", ".join(PICTURES)})')
        return Pictures(pictures, fps, str(path))
    if not isinstance(source, Iterable):
        raise ValueError(
            f'{source!r} is no source; the path of a video, a picture or a folder, an array (T, H, W, 3), an iterator '
            "of BGR frames or a camera's number expected"
        )
    return Images(source, fps)


def pictures_of(folder: Path) -> list[Path]:
    """Pictures of a folder in the order of the numbers in their names."""
    found = (p for p in folder.iterdir() if p.suffix.lower() in PICTURES and p.name[0] != '.')
    return sorted(found, key=lambda path: (natural(path.name), path.name))
