#!/usr/bin/env python
"""What a score gives the network to learn from: for rows of a config, on the first training batch, in training.

    python tools/analysis/score_signals.py configs/demo/svf_moving_digits.py configs/ablation/width.yml --runs WORK

Printed for each row, means over attentions and seeds, at random weights and, with --runs of ablate.py, trained:

    zero scores           share of pairs of a query and a key whose score is 0: q k, of Hamming (2q - 1)(2k - 1)
    rank / D              rank of what a head reads from a clip, before BatchNorm and neuron, by its channels
    gradient of q, k / v  norm of the loss's gradient by the weights of queries and keys, by that of the values' weights
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmsvf.analysis.ablation import choose
from mmsvf.analysis.score_signals import table
from mmsvf.engine.run_config import load_config, plain_messages
from mmsvf.files.config_options import OptionsAction


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file that the rows change')
    parser.add_argument('rows', type=Path, help='YAML file: name: {option: value}')
    parser.add_argument('--only', nargs='+', metavar='ROW', help='of the rows, these')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='default: 0 1 2')
    parser.add_argument('--runs', type=Path, help='work-dir of ablate.py with these rows and seeds')
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionsAction, metavar='KEY=VALUE', help='options of all rows'
    )
    args = parser.parse_args()
    config = load_config(args.config)
    lines = table(config, choose(args.rows, args.only), args.seeds, args.runs, args.cfg_options)
    print('\n' + '\n'.join(lines))


if __name__ == '__main__':
    with plain_messages():
        main()
