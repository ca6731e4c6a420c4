#!/usr/bin/env python
"""Figure 3: mean of |f_H - g(f_C)| against the number of channels D, for random pairs of unit vectors of size 64.

f_H is the normalised Hamming similarity of the vectors' binary embeddings, f_C their cosine and g(x) =
1 - arccos(x) / pi (Proposition 3.1). With a Gaussian projection f_H is the mean of D independent votes of expectation
g(f_C), so Hoeffding's inequality gives P(|f_H - g| >= d) <= 2 exp(-2 d^2 D) for a pair, and a mean error of at most
sqrt(pi / (2 D)); the shaded band is where a pair lies with 95 %. One projection serves all pairs of a D.
"""

from __future__ import annotations

import argparse

import matplotlib
import torch
from mmengine.utils import track_iter_progress

from mmsvf.analysis.approximation import band, errors
from mmsvf.engine.run_config import picture_file

matplotlib.use('Agg')
SIZES = (16, 32, 64, 128, 256, 512, 1024, 2048)


def main() -> None:
    """Print the errors and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--pairs', type=int, nargs='+', default=[10_000, 100_000, 1_000_000], help='numbers of pairs')
    parser.add_argument('--sizes', type=int, nargs='+', default=list(SIZES), help='numbers of channels D')
    parser.add_argument('--out', type=picture_file, default='fig3.png', help='picture (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='random seed (default: %(default)s)')
    args = parser.parse_args()
    runs = [(pairs, d) for pairs in args.pairs for d in args.sizes]
    found = {}
    for pairs, d in track_iter_progress(runs):
        found[pairs, d] = errors(pairs, d, torch.Generator().manual_seed(args.seed))
    print(f'\n{"pairs":>9} {"D":>6} {"mean error":>11} {"largest":>9} {"95 % band":>10}')
    for (pairs, d), (mean, largest) in found.items():
        print(f'{pairs:9} {d:6} {mean:11.5f} {largest:9.5f} {band(d):10.5f}')

    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout='constrained')
    axes.fill_between(args.sizes, 0, [band(d) for d in args.sizes], alpha=0.15, label='Hoeffding, a pair, 95 %')
    for pairs in args.pairs:
        axes.plot(
            args.sizes, [found[pairs, d][0] for d in args.sizes], marker='o', label=f'mean, {pairs // 1000}k pairs'
        )
    axes.set(xscale='log', xlabel='channels D', ylabel='|f_H - g(f_C)|')
    axes.set_xscale('log', base=2)
    axes.legend()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=150)
    print(f'picture: {args.out}')


if __name__ == '__main__':
    main()
