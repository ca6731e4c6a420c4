#!/usr/bin/env python
"""How often the neurons behind the reads fire at other sizes than the training's: sums against means over the keys.

The small backbone and a memory on four of its stages, random weights, BatchNorm statistics of two clips of the training
size, then frozen. Clips are smooth noise that moves by 8 pixels a step: their statistics do not depend on the size.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmsvf.models.backbones.spike_video_former import OUT_STRIDES, SpikeVideoFormer
from mmsvf.models.necks.memory_read_fuse import MemoryReadFuse
from mmsvf.spiking.attention import AttentionRead

SCALES = (0, 1, 2, 4)


class Network(nn.Module):
    """Backbone and memory, whose reads are sums, or means for a clip of ``reference`` (T, H, W in pixels)."""

    def __init__(self, score: str, reference: tuple[int, int, int] | None) -> None:
        super().__init__()
        sizes = None
        if reference is not None:
            t, h, w = reference
            sizes = [(t, h // OUT_STRIDES[i], w // OUT_STRIDES[i]) for i in SCALES]
        attention = dict(score=score, reference_size=sizes and sizes[-1])
        self.backbone = SpikeVideoFormer('small', out_indices=SCALES, output='tuple', attention=attention)
        self.memory = MemoryReadFuse(self.backbone.out_channels, score=score, reference_size=sizes)

    def forward(self, clip: Tensor) -> tuple[Tensor, ...]:
        return self.memory(self.backbone(clip))

    def rates(self, clip: Tensor) -> tuple[list[float], list[float]]:
        """Firing rates behind the reads of the attention and of the memory."""
        reads = [module for module in self.modules() if isinstance(module, AttentionRead)]
        found: list[float] = []
        handles = [read.register_forward_hook(lambda *a: found.append(float(a[2].mean()))) for read in reads]
        with torch.no_grad():
            self.eval()(clip)
        for handle in handles:
            handle.remove()
        return found[: -len(SCALES)], found[-len(SCALES) :]


def clips(seed: int, batch: int, steps: int, height: int, width: int) -> Tensor:
    """Smooth noise BCTHW in motion."""
    generator = torch.Generator().manual_seed(seed)
    canvas = torch.randn(batch, 3, height // 16 + 1, (width + 8 * steps) // 16 + 1, generator=generator)
    canvas = F.interpolate(canvas, scale_factor=16, mode='bicubic')
    return torch.stack([canvas[:, :, :height, 8 * t : 8 * t + width] for t in range(steps)], 2)


def cases(size: int, steps: int) -> Iterator[tuple[str, tuple[int, int, int]]]:
    yield 'training size', (steps, size, size)
    yield '1.8 x the tokens', (steps, size, size * 9 // 5)
    yield 'half the tokens', (steps, size, size // 2)
    yield '2 x the steps', (2 * steps, size, size)
    yield '4 x the steps', (4 * steps, size, size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, default=480, help='height and width in training, a multiple of 80')
    parser.add_argument('--steps', type=int, default=4, help='time steps in training')
    parser.add_argument('--score', default='hamming', choices=('hamming', 'dot'))
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    reference = (args.steps, args.size, args.size)
    torch.manual_seed(args.seed)
    sums, means = Network(args.score, None), Network(args.score, reference)
    for module in sums.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        sums.train()(clips(args.seed, 2, *reference))
    means.load_state_dict(sums.state_dict())
    print('| clip | T x H x W | attention, sum | mean | memory, sum | mean |\n|---|---|---|---|---|---|')
    for name, size in cases(args.size, args.steps):
        clip = clips(args.seed + 1, 1, *size)
        pairs = zip(*(network.rates(clip) for network in (sums, means)))
        cells = [
            f'{100 * sum(r) / len(r):.2f} ({100 * min(r):.2f} to {100 * max(r):.2f})' for pair in pairs for r in pair
        ]
        print(f'| {name} | {" x ".join(map(str, size))} | {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
    main()
