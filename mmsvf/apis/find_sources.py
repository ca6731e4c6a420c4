"""Single sources in what a user names: files, folders, patterns and lists."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

from mmsvf.datasets.reading import VIDEOS, natural, read_list

from .sources import EVENTS, pictures_of

LISTED = 'sources'  # whose .jsonl lists the sources that are done


def find_sources(
    patterns: Sequence[str],
    known: Any = lambda name: False,
    unreadable: list[str] | None = None,
    results: str | os.PathLike | None = None,
) -> dict[str, str]:
    """Single sources in what a user names, by unique names for their results, without suffix.

    Args:
        patterns: Files; folders of pictures, of videos, or of such folders; patterns such as ``clips/*.mp4``; lists
            (``.txt``), a line each: relative to the list, to the folder of its name, to ``data`` beside it or to here,
            labelled or not.
        known: Whether something that is no file is a source, such as an action of a data set.
        unreadable: Gets a line for each pattern that is nothing, in place of an error.
        results: A folder of results; of folders that have it in them, what is in it is left out.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: an empty list.
        UnreadableError: a list is no text.
    """
    found: dict[str, str] = {}
    for pattern in patterns:
        try:
            clips = list(_expand(pattern, known, None if results is None else Path(results).resolve()))
        except (ValueError, FileNotFoundError) as error:
            if unreadable is None:
                raise
            unreadable.append(str(error))
            continue
        for path, name in clips:
            short = os.path.splitext(name)[0]
            # a.mp4 and a.avi, or the same name in two folders
            above = Path(os.path.abspath(path)).parent.name  # of a file here, too
            other = name if '/' in name or not above else f'{above}/{short}'
            names = chain((short, other), (f'{other}_{i}' for i in count(2)))
            found[next(unique for unique in names if unique not in found and unique.lower() != LISTED)] = path
    return found


def _expand(pattern: str, known: Any, results: Path | None, lists: tuple[Path, ...] = ()) -> Iterator[tuple[str, str]]:
    """Paths of single sources with their names, relative to the folder that was given; ``lists``: those it is in."""
    path = Path(pattern)
    if path.is_dir():
        folders = [path, *(p for p in path.rglob('*') if p.is_dir() and not _is_truth(p))]
        files = [p for p in path.rglob('[!.]*') if p.suffix.lower() in (*VIDEOS, EVENTS) and p.is_file()]
        clips = sorted((*files, *filter(pictures_of, folders)), key=lambda p: natural(str(p)))
        if results and results != path.resolve():
            clips = [p for p in clips if results not in (p.resolve(), *p.resolve().parents)]
        if not clips:
            raise FileNotFoundError(f'{pattern} has neither videos nor pictures nor events under it')
        for clip in clips:
            # '.' and '..' have no name of their own
            yield str(clip), path.resolve().name if clip == path else clip.relative_to(path).as_posix()
    elif path.suffix == '.txt' and path.is_file():
        if path.resolve() in lists:
            raise ValueError(f'{pattern} lists itself')
        lists, entries = (*lists, path.resolve()), read_list(pattern)
        if not entries:
            raise ValueError(f'{pattern} lists nothing; a source a line')
        for _, line in entries:
            unlabelled = re.sub(r' -?\d+$', '', line)
            near = (str(path.parent), str(path.with_suffix('')), str(path.parent / 'data'), '')
            places = (Path(folder, entry) for entry in (line, line.rsplit(' ', 1)[0]) for folder in near)
            entry = next((p for p in places if p.exists()), path.parent / unlabelled)
            yield from _expand(str(entry), lambda _: True, results, lists)
    elif path.exists() or known(pattern):
        yield pattern, path.name
    elif glob.has_magic(pattern):
        matches = sorted(glob.glob(pattern, recursive=True), key=natural)
        if not matches:
            raise FileNotFoundError(f'no file is called {pattern}')
        for match in matches:
            yield from _expand(match, known, results, lists)
    else:
        raise FileNotFoundError(
            f'{pattern} does not exist; give a video, a folder, a pattern, a list or a .npz of events'
        )


def _is_truth(folder: Path) -> bool:
    """Whether it has the masks of a segmentation, in VSPW's layout, and no frames."""
    return folder.name == 'mask' and folder.with_name('origin').is_dir()
