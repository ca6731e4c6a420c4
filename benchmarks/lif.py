#!/usr/bin/env python
"""Neurons over a clip: time of a forward and of a backward pass against copying the clip, in one run.

python benchmarks/lif.py [--steps 8] [--batch 1] [--shapes 32x112x112 ...] [--neurons official paper ...] [--dtype fp32]

Baselines: the explicit steps in eager PyTorch, and spikingjelly's own nodes (on a GPU its Triton kernels), where it has
the neuron. Variants take turns; medians. A forward pass reads and writes a clip, as a copy does; a backward pass reads
two and writes one. On a GPU clips are to be large (--batch), or what is measured is the time to launch a kernel.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from spikingjelly.activation_based import neuron as sj
from spikingjelly.activation_based import surrogate
from timing import DEVICE, GPU, kernel_medians, machine, record, seconds
from torch import Tensor, nn

from mmsvf.engine.allocator import keep_freed_memory
from mmsvf.spiking import clip_ops
from mmsvf.spiking.neuron import build_neuron

DTYPES = dict(fp32=torch.float32, bf16=torch.bfloat16, fp16=torch.float16)
# spikingjelly's nodes with the same arguments
NODES: dict[str, Callable[[], nn.Module]] = {
    'official': lambda: sj.LIFNode(detach_reset=True, step_mode='m'),
    'LearnableLIF': lambda: sj.ParametricLIFNode(detach_reset=True, step_mode='m'),
    'IntegerLIF': lambda: sj.ILIFNode(detach_reset=True, step_mode='m'),
    'ATan': lambda: sj.LIFNode(surrogate_function=surrogate.ATan(), detach_reset=True, step_mode='m'),
}
VARIANTS = 'one pass', 'steps', 'spikingjelly'


def backward(forward: Callable[[Tensor], Tensor], inputs: list[Tensor], grad: Tensor) -> Callable[[], object]:
    """A function that computes the gradients of the clip and of what is learnt."""
    spikes = forward(inputs[0])
    return lambda: torch.autograd.grad(spikes, inputs, grad, retain_graph=True)


def compare(name: str, x: Tensor, rounds: int) -> dict[str, float]:
    """Seconds of the first use, of a copy, and of each variant's passes."""
    spec = dict(type='LIF', surrogate_function=dict(type=name)) if hasattr(surrogate, name) else name
    neuron: Any = build_neuron(spec).to(x.device)
    grad, leaf = torch.randn_like(x), x.clone().requires_grad_()
    variants: dict[str, tuple[Callable[[Tensor], Tensor], nn.Module]] = {
        'one pass': (neuron, neuron),
        'steps': (neuron.explicit_steps, neuron),
    }
    if name in NODES:
        node: Any = NODES[name]().to(x.device)

        def from_rest(clip: Tensor) -> Tensor:
            node.reset()
            return node(clip)

        variants['spikingjelly'] = from_rest, node
    first = seconds(lambda: neuron(leaf).backward(grad))
    times = kernel_medians({'copy': x.clone}, rounds)
    for variant, (forward, module) in variants.items():
        with torch.no_grad():
            times.update(kernel_medians({variant: partial(forward, x)}, rounds))
        inputs = [leaf, *module.parameters()]
        times.update(kernel_medians({f'{variant}, backward': backward(forward, inputs, grad)}, rounds))
    return {'first': first, **times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--steps', type=int, default=8)
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--shapes', nargs='+', default=['128x112x112', '512x28x28', '1440x14x14'], help='C x H x W')
    names = ['official', 'paper', 'LearnableLIF', 'IntegerLIF', 'ATan', 'Rect']
    parser.add_argument('--neurons', nargs='+', default=names, help='presets, types, or surrogates of a LIF')
    parser.add_argument('--dtype', nargs='+', choices=DTYPES, default=['fp32'])
    parser.add_argument('--rounds', type=int, default=11)
    parser.add_argument('--json', type=Path, help='write the figures that must hold')
    args = parser.parse_args()
    keep_freed_memory()
    kernels = f'triton {version("triton")}' if GPU else f'numba {version("numba")}'
    if os.environ.get('TRITON_INTERPRET') == '1':  # the GPU's kernels on a CPU, to see that they run
        from mmsvf.spiking import triton_kernels

        clip_ops.kernels = lambda x: triton_kernels
    print(
        f'{args.steps} steps, batch {args.batch}, {machine()}, {kernels}; medians of {args.rounds}; x copy: times of a '
        'copy; bandwidth: share of what a copy reaches\n\n'
        '| shape | neuron | type | first use s | copy ms | forward x copy | bandwidth | backward x copy | bandwidth '
        '| steps: forward | backward | spikingjelly: forward | backward |\n|' + '---|' * 13
    )
    shares: list[float] = []
    against: list[float] = []
    for shape in args.shapes:
        for dtype in args.dtype:
            x = (torch.randn(args.steps, args.batch, *map(int, shape.split('x')), device=DEVICE) * 2).to(DTYPES[dtype])
            for name in args.neurons:
                found = compare(name, x, args.rounds)
                copies = {key: value / found['copy'] for key, value in found.items()}
                own = copies['one pass'], copies['one pass, backward']
                shares += [1 / own[0], 1.5 / own[1]]
                if 'spikingjelly' in copies:
                    against.append((copies['spikingjelly'] + copies['spikingjelly, backward']) / sum(own))
                cells = [f'{found["first"]:.2f}', f'{found["copy"] * 1e3:.3f}']
                cells += [f'{own[0]:.2f}', f'{1 / own[0]:.0%}', f'{own[1]:.2f}', f'{1.5 / own[1]:.0%}']
                keys = [key for variant in VARIANTS[1:] for key in (variant, f'{variant}, backward')]
                cells += [f'{copies[key]:.2f}' if key in copies else '-' for key in keys]
                print(f'| {shape} | {name} | {dtype} | {" | ".join(cells)} |', flush=True)
                record(args.json, neuron_bandwidth=min(shares), neuron_against_spikingjelly=min(against, default=0))


if __name__ == '__main__':
    main()
