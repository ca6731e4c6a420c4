#!/usr/bin/env python
"""How well does Hamming similarity stand for cosine similarity in narrow networks, and what is it worth in accuracy?

Reads the runs of ablate.py with configs/ablation/width.yml:

    python tools/analysis/ablate.py configs/demo/svf_moving_digits.py configs/ablation/width.yml --work-dir WORK
    python tools/analysis/width_study.py WORK

Query and key spikes of a head are compared over all pairs of tokens of a clip with what the neurons were given: f_C is
the cosine of a query's and a key's membrane inputs. Printed for each width, means over layers, heads, clips and seeds:

    error          |f_H - g(f_C)|, f_H the Hamming similarity of the spikes (Eq. 6) and g(x) = 1 - arccos(x) / pi
    random         the same for the Gaussian projections of Proposition 3.1, which fig3_approximation.py draws
    rank Hamming   Spearman correlation of f_H with f_C: what a score keeps of the order, whatever its scale
    rank dot       the same for the dot product of the same spikes

and beside them the accuracy of the networks trained with either score. Spearman's is 0 where a head is constant.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmsvf.analysis.width_study import draw, study, table
from mmsvf.engine.run_config import picture_file, plain_messages


def main() -> None:
    """Print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', type=Path, help='work-dir of ablate.py, with rows hamming_C and dot_C')
    parser.add_argument('--clips', type=int, default=16, help='clips of the test data (default: %(default)s)')
    parser.add_argument('--metric', default='acc/top1', help='metric of the runs (default: %(default)s)')
    parser.add_argument('--out', type=picture_file, default='width_study.png', help='picture (default: %(default)s)')
    args = parser.parse_args()
    lines = study(args.runs, args.metric, args.clips)
    print(f'\n{table(lines, args.metric, args.clips)}')
    draw(lines, args.metric, args.out)
    print(f'picture: {args.out}')


if __name__ == '__main__':
    with plain_messages():
        main()
