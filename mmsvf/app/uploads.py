"""Files that a browser sends: their names are for people alone, their size is limited, their kind is looked at."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import IO

from mmsvf.apis.sources import EVENTS
from mmsvf.datasets.reading import VIDEOS
from mmsvf.files.videos import check_video

LONGEST_NAME = 80


def shown_name(name: str) -> str:
    """What to call a file: the last part of its name, without control characters, shortened."""
    last = name.replace('\\', '/').rsplit('/', 1)[-1]
    clean = ''.join(c for c in last if not unicodedata.category(c).startswith('C')).strip()
    return clean[:LONGEST_NAME] or 'video'


def suffix_of(name: str) -> str:
    """The suffix, which decides how a file is read.

    Raises:
        ValueError: that of no video.
    """
    suffix = Path(shown_name(name)).suffix.lower()
    if suffix not in (*VIDEOS, EVENTS):
        raise ValueError(f'{shown_name(name)!r} is no video by its name; {", ".join((*VIDEOS, EVENTS))} are taken')
    return suffix


def save_upload(stream: IO[bytes], name: str, folder: Path, most: int) -> Path:
    """Write what a browser sends into a folder, under a name of ours.

    Args:
        stream: The bytes.
        name: What the browser calls it.
        folder: An existing folder.
        most: Bytes that are taken.

    Returns:
        The file.

    Raises:
        ValueError: no video by its name or by its first bytes, an empty file, or one that is too large. Nothing is
            left of it then.
    """
    path = folder / f'upload{suffix_of(name)}'
    size = 0
    try:
        with path.open('wb') as file:
            while block := stream.read(2**18):
                size += len(block)
                if size > most:
                    raise ValueError(f'{shown_name(name)!r} is larger than {most / 1e6:g} MB (--max-upload)')
                file.write(block)
        check_kind(path, shown_name(name))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def check_kind(path: Path, name: str) -> None:
    """Refuse a file that does not begin as a video does, or, of a .npz, as an archive.

    Raises:
        ValueError: another kind of file.
    """
    if path.suffix != EVENTS:
        try:
            check_video(path)
        except ValueError as error:
            raise ValueError(f'{name!r} is no video: {error}') from None
        return
    with path.open('rb') as file:
        if file.read(4) != b'PK\x03\x04':
            raise ValueError(f'{name!r} is no .npz: it does not begin as one')
