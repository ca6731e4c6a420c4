#!/usr/bin/env python
"""Neurons over a clip: time of a forward and of a backward pass against copying the clip, in one run.

python benchmarks/lif.py [--steps 8] [--shapes 32x112x112 ...] [--neurons official paper LearnableLIF IntegerLIF]

Baselines: the explicit steps in eager PyTorch, and (for LIF) spikingjelly's own node. Variants take turns; medians.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version

import torch
from spikingjelly.activation_based import neuron as sj
from spikingjelly.activation_based import surrogate
from torch import Tensor

from mmsvf.engine.allocator import keep_freed_memory
from mmsvf.spiking.neuron import FromRest, build_neuron


def spikingjelly(x: Tensor) -> Tensor:
    """A LIF of spikingjelly with the authors' arguments."""
    node = sj.LIFNode(detach_reset=True, step_mode='m')
    return node(x)


def timed(function: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def compare(name: str, x: Tensor, rounds: int) -> list[str]:
    """First use in seconds, a copy in milliseconds, and everything else in copies."""
    spec = dict(type='LIF', surrogate_function=dict(type=name)) if hasattr(surrogate, name) else name
    neuron, grad, leaf = build_neuron(spec), torch.randn_like(x), x.clone().requires_grad_()
    variants: dict[str, Callable[[Tensor], Tensor]] = {
        'one pass': neuron,
        'steps': partial(FromRest.multi_step_forward, neuron),
    }
    if name == 'official':
        variants['spikingjelly'] = spikingjelly
    first = timed(lambda: neuron(leaf).backward(grad))
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        times.setdefault('copy', []).append(timed(x.clone))
        for variant, forward in variants.items():
            with torch.no_grad():
                times.setdefault(variant, []).append(timed(forward, x))
            spikes = forward(leaf)
            times.setdefault(f'{variant}, backward', []).append(timed(spikes.backward, grad))
            leaf.grad = None
    median = {key: statistics.median(values) for key, values in times.items()}
    cells = [f'{first:.2f}', f'{median["copy"] * 1e3:.2f}']
    for variant in ('one pass', 'steps', 'spikingjelly'):
        for key in (variant, f'{variant}, backward'):
            cells.append(f'{median[key] / median["copy"]:.2f}' if key in median else '-')
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--steps', type=int, default=8)
    parser.add_argument('--shapes', nargs='+', default=['128x112x112', '512x28x28', '1440x14x14'], help='C x H x W')
    names = ['official', 'paper', 'LearnableLIF', 'IntegerLIF', 'ATan', 'Rect']
    parser.add_argument('--neurons', nargs='+', default=names, help='presets, types, or surrogates of a LIF')
    parser.add_argument('--rounds', type=int, default=11)
    args = parser.parse_args()
    keep_freed_memory()
    print(
        f'{args.steps} steps, fp32, {torch.get_num_threads()} threads, torch {torch.__version__}, numba '
        f'{version("numba")}, spikingjelly {version("spikingjelly")}, Python {platform.python_version()}, '
        f'{platform.machine()}; medians of {args.rounds}\n\n'
        '| shape | neuron | first use s | copy ms | forward / copy | backward / copy | steps: forward | backward '
        '| spikingjelly: forward | backward |\n|---|---|---|---|---|---|---|---|---|---|'
    )
    for shape in args.shapes:
        x = torch.randn(args.steps, 1, *map(int, shape.split('x'))) * 2
        for name in args.neurons:
            print(f'| {shape} | {name} | {" | ".join(compare(name, x, args.rounds))} |', flush=True)


if __name__ == '__main__':
    main()
