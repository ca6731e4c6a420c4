#!/usr/bin/env python
"""Time and memory of attention against clip length and frame size: ours against softmax joint space-time attention.

python benchmarks/linear.py [--channels 256] [--side 14] [--steps 4 8 16 32 64] [--sides 7 14 21 28] [--out linear.png]

One attention layer on a clip of T x side x side tokens, forward and backward. The softmax layer has the same width:
1x1 projections of q, k, v and output around torch's scaled_dot_product_attention over all T * N tokens of the clip,
once as torch does it and once with the matrix of scores written out, as in the papers' formula.
Memory is what autograd keeps for the backward pass. Exponents are slopes in log-log over the last three points.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import torch
from timing import DEVICE, machine, medians, record
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import scaled_dot_product_attention

from mmsvf.spiking import SpikeAttention

matplotlib.use('Agg')


LARGEST_SCORES = 2e9  # bytes of one matrix; larger ones are left out


class SoftmaxAttention(nn.Module):
    """Joint space-time attention with softmax over a clip TBCHW."""

    def __init__(self, channels: int, num_heads: int, written_out: bool) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.num_heads, self.written_out = num_heads, written_out

    def forward(self, x: Tensor) -> Tensor:
        t, b, c, h, w = x.shape
        tokens = x.permute(1, 0, 3, 4, 2).reshape(b, t * h * w, c)
        q, k, v = self.qkv(tokens).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        if self.written_out:
            y = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1) @ v
        else:
            y = scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).flatten(2)).reshape(b, t, h, w, c).permute(1, 0, 4, 2, 3)


LAYERS: dict[str, Callable[[int], nn.Module]] = {
    'SDHA, joint': lambda c: SpikeAttention(c),
    'SDHA, hierarchical': lambda c: SpikeAttention(c, space_time='hierarchical'),
    'softmax, joint': lambda c: SoftmaxAttention(c, 8, written_out=False),
    'softmax, joint, scores written out': lambda c: SoftmaxAttention(c, 8, written_out=True),
}


def measure(layer: nn.Module, channels: int, steps: int, side: int, rounds: int) -> tuple[float, float]:
    """Seconds of a forward and backward pass, and MB kept between the two."""
    x = torch.randn(steps, 1, channels, side, side, device=DEVICE, requires_grad=True)
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    own = {p.untyped_storage().data_ptr() for p in layer.parameters()}
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(x).sum().backward()
    time = medians({'step': lambda: layer(x).sum().backward()}, rounds)['step']
    return time, sum(size for at, size in kept.items() if at not in own) / 2**20


def slope(x: list[float], y: list[float]) -> float:
    """Exponent of y = a x^k over the last three points."""
    x = x[: len(y)]
    return float(np.polyfit(np.log(x[-3:]), np.log(y[-3:]), 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--channels', type=int, default=256)
    parser.add_argument('--side', type=int, default=14, help='of the clips of --steps')
    parser.add_argument('--steps', type=int, nargs='+', default=[4, 8, 16, 32, 64])
    parser.add_argument('--sides', type=int, nargs='+', default=[7, 14, 21, 28], help='of clips of 8 steps')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/linear.png'))
    parser.add_argument('--json', type=Path, help='write the exponents')
    args = parser.parse_args()
    print(f'{args.channels} channels, 8 heads, forward and backward, fp32, {machine()}; medians of {args.rounds}')
    studies = {
        'clip length T': (args.steps, [(t, args.side) for t in args.steps]),
        'tokens of a frame N': ([s * s for s in args.sides], [(8, s) for s in args.sides]),
    }
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, len(studies), figsize=(10, 7), layout='constrained')
    for column, (title, (values, sizes)) in enumerate(studies.items()):
        print(f'\n| {title} | {" | ".join(map(str, values))} | exponent |\n|---|{"---|" * (len(values) + 1)}')
        for name, build in LAYERS.items():
            torch.manual_seed(0)
            layer = build(args.channels).to(DEVICE)
            if 'written out' in name:  # several matrices of tokens x tokens
                sizes = [(t, side) for t, side in sizes if 8 * (t * side * side) ** 2 * 4 < LARGEST_SCORES]
            found = [measure(layer, args.channels, *size, args.rounds) for size in sizes]
            for row, (what, numbers) in enumerate(zip(('s', 'MB'), zip(*found))):
                cells = [f'{number:.3g}' for number in numbers] + ['-'] * (len(values) - len(sizes))
                exponent = slope(values, list(numbers))
                print(f'| {name}, {what} | {" | ".join(cells)} | {exponent:.2f} |', flush=True)
                record(args.json, **{f'exponent of {name}, {what}, against {title}': exponent})
                axes[row, column].loglog(values[: len(sizes)], numbers, marker='o', label=name)
                axes[row, column].set(xlabel=title, ylabel=('seconds', 'MB kept for backward')[row])
        for axis in axes[:, column]:
            axis.set_xticks(values, map(str, values))
            axis.minorticks_off()
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc='outside upper center', ncols=len(LAYERS))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=150)
    print(f'\npicture: {args.out}')


if __name__ == '__main__':
    main()
