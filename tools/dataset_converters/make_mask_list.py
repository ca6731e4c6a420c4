#!/usr/bin/env python
"""Write the lists that a training on your own pictures and masks takes, and look at each of them before.

    python tools/dataset_converters/make_mask_list.py FOLDER --val 0.2 --seed 0

Video clips are FOLDER/data/VIDEO/origin/*.jpg with VIDEO/mask/*.png (VSPW's layout), single pictures
FOLDER/images/*.jpg or *.png with FOLDER/masks/*.png (mmsegmentation's plain one). A mask is a PNG of 8 bits with the
number of the class in each pixel, 255 where there is none. FOLDER gets train.txt and val.txt (a video or a picture a
line; a video is on one side) and classes.txt (the class of label 0, 1, ... a line), unless it has one.
docs/own_data.md goes on from here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.utils import ProgressBar

from mmsvf.datasets.own_lists import VOID, check_new, count_classes, draw_split, find_masks, look_at, write_new
from mmsvf.engine.run_config import plain_messages


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='folder of pictures and masks')
    parser.add_argument('--val', type=float, default=0.2, help='share for validation (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the draw (default: %(default)s)')
    parser.add_argument('--group', metavar='PATTERN', help='what tells names that stay on the same side, as a pattern')
    parser.add_argument(
        '--zero-is-void', action='store_true', help='label 0 is no class either: set reduce_zero_label=True, too'
    )
    parser.add_argument('--out', type=Path, metavar='FOLDER', help='where the lists go (default: into the folder)')
    parser.add_argument('--force', action='store_true', help='overwrite lists that are there (never classes.txt)')
    return parser.parse_args()


def main() -> None:
    """Look at the masks and write the lists."""
    args = parse_args()
    out = args.out or args.folder
    lists, classes = [out / 'train.txt', out / 'val.txt'], out / 'classes.txt'
    try:
        check_new(lists, args.force)
        found = find_masks(args.folder)
        pairs = [pair for pictures in found.values() for pair in pictures]
        print(f'{len(pairs)} pictures with masks; each is opened')
        labels, wrong = look_at(pairs, ProgressBar(len(pairs)).update)
        print()
        if wrong:
            raise ValueError('\n'.join([f'{len(wrong)} are not as they should be; correct or remove them', *wrong]))
        count, first = count_classes(labels, args.zero_is_void), int(args.zero_is_void)
        out.mkdir(parents=True, exist_ok=True)
        if not classes.exists():
            write_new({classes: ''.join(f'class {label}\n' for label in range(count))})
        names = classes.read_text(encoding='utf-8').splitlines()
        if len(names) < count:
            raise ValueError(f'{classes} has {len(names)} names, but the masks have {count} classes; add the others')
        total = sum(labels.values())
        print(f'{"label":>5}  {"pixels":>7}  class')
        for label, name in enumerate(names, first):
            print(f'{label:5}  {labels[label] / total:7.2%}  {name}')
        for label in {VOID, *range(first)} & set(labels):
            print(f'{label:5}  {labels[label] / total:7.2%}  (void)')
        val = draw_split({'': list(found)}, args.val, args.seed, args.group)
        sides = [name for name in found if name not in val], [name for name in found if name in val]
        write_new(dict(zip(lists, (''.join(f'{name}\n' for name in side) for side in sides))), args.force)
    except (ValueError, OSError) as error:
        raise SystemExit(f'{type(error).__name__}: {error}') from None
    print(f'{lists[0]} has {len(sides[0])}, {lists[1]} {len(sides[1])}; the names of the classes are in {classes}')


if __name__ == '__main__':
    with plain_messages():
        main()
