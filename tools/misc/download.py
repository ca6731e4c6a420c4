#!/usr/bin/env python
"""Checkpoint and config of models of the zoo, from what came with mmsvf, without network.

    mim run mmsvf download --config svf_moving_digits --dest .
    python -m mmsvf mmsvf::misc/download.py --config svf_moving_digits --dest .

It does what ``mim download mmsvf`` does where the files have a public address, and takes the same flags.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmsvf.engine.run_config import plain_messages
from mmsvf.files.zoo import copy_models
from mmsvf.frameworks import mim_folder


def main() -> None:
    """Read the command line and copy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', nargs='+', required=True, metavar='NAME', help='models, such as svf_moving_digits')
    parser.add_argument('--dest', type=Path, default=Path(), metavar='FOLDER', help='where to (default: here)')
    args = parser.parse_args()
    for file in copy_models(args.config, mim_folder('mmsvf'), args.dest):
        print(file)


if __name__ == '__main__':
    with plain_messages():
        main()
