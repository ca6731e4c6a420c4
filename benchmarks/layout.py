#!/usr/bin/env python
"""What the channels-last layout and the one-node LIF are worth on CPU, against the plain form, in one run.

python benchmarks/layout.py [--arch small] [--steps 8] [--size 224]

Four variants take turns, so that a busy machine slows all alike; the figure is the fastest of some rounds.
"""

from __future__ import annotations

import argparse
import time
from importlib.metadata import version
from unittest import mock

import torch

from mmsvf.models.backbones import spike_video_former as backbone
from mmsvf.spiking.neuron import LIF, sj


def plain_lif(self: LIF, x_seq: torch.Tensor) -> torch.Tensor:
    """spikingjelly's own loop, which returns the contiguous layout."""
    return self._kernel(lambda x: sj.LIFNode.multi_step_forward(self, x), x_seq)


def timed(model: torch.nn.Module, x: torch.Tensor, training: bool) -> float:
    start = time.perf_counter()
    with torch.set_grad_enabled(training):
        y = model.train(training)(x)
    if training:
        y.mean().backward()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--arch', default='small')
    parser.add_argument('--steps', type=int, default=8)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--rounds', type=int, default=5)
    args = parser.parse_args()
    model = backbone.SpikeVideoFormer(args.arch)
    x = torch.randn(1, 3, args.steps, args.size, args.size)
    best: dict[tuple[str, bool], float] = {}
    for _ in range(args.rounds):
        for layout in ('contiguous', 'channels last'):
            for lif in ('spikingjelly', 'one node'):
                form = torch.channels_last if layout == 'channels last' else torch.contiguous_format
                with (
                    mock.patch.object(backbone, 'channels_last', form),
                    mock.patch.object(
                        LIF, 'multi_step_forward', plain_lif if lif == 'spikingjelly' else LIF.multi_step_forward
                    ),
                ):
                    for training in (False, True):
                        key = f'{layout:13} LIF {lif}', training
                        best[key] = min(best.get(key, 1e9), timed(model, x, training))
    print(
        f'{args.arch}, 1 clip of {args.steps} x {args.size} x {args.size}, fp32, {torch.get_num_threads()} threads, '
        f'torch {torch.__version__}, spikingjelly {version("spikingjelly")}'
    )
    base = f'{"contiguous":13} LIF spikingjelly'
    for name in dict.fromkeys(name for name, _ in best):
        forward, step = best[name, False], best[name, True]
        print(
            f'{name:32} forward {forward:6.3f} s (x{best[base, False] / forward:.2f})   '
            f'training step {step:6.3f} s (x{best[base, True] / step:.2f})'
        )


if __name__ == '__main__':
    main()
