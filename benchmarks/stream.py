#!/usr/bin/env python
"""Time and memory of a frame in a stream, against its number and against windows of frames, in one run.

python benchmarks/stream.py [--arch small] [--size 224] [--at 10 100 1000 10000] [--windows 8 16 32] [--rounds 7]
                            [--streams 1 2 4 8] [--latency 200] [--out work_dirs/stream.png] [--json FILE]

stream      backbone.step of the fused causal model, window=None: one frame and the state of all before it
window w    the fused joint model on the last w frames, for every frame: what a model without a state has to do
plain       the authors' graph in eager PyTorch (benchmarks/model.py) on a frame alone, which remembers nothing

A stream is run through all frames; at the numbers of --at its state is kept, and afterwards all rows take turns, so
that a busy machine is busy for all of them. Memory is the state's, and what the process has grown by since the first
frame of --at. Then the latency of single frames, and frames a second of several streams as a batch.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib
import torch
from model import written_plainly
from timing import DEVICE, GPU, machine, medians, record, seconds
from torch import nn

import mmsvf
from mmsvf.engine.allocator import keep_freed_memory
from mmsvf.models.backbones.spike_video_former import SpikeVideoFormer
from mmsvf.spiking.state import State

matplotlib.use('Agg')


def build(arch: str, **attention: object) -> SpikeVideoFormer:
    """A model that spikes: as constructed, most of a network is silent."""
    torch.manual_seed(0)
    model = SpikeVideoFormer(arch, attention=attention).to(DEVICE)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, 0.0, 1.0)
    return model.eval()


def resident() -> float:
    """MB of this process, or of tensors on the GPU."""
    gc.collect()
    if GPU:
        return torch.cuda.memory_allocated() / 2**20
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--arch', default='small')
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--at', type=int, nargs='+', default=[10, 100, 1000, 10000], help='numbers of frames')
    parser.add_argument('--windows', type=int, nargs='*', default=[8, 16, 32])
    parser.add_argument('--streams', type=int, nargs='*', default=[1, 2, 4, 8])
    parser.add_argument('--latency', type=int, default=200, help='frames whose latency is looked at')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/stream.png'))
    parser.add_argument('--json', type=Path, help='write the figures')
    args = parser.parse_args()
    keep_freed_memory()  # as tools/test.py does
    side = max(1, args.size // 16)
    causal = build(args.arch, space_time='causal', reference_size=(8, side, side))
    stream, joint = mmsvf.fuse(causal), build(args.arch)
    whole = mmsvf.fuse(joint)
    frames = torch.randn(64, 1, 3, args.size, args.size, device=DEVICE)
    print(f'{args.arch}, {args.size} x {args.size}, fp32, {machine()}; medians of {args.rounds}', flush=True)

    state: State | None = None
    states: dict[int, State] = {}
    memory: dict[int, float] = {}
    for number in range(1, max(args.at) + 1):
        _, state = stream.step(frames[number % 64], state)
        if number in args.at:
            states[number], memory[number] = state.clone(), resident()

    rows: dict[str, Callable[[], object]] = {}
    for number, kept in states.items():
        rows[f'stream, frame {number}'] = partial(stream.step, frames[0], kept)
    for window in args.windows:
        clip = frames[torch.arange(window) % 64].permute(1, 2, 0, 3, 4).contiguous()
        rows[f'window of {window}'] = partial(whole, clip)

    def plain() -> object:
        with written_plainly('plain'):
            return joint(frames[0].unsqueeze(2))

    rows['plain, a frame alone'] = plain
    for row in rows.values():
        row()
    times = medians(rows, args.rounds)
    first = min(states)
    print('\n| a frame | ms | x frame of the stream | state, MB | process grew by, MB |\n|---|---|---|---|---|')
    for name, time in times.items():
        held = next((n for n in states if name == f'stream, frame {n}'), None)
        # a copy of each state is kept for the timing
        copies = sum(states[n].nbytes for n in states if held and n <= held) / 2**20 - states[first].nbytes / 2**20
        cells = '- | -'
        if held:
            cells = f'{states[held].nbytes / 2**20:.2f} | {memory[held] - memory[first] - copies:.1f}'
        print(f'| {name} | {1e3 * time:.1f} | {time / times[f"stream, frame {first}"]:.2f} | {cells} |')
    last = max(states)
    ratio = times[f'stream, frame {last}'] / times[f'stream, frame {first}']
    record(args.json, **{f'time at frame {last} / {first}': ratio})

    if args.latency:
        _, state = stream.step(frames[0])
        found = []
        for number in range(args.latency):

            def step(x: torch.Tensor = frames[number % 64]) -> None:
                nonlocal state
                _, state = stream.step(x, state)

            found.append(seconds(step))
        cuts = statistics.quantiles(found, n=100)
        rate = len(found) / sum(found)
        print(
            f'\nlatency of {args.latency} frames, ms: '
            + ', '.join(f'p{p} {1e3 * cuts[p - 1]:.1f}' for p in (50, 90, 99))
        )
        print(f'{rate:.1f} frames a second; plain, a frame alone: {1 / times["plain, a frame alone"]:.1f}')
        record(args.json, **{'frames a second': rate})

    if args.streams:
        batches: dict[str, Callable[[], object]] = {}
        for n in args.streams:
            x = frames[:n, 0]
            batches[str(n)] = partial(stream.step, x, stream.step(x)[1])
        found_ = medians(batches, args.rounds)
        print(f'\n| streams | {" | ".join(batches)} |\n|---|{"---|" * len(batches)}')
        print('| frames a second, all together | ' + ' | '.join(f'{int(n) / t:.1f}' for n, t in found_.items()) + ' |')

    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4), layout='constrained')
    axis.plot(list(states), [1e3 * times[f'stream, frame {n}'] for n in states], marker='o', label='stream')
    for window in args.windows:
        known = [n for n in states if n >= window]  # before that a window is shorter
        axis.plot(known, [1e3 * times[f'window of {window}']] * len(known), marker='s', label=f'window of {window}')
    axis.set(xscale='log', yscale='log', xlabel='number of the frame', ylabel='ms a frame')
    axis.legend()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out)
    print(f'\npicture: {args.out}')


if __name__ == '__main__':
    main()
