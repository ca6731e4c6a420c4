#!/usr/bin/env python
"""Test a checkpoint of any OpenMMLab framework with its config."""

import argparse

from mmsvf.engine.launch import test
from mmsvf.engine.run_config import add_common_arguments, output_file, plain_messages


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--dump', type=output_file(), metavar='FILE.pkl', help='write the predictions as a pickle')
    parser.add_argument('--out', metavar='DIR', help='write the label maps of a segmentation to this folder')
    parser.add_argument('--show-dir', help='write pictures of the predictions to this folder')
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument('--interval', type=int, default=1, help='show every n-th sample (default: %(default)s)')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds a window is shown (default: %(default)s)')
    parser.add_argument('--tta', action='store_true', help="test-time augmentation (the config's tta_model)")
    parser.add_argument('--fuse', action='store_true', help='test the exact inference form, which is faster')
    parser.add_argument('--compile', action='store_true', help='with --fuse: torch.compile its blocks, too')
    parser.add_argument(
        '--engine',
        choices=['dense', 'events'],
        default='dense',
        help='with --fuse: events skips inputs that are 0 where that is faster, on CPU (default: %(default)s)',
    )
    return parser.parse_args()


if __name__ == '__main__':
    with plain_messages():
        test(parse_args())
