"""Lists of a user's own data: what a folder holds, looked at file by file and drawn into training and validation.

The frameworks read lists and write none; converters of theirs are for one published data set each.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .reading import MASKS, PICTURES, VIDEOS, check_image, list_pictures, natural, reading

VOID = 255  # mmsegmentation's ignore_index


def write_new(files: Mapping[Path, str], force: bool = False) -> None:
    """Write text files that are not there yet, or with ``force`` anew.

    Raises:
        FileExistsError: one is there; nothing is written.
    """
    check_new(files, force)
    for path, text in files.items():
        path.write_text(text, encoding='utf-8')


def check_new(paths: Iterable[Path], force: bool = False) -> None:
    """Raise FileExistsError if one of the files is there and is not to be written anew."""
    there = [str(path) for path in paths if path.exists()]
    if there and not force:
        raise FileExistsError(f'{", ".join(there)}: there already; --force writes anew, --out FOLDER elsewhere')


def draw_split(items: Mapping[str, Sequence[str]], share: float, seed: int, group: str | None = None) -> set[str]:
    """Names that are drawn for validation: of each class a share, at least one, and never all.

    Args:
        items: Names by class.
        share: Of each class, 0 to below 1.
        seed: Of the draw: the same names and seed give the same split.
        group: Regular expression; names with the same match (its first group, if it has one) stay together, as clips
            cut from one recording or of one person. Without it each name stands alone.

    Raises:
        ValueError: a share out of range, or a name that the expression does not match.
    """
    if not 0 <= share < 1:
        raise ValueError(f'a share of {share} for validation; 0 to below 1, such as 0.2')
    groups: dict[str, list[tuple[str, str]]] = {}
    for kind, names in items.items():
        for name in names:
            match = re.search(group, name) if group else None
            if group and not match:
                raise ValueError(f'--group {group!r} matches nothing in {name!r}; it tells what a clip was cut from')
            key = match[match.re.groups and 1] if match else f'{kind}/{name}'
            groups.setdefault(key, []).append((kind, name))
    wanted = {kind: max(share > 0, round(share * len(names))) for kind, names in items.items()}
    left, drawn = Counter({kind: len(names) for kind, names in items.items()}), Counter[str]()
    chosen: set[str] = set()
    keys = sorted(groups)
    for i in np.random.default_rng(seed).permutation(len(keys)):
        count = Counter(kind for kind, _ in groups[keys[i]])
        needed = any(drawn[kind] < wanted[kind] for kind in count)
        if needed and all(left[kind] > number for kind, number in count.items()):
            chosen |= {name for _, name in groups[keys[i]]}
            drawn, left = drawn + count, left - count
    return chosen


def find_videos(folder: Path) -> dict[str, list[str]]:
    """Videos by class, relative to ``folder``: ``folder/CLASS/**/VIDEO``.

    Raises:
        FileNotFoundError: no folder, or no class with a video in it.
        ValueError: videos beside the folders of the classes.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder} is no folder; FOLDER/CLASS/VIDEO expected')
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob('*'), key=lambda path: natural(path.relative_to(folder).as_posix())):
        if path.suffix.lower() in VIDEOS and path.is_file() and path.name[0] != '.':
            name = path.relative_to(folder).as_posix()
            found.setdefault(name.split('/')[0] if '/' in name else '', []).append(name)
    if not found:
        raise FileNotFoundError(f'{folder} has no videos; FOLDER/CLASS/VIDEO expected ({", ".join(VIDEOS)})')
    if '' in found:
        raise ValueError(
            f'{folder / found[""][0]} is in no folder of a class; FOLDER/CLASS/VIDEO expected: put the videos of a '
            'class into a folder of its name'
        )
    return dict(sorted(found.items()))


def find_masks(folder: Path) -> dict[str, list[tuple[Path, Path]]]:
    """Pictures with their masks, by what is drawn as one: a video, or a picture by its name without suffix.

    ``folder/data/VIDEO/{origin,mask}/NAME.{jpg,png}`` is VSPW's layout, ``folder/{images,masks}/NAME.{jpg or png,png}``
    mmsegmentation's plain one.

    Raises:
        FileNotFoundError: neither layout, or a picture without a mask or the other way round.
        ValueError: pictures of several kinds.
    """
    if (folder / 'data').is_dir():
        found = {}
        for video in sorted((p for p in (folder / 'data').iterdir() if p.is_dir()), key=lambda p: natural(p.name)):
            origin, mask = video / 'origin', video / 'mask'
            found[video.name] = _pairs(origin, list_pictures(origin, '.jpg'), mask)
        if found:
            return found
    elif (folder / 'images').is_dir():
        names = [p.relative_to(folder / 'images').as_posix() for p in (folder / 'images').rglob('*')]
        names = sorted((name for name in names if Path(name).suffix.lower() in PICTURES), key=natural)
        kinds = sorted({Path(name).suffix for name in names})
        if len(kinds) > 1:
            raise ValueError(
                f'{folder / "images"} has pictures of several kinds ({", ".join(kinds)}); convert them to one'
            )
        if names:
            return {
                picture.stem if '/' not in name else name.rsplit('.', 1)[0]: [(picture, mask)]
                for name, (picture, mask) in zip(names, _pairs(folder / 'images', names, folder / 'masks'))
            }
    raise FileNotFoundError(
        f'{folder} has no pictures: clips are FOLDER/data/VIDEO/origin/*.jpg with VIDEO/mask/*.png of the same names, '
        'single pictures FOLDER/images/*.jpg or *.png with FOLDER/masks/*.png'
    )


def _pairs(pictures: Path, names: Sequence[str], masks: Path) -> list[tuple[Path, Path]]:
    wanted = [Path(name).with_suffix('.png') for name in names]
    there = {path.relative_to(masks) for path in masks.rglob('*.png')}
    alone = sorted(set(wanted) ^ there)
    if alone:
        raise FileNotFoundError(
            f'{pictures} and {masks} differ by {len(alone)} names, such as {alone[0].with_suffix("")}; each picture '
            'has a mask of its name, *.png'
        )
    return [(pictures / name, masks / mask) for name, mask in zip(names, wanted)]


def mask_labels(picture: Path, mask: Path) -> Counter[int]:
    """Pixels of each label of a mask, which has the size of its picture.

    Raises:
        UnreadableError: a damaged file, a mask that is not 8 bits of one channel, or one of another size.
    """
    size = check_image(picture)
    if check_image(mask, MASKS) != size:
        with reading(mask, 'a mask has the size of its picture'):
            raise ValueError(f'another size than {picture}: {size[0]} x {size[1]} pixels expected')
    with reading(mask), Image.open(mask) as image:
        labels, counts = np.unique(np.asarray(image).astype(np.uint8), return_counts=True)
    return Counter(dict(zip(labels.tolist(), counts.tolist())))


def count_classes(labels: Counter[int], zero_is_void: bool = False) -> int:
    """Number of classes of masks with these labels.

    Raises:
        ValueError: fewer than two.
    """
    found = sorted(set(labels) - {VOID} - ({0} if zero_is_void else set()))
    count = (found[-1] + 1 - zero_is_void) if found else 0
    if count < 2:
        raise ValueError(
            f'the masks have the labels {sorted(labels)}, of which {VOID} {"and 0 are" if zero_is_void else "is"} '
            f'void: {count} class. A mask has the number of its class in each pixel: 0, 1, 2 and so on; where 255 is '
            'an object write 1'
        )
    return count


def look_at(items: Sequence[tuple[Path, Path]], progress: Callable[[], None]) -> tuple[Counter[int], list[str]]:
    """Pixels of each label over pictures and masks, and what is wrong with them, a line each."""
    labels, wrong = Counter[int](), []
    for picture, mask in items:
        try:
            labels += mask_labels(picture, mask)
        except ValueError as error:
            wrong.append(str(error))
        progress()
    return labels, wrong
