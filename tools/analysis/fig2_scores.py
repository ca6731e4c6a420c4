#!/usr/bin/env python
"""Figure 2: dot product and normalised Hamming similarity of a spike query and its keys.

The paper's two queries of six channels, four keys each. A query without spikes has the dot product 0 with every
key; one with a single spike has the dot product 1 with every key that spikes there, too. The Hamming similarity
tells the keys apart: 2/6, 4/6, 3/6, 1/6, and 4/6, 5/6, 3/6, 2/6.
"""

from __future__ import annotations

import argparse
from fractions import Fraction

import torch

from mmsvf.spiking.hamming import hamming_similarity

# spikes of the query, and of its keys; which channels they are on makes no difference as long as they meet
SPIKES = {0: (4, 2, 3, 5), 1: (3, 2, 4, 5)}
CHANNELS = 6


def scores() -> list[tuple[list[int], list[int], int, Fraction]]:
    """Query, key, dot product and Hamming similarity of each of the eight pairs."""
    rows = []
    for spikes, counts in SPIKES.items():
        query = (torch.arange(CHANNELS) < spikes).float()
        for count in counts:
            key = (torch.arange(CHANNELS) < count).float()
            similarity = hamming_similarity(query[None], key[None]).item()
            fraction = Fraction(similarity).limit_denominator(CHANNELS)
            rows.append((query.int().tolist(), key.int().tolist(), int(query @ key), fraction))
    return rows


def main() -> None:
    """Print the pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    print(f'{"query":20} {"key":20} dot  Hamming')
    for query, key, dot, similarity in scores():
        print(f'{query!s:20} {key!s:20} {dot:3}  {int(similarity * CHANNELS)}/{CHANNELS}')


if __name__ == '__main__':
    main()
