#!/usr/bin/env python
"""Write the lists that configs/compared/statten_2_256_cifar10_dvs.py reads: of each class 9 of 10 for training.

    python tools/dataset_converters/cifar10_dvs.py data/cifar10_dvs

The folder has events_np/<class>/*.npz with t, x, y and p of the events, as spikingjelly unpacks CIFAR10-DVS:

    python -c "from spikingjelly.datasets.cifar10_dvs import CIFAR10DVS; CIFAR10DVS('data/cifar10_dvs', 'event')"
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmsvf.datasets.reading import natural
from mmsvf.engine.run_config import plain_messages


def split(folder: Path) -> dict[str, list[str]]:
    """Lines of train.txt and val.txt: file and label; the last tenth of each class is for testing.

    Raises:
        FileNotFoundError: there are no classes with files.
        ValueError: something that is not a file is named like one.
    """
    lines: dict[str, list[str]] = {'train.txt': [], 'val.txt': []}
    classes = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    for label, path in enumerate(classes):
        # by number: cifar10_airplane_2 comes before cifar10_airplane_10
        files = sorted(path.glob('*.npz'), key=lambda f: natural(f.name))
        for i, file in enumerate(files):
            if not file.is_file():
                raise ValueError(f'{file} is a folder, a pipe or a device, not a recording; remove it')
            part = 'train.txt' if i < round(0.9 * len(files)) else 'val.txt'
            lines[part].append(f'{path.name}/{file.name} {label}\n')
    if not lines['train.txt']:
        raise FileNotFoundError(f'{folder} has no <class>/*.npz; --help says how to get them')
    return lines


def main() -> None:
    """Write the lists."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='folder with events_np')
    args = parser.parse_args()
    try:
        lines = split(args.folder / 'events_np')
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error
    for name, content in lines.items():
        (args.folder / name).write_text(''.join(content), encoding='utf-8')
        print(f'{args.folder / name}: {len(content)} recordings')


if __name__ == '__main__':
    with plain_messages():
        main()
