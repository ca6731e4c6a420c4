"""Files of data sets: what is not as it should be is refused by an error that names the file and what to do."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.fileio import list_from_file
from PIL import Image

from mmsvf.files.videos import check_video

PICTURES = ('.jpg', '.jpeg', '.png', '.bmp')
VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv', '.ts', '.3gp', '.gif')
FORMATS = ('JPEG', 'PNG', 'BMP', 'TIFF', 'WEBP')  # of pictures, whatever their names
MASKS = ('1', 'L', 'P')  # Pillow's modes of a label a pixel, in up to 8 bits
PIXELS = 2**26  # of a picture: more is a header that lies, or was made to fill the memory
BYTES = 2**32  # of the arrays of an .npz, unpacked
FIX = 'if the file is broken, restore it or take it out of the data set'


class UnreadableError(ValueError, RuntimeError):
    """A file is not what it should be; ``filename`` is its path. (A RuntimeError is what readers of videos raise.)"""

    filename: str | None = None


class MissingError(UnreadableError, FileNotFoundError):
    """A file is not there."""


@contextmanager
def reading(path: str | PathLike, fix: str = FIX) -> Iterator[None]:
    """Whatever goes wrong inside gets the file's name and the fix; what is no file is not opened.

    Args:
        path: A file, or a URL, which is left to who opens it.
        fix: What the user can do.

    Raises:
        MissingError: no such file.
        UnreadableError: any other error; one that has a file's name already is passed on as it is.
    """
    kind: type[UnreadableError] = UnreadableError
    try:
        if '://' not in str(path) and not Path(path).is_file():
            if not Path(path).exists():
                raise FileNotFoundError('no such file')
            raise OSError('a folder, a pipe or a device, not a file')  # a pipe would be waited for
        yield
    except UnreadableError:
        raise
    except Exception as error:
        kind = MissingError if isinstance(error, FileNotFoundError) else UnreadableError
        reason = 'is missing' if kind is MissingError else 'could not be read'
        said = ' '.join(str(error).split())[:1000]
        named = kind(f'{path} {reason} ({type(error).__name__}: {said}); {fix}')
        named.filename = str(path)
        raise named from error


def natural(name: str) -> list[Any]:
    """Key that sorts names by the numbers in them: frame_2 before frame_10."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r'(\d+)', name))]


def list_pictures(folder: Path, suffix: str) -> list[str]:
    """Names of the pictures of a folder in the order of the numbers in them, whether padded with zeros or not.

    Raises:
        FileNotFoundError: there are none.
        ValueError: pictures of another suffix among them, or two of the same number.
    """
    names = (p.name for p in folder.glob('*') if p.suffix.lower() in PICTURES and p.name[0] != '.')
    found = sorted(names, key=lambda name: (natural(name), name))
    if not found:
        raise FileNotFoundError(f'{folder} has no *{suffix}')
    others = [name for name in found if not name.endswith(suffix)]
    if others:
        raise ValueError(
            f'{folder} has {len(others)} pictures that are not *{suffix}, such as {others[0]}; convert them'
        )
    for name, following in zip(found, found[1:]):
        if natural(name) == natural(following):
            raise ValueError(f'{folder} has {name} and {following}, whose order cannot be told; rename or remove one')
    return found


def read_list(path: str) -> list[tuple[int, str]]:
    """Lines of a text file in UTF-8 with their numbers from 1; blank ones are left out, a byte order mark, too.

    Raises:
        UnreadableError: no text in UTF-8.
    """
    with reading(path, 'a list is a text file in UTF-8'):
        lines = list_from_file(path, encoding='utf-8-sig')
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]


def check_image(path: str | PathLike, modes: Collection[str] = ()) -> tuple[int, int]:
    """Look at a picture without decoding it: its kind, its size, and whether all of it is there.

    Args:
        path: The file.
        modes: Pillow's modes that are allowed, such as 'L' for 8 bits of grey; () allows all.

    Returns:
        (height, width) as stored.

    Raises:
        UnreadableError: no picture, one of another mode or of more than ``PIXELS``, or a damaged one: cut off, or a
            PNG whose check sums are wrong.
    """
    with reading(path), Image.open(path, formats=FORMATS) as image:
        width, height = image.size
        if width * height > PIXELS:
            raise ValueError(f'its header says {width} x {height} pixels; up to {PIXELS} are read')
        if modes and image.mode not in modes:
            raise ValueError(f'mode {image.mode!r}; {", ".join(map(repr, modes))} expected (L: 8 bits of grey)')
        content = Path(path).read_bytes()
        end = content.rfind(b'IEND' if image.format == 'PNG' else b'\xff\xd9')
        scan = content.rfind(b'\xff\xda')  # a smaller picture within a JPEG ends before it
        if (image.format == 'PNG' and len(content) < end + 8) or (image.format in ('JPEG', 'MPO') and end < scan):
            raise ValueError('cut off before its end')  # decoders fill what is missing with grey
        image.verify()
    return height, width


def read_image(path: str | PathLike, flag: int) -> np.ndarray:
    """``cv2.imread`` of a picture that :func:`check_image` has looked at; BGR.

    Raises:
        UnreadableError: see :func:`check_image`.
    """
    check_image(path)
    with reading(path):
        image = cv2.imread(str(path), flag)
        if image is None:
            raise ValueError('no picture that OpenCV can decode')
    return image


def open_video(path: str | PathLike, fix: str = FIX) -> cv2.VideoCapture:
    """A video as OpenCV's FFmpeg reads it, upright; what it would follow to other files is not opened.

    Args:
        path: The file.
        fix: What the user can do if it is none.

    Raises:
        UnreadableError: no such file, none that begins as a video does (:func:`check_video`), or one whose header says
            frames of more than ``PIXELS``. (Whether frames can be decoded is seen when they are read.)
    """
    with reading(path, fix):
        try:
            check_video(path)
        except ValueError as error:
            raise ValueError(f'cannot be read as a video: {error}') from None
        # FFmpeg alone: others of OpenCV's readers take a number in the name for that of a picture, and go on with the
        # next ones. The whole path: FFmpeg takes what is before a colon for a protocol, as in concat:a.mp4
        there = cv2.videoio_registry.getStreamBackends()
        reader = cv2.CAP_FFMPEG if cv2.CAP_FFMPEG in there else cv2.CAP_ANY
        capture = cv2.VideoCapture(str(Path(path).absolute()), reader)
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # off in some builds
        size = capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        if size > PIXELS:
            raise ValueError(f'its header says frames of {size:.0f} pixels; up to {PIXELS} are read')
    return capture


def check_numbers(name: str, array: np.ndarray) -> None:
    """Refuse an array of anything but finite real numbers.

    Raises:
        ValueError: another kind, or NaN or infinity.
    """
    if array.dtype.kind not in 'biuf':
        raise ValueError(f'{name} has the type {array.dtype}; real numbers expected')
    if not np.isfinite(array).all():
        raise ValueError(f'{name} has {int((~np.isfinite(array)).sum())} values that are NaN or infinite')


def read_npz(
    path: str | PathLike, names: Sequence[str], optional: Sequence[str] = (), fix: str = FIX
) -> dict[str, np.ndarray]:
    """Arrays of an .npz by name, finite real numbers; nothing in it is run.

    Raises:
        UnreadableError: no .npz, one that lacks an array of ``names``, arrays of anything else, or of more than
            ``BYTES`` together.
    """
    with reading(path, f'a .npz with {", ".join(names)} expected: {fix}'):
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > BYTES:
            raise ValueError(f'its arrays are said to have {size} bytes; up to {BYTES} are read')
        with np.load(path, allow_pickle=False) as data:
            found = {name: data[name] for name in (*names, *(name for name in optional if name in data))}
        for name, array in found.items():
            check_numbers(name, array)
    return found
