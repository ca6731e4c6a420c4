#!/usr/bin/env python
"""Find the videos of a list or folder that cannot be read, before a training meets them.

    python tools/analysis/check_videos.py data/kinetics400/kinetics400_train_list_videos.txt --root \
        data/kinetics400/videos_train --jobs 16 --out broken.txt --clean clean_list.txt

Each video is opened by the decoder of the training; its first, middle and last frames are decoded, or all with
--all-frames. A decoder that crashes or hangs counts as broken, too. Exit code 1 if any is broken.
"""

from __future__ import annotations

import argparse
import re
import sys
from functools import partial
from pathlib import Path

from mmengine.utils import ProgressBar

from mmsvf.datasets.check_videos import check, check_all
from mmsvf.datasets.reading import VIDEOS
from mmsvf.engine.run_config import output_file, plain_messages


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='list of mmaction2 (a path and labels per line), or a folder')
    parser.add_argument('--root', type=Path, default=Path(), help="folder of the list's paths")
    parser.add_argument('--jobs', type=int, default=2, help='processes (default: %(default)s)')
    parser.add_argument('--decoder', choices=['decord', 'opencv'], default='decord', help='default: %(default)s')
    parser.add_argument('--frames', type=int, default=1, help='a video with fewer frames is broken (default: 1)')
    parser.add_argument('--all-frames', action='store_true', help='decode every frame')
    parser.add_argument('--timeout', type=float, default=60, help='seconds a video may take (default: %(default)s)')
    parser.add_argument('--out', type=output_file(), help='write broken videos and reasons, a line each')
    parser.add_argument('--clean', type=output_file(), help='write the list without the broken videos')
    return parser.parse_args()


def main() -> int:
    """Print and write what cannot be read; 1 if there is anything, else 0."""
    args = parse_args()
    if args.source.is_dir():
        lines = [str(path) for path in sorted(args.source.rglob('*')) if path.suffix.lower() in VIDEOS]
        files = dict(zip(lines, lines, strict=True))
    else:
        lines = [line for line in args.source.read_text(encoding='utf-8-sig').splitlines() if line.strip()]
        files = {line: str(args.root / (re.sub(r'([\s,]+[+-]?\d+)+$', '', line) or line)) for line in lines}
    if not files:
        raise SystemExit(f'{args.source}: no video; a list has a path and its labels per line, a folder {VIDEOS}')
    test = partial(check, decoder=args.decoder, frames=args.frames, every=args.all_frames, timeout=args.timeout)
    bar = ProgressBar(len(set(files.values())))
    broken = {}
    for path, reason in check_all(sorted(set(files.values())), args.jobs, test):
        if reason is not None:
            broken[path] = reason
        bar.update()
    print()
    report = ''.join(f'{path}\t{reason}\n' for path, reason in sorted(broken.items()))
    print(f'{report}{len(broken)} of {len(set(files.values()))} videos cannot be read')
    if args.out:
        args.out.write_text(report, encoding='utf-8')
    if args.clean:
        args.clean.write_text(''.join(f'{line}\n' for line in lines if files[line] not in broken), encoding='utf-8')
        print(f'the others are listed in {args.clean}')
    return int(bool(broken))


if __name__ == '__main__':
    with plain_messages():
        sys.exit(main())
