#!/usr/bin/env python
"""Write the lists that a training on your own videos takes, from a folder with a folder for each class.

    python tools/dataset_converters/make_video_list.py FOLDER --val 0.2 --seed 0

FOLDER/CLASS/VIDEO becomes FOLDER/train.txt and val.txt (a video and its label a line, as mmaction2 has it, in names
without spaces) and classes.txt (the class of label 0, 1, ... a line). Each video is opened and decoded at its begin,
middle and end; what cannot be is left out and named. Of each class the same share is for validation.
docs/own_data.md goes on from here.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from mmengine.utils import ProgressBar

from mmsvf.datasets.check_videos import check, check_all
from mmsvf.datasets.own_lists import check_new, draw_split, find_videos, write_new
from mmsvf.engine.run_config import plain_messages


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='folder of a folder of videos for each class')
    parser.add_argument('--val', type=float, default=0.2, help='share for validation (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the draw (default: %(default)s)')
    parser.add_argument(
        '--group',
        metavar='PATTERN',
        help="what tells the recording that a clip was cut from: 'g(\\d+)' keeps v_Run_g03_c01.avi and "
        'v_Run_g03_c02.avi on the same side (default: each video stands alone)',
    )
    parser.add_argument('--jobs', type=int, default=2, help='processes that open videos (default: %(default)s)')
    parser.add_argument('--out', type=Path, metavar='FOLDER', help='where the lists go (default: into the folder)')
    parser.add_argument('--force', action='store_true', help='overwrite lists that are there')
    return parser.parse_args()


def main() -> None:
    """Look at the videos and write the lists."""
    args = parse_args()
    out = args.out or args.folder
    lists = {name: out / f'{name}.txt' for name in ('train', 'val', 'classes')}
    try:
        check_new(lists.values(), args.force)
        found = find_videos(args.folder)
        paths = {str(args.folder / name): name for names in found.values() for name in names}
        print(f'{len(paths)} videos of {len(found)} classes; each is opened')
        bar, wrong = ProgressBar(len(paths)), {}
        test = partial(check, decoder='decord', frames=1, every=False, timeout=60)
        for path, reason in check_all(list(paths), args.jobs, test):
            if reason is not None:
                wrong[paths[path]] = reason
            bar.update()
        print()
        for name, reason in sorted(wrong.items()):
            print(f'left out: {name} ({reason})')
        items = {kind: [name for name in names if name not in wrong] for kind, names in found.items()}
        empty = [kind for kind, names in items.items() if not names]
        if empty:
            raise ValueError(f'no video of {", ".join(empty)} can be read; restore them, or remove the folders')
        val = draw_split(items, args.val, args.seed, args.group)
        lines: dict[str, list[str]] = {'train': [], 'val': [], 'classes': list(items)}
        print(f'{"label":>5}  {"train":>5}  {"val":>5}  class')
        for label, (kind, names) in enumerate(items.items()):
            for name in names:
                lines['val' if name in val else 'train'].append(f'{name} {label}')
            drawn = sum(name in val for name in names)
            print(f'{label:5}  {len(names) - drawn:5}  {drawn:5}  {kind}')
            if args.val and not drawn:
                print(f'       {kind} cannot be in both: it is not validated')
        spaced = [name for names in items.values() for name in names if ' ' in name]
        if spaced:
            print(
                f'{len(spaced)} names have spaces, such as {spaced[0]!r}: mmsvf reads them, VideoDataset of mmaction2 '
                'does not; for that one rename the folders and files, as play_tennis, and begin again with --force'
            )
        out.mkdir(parents=True, exist_ok=True)
        write_new(
            {lists[name]: ''.join(f'{line}\n' for line in content) for name, content in lines.items()}, args.force
        )
    except (ValueError, OSError) as error:
        raise SystemExit(f'{type(error).__name__}: {error}') from None
    print(*lists.values())


if __name__ == '__main__':
    with plain_messages():
        main()
