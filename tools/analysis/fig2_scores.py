#!/usr/bin/env python
"""Figure 2: dot product and normalised Hamming similarity of a spike query and its keys.

The paper's two queries of six channels, four keys each. A query without spikes has the dot product 0 with every
key; one with a single spike has the dot product 1 with every key that spikes there, too. The Hamming similarity
tells the keys apart: 2/6, 4/6, 3/6, 1/6, and 4/6, 5/6, 3/6, 2/6. OUT may be a .png, .pdf or .svg.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import torch

from mmsvf.engine.run_config import picture_file
from mmsvf.spiking.hamming import hamming_similarity

matplotlib.use('Agg')
from matplotlib import pyplot as plt

# spikes of the query, and of its keys; which channels they are on makes no difference as long as they meet
SPIKES = {0: (4, 2, 3, 5), 1: (3, 2, 4, 5)}
CHANNELS = 6
SPIKE, SILENT, EDGE = '#1c2330', '#ffffff', '#8a93a3'
DOT, HAMMING = '#d9822b', '#3b7dd8'


class Pair(NamedTuple):
    """A query and a key, spikes as 0 and 1, with their scores."""

    query: list[int]
    key: list[int]
    dot: int
    hamming: Fraction


def scores() -> list[Pair]:
    """The eight pairs."""
    rows = []
    for spikes, counts in SPIKES.items():
        query = (torch.arange(CHANNELS) < spikes).float()
        for count in counts:
            key = (torch.arange(CHANNELS) < count).float()
            similarity = hamming_similarity(query[None], key[None]).item()
            fraction = Fraction(similarity).limit_denominator(CHANNELS)
            rows.append(Pair(query.int().tolist(), key.int().tolist(), int(query @ key), fraction))
    return rows


def draw_spikes(axes: Any, spikes: list[int], x: float, y: float) -> None:
    """Channels as squares of side 1 from (x, y), filled where there is a spike."""
    for channel, spike in enumerate(spikes):
        square = plt.Rectangle(
            (x + channel, y), 1, 1, facecolor=SPIKE if spike else SILENT, edgecolor=EDGE, linewidth=0.8
        )
        axes.add_patch(square)


def draw_pairs(axes: Any, pairs: list[Pair], panel: str) -> None:
    """A query above its keys, each with its two scores as bars."""
    count, bar = sum(pairs[0].query), 5.0
    first, second = CHANNELS + 3.0, CHANNELS + 3.0 + bar + 3.2
    axes.set(xlim=(-2.6, second + bar + 2.2), ylim=(-2 * len(pairs) - 0.6, 3.4), aspect='equal')
    axes.axis('off')
    axes.text(
        -2.6, 2.9, f'({panel}) a query with {"no spike" if count == 0 else "one spike"}', weight='bold', fontsize=10
    )
    axes.text(-0.5, 1.0, '$q$', ha='right', va='center', fontsize=11)
    draw_spikes(axes, pairs[0].query, 0, 0.5)
    axes.text(0, 1.75, 'channels, dark where there is a spike', fontsize=7, color=EDGE)
    for x, title, colour in ((first, 'dot product $q^\\top\\!k$', DOT), (second, 'Hamming $f_H(q, k)$', HAMMING)):
        axes.text(x, 1.0, title, va='center', fontsize=9, color=colour)
    for i, pair in enumerate(pairs):
        y = -2.0 * i - 1.7
        axes.text(-0.5, y + 0.5, f'$k_{i + 1}$', ha='right', va='center', fontsize=11)
        draw_spikes(axes, pair.key, 0, y)
        sixths = int(pair.hamming * CHANNELS)
        for x, share, text, colour in (
            (first, pair.dot / CHANNELS, str(pair.dot), DOT),
            (second, float(pair.hamming), f'{sixths}/{CHANNELS}', HAMMING),
        ):
            axes.add_patch(plt.Rectangle((x, y + 0.15), bar, 0.7, facecolor='#eef0f4', linewidth=0))
            axes.add_patch(plt.Rectangle((x, y + 0.15), bar * share, 0.7, facecolor=colour, linewidth=0))
            axes.text(x + bar + 0.35, y + 0.5, text, va='center', fontsize=10)


def draw(pairs: list[Pair], path: Path) -> None:
    """The figure, a column of text wide: the two queries below each other."""
    with matplotlib.rc_context({'svg.fonttype': 'none', 'pdf.fonttype': 42, 'mathtext.fontset': 'cm'}):
        figure, panels = plt.subplots(2, 1, figsize=(5.4, 5.0), layout='constrained')
        half = len(pairs) // 2
        for axes, some, panel in zip(panels, (pairs[:half], pairs[half:]), 'ab'):
            draw_pairs(axes, some, panel)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=300)
    plt.close(figure)


def main() -> None:
    """Print and draw the pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=picture_file, default='fig2.png', help='picture (default: %(default)s)')
    args = parser.parse_args()
    print(f'{"query":20} {"key":20} dot  Hamming')
    pairs = scores()
    for pair in pairs:
        print(f'{pair.query!s:20} {pair.key!s:20} {pair.dot:3}  {int(pair.hamming * CHANNELS)}/{CHANNELS}')
    draw(pairs, args.out)
    print(f'picture: {args.out}')


if __name__ == '__main__':
    main()
