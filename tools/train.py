#!/usr/bin/env python
"""Train a model of any OpenMMLab framework from its config."""

import argparse

from mmsvf.engine.launch import train
from mmsvf.engine.run_config import add_common_arguments, plain_messages


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from the last checkpoint in the work-dir, or from the one named',
    )
    parser.add_argument('--amp', action='store_true', help='train in mixed precision (GPU)')
    parser.add_argument('--no-validate', action='store_true', help='no validation during training')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate by the batch size over its base'
    )
    parser.add_argument('--seed', type=int, help='random seed')
    parser.add_argument('--diff-rank-seed', action='store_true', help='another seed on each process')
    parser.add_argument('--deterministic', action='store_true', help='deterministic algorithms only')
    parser.add_argument(
        '--max-unreadable',
        type=float,
        metavar='N',
        help='skip so many unreadable files (below 1: this fraction of them all), listed in WORK_DIR/unreadable.txt',
    )
    return parser.parse_args()


if __name__ == '__main__':
    with plain_messages('interrupted: --resume goes on from the last checkpoint of the work-dir'):
        train(parse_args())
