#!/usr/bin/env python
"""Time and memory of a frame in a stream, against its number and against windows of frames, in one run.

python benchmarks/stream.py [--arch small] [--size 224] [--at 10 100 1000 10000] [--windows 8 16 32] [--rounds 21]
                            [--streams 1 2 4 8] [--cpu-time] [--plot FILE.png] [--json FILE]

stream      backbone.step of the fused causal model, window=None: one frame and the state of all before it
window w    the fused joint model on the last w frames, for every frame: what a model without a state has to do
plain       the authors' graph in eager PyTorch (benchmarks/model.py) on a frame alone, which remembers nothing

A stream is run through all frames; at the numbers of --at its state is kept, and afterwards all rows take turns, so
that a busy machine is busy for all of them. Memory is that of all tensors of a call at their peak, weights apart, and
what the process has grown by from the first frame of --at to the last. Then frames a second of several streams as a
batch.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib
import timing
import torch
from model import written_plainly
from timing import DEVICE, GPU, machine, medians, record, turns
from torch import nn

import mmsvf
from mmsvf.analysis.memory_limit import LiveMemory
from mmsvf.engine.allocator import keep_freed_memory
from mmsvf.models.backbones.spike_video_former import SpikeVideoFormer
from mmsvf.spiking.state import State

matplotlib.use('Agg')
TINY = dict(embed_dims=(8, 16, 24, 32, 40), depths=(1, 1, 1, 1, 1))


def build(arch: str, **attention: object) -> SpikeVideoFormer:
    """A model that spikes: as constructed, most of a network is silent."""
    torch.manual_seed(0)
    model = SpikeVideoFormer(TINY if arch == 'tiny' else arch, attention=attention).to(DEVICE)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, 0.0, 1.0)
    return model.eval()


def laid_out(model: SpikeVideoFormer) -> SpikeVideoFormer:
    """The fused form, with its weights as :class:`mmsvf.Stream` lays them out."""
    fused = mmsvf.fuse(model)
    return fused if GPU else fused.to(memory_format=torch.channels_last)


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
    parser.add_argument('--arch', default='small', help="or another of SpikeVideoFormer's, or 'tiny'")
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--at', type=int, nargs='+', default=[10, 100, 1000, 10000], help='numbers of frames')
    parser.add_argument('--windows', type=int, nargs='*', default=[8, 16, 32])
    parser.add_argument('--streams', type=int, nargs='*', default=[1, 2, 4, 8])
    parser.add_argument('--cpu-time', action='store_true', help='of the process, on a machine that is shared')
    parser.add_argument('--rounds', type=int, default=21)
    parser.add_argument('--plot', type=Path, help='draw time and memory of a frame')
    parser.add_argument('--json', type=Path, help='write the figures')
    args = parser.parse_args()
    if args.cpu_time:
        timing.clock = time.process_time
    keep_freed_memory()  # as tools/test.py does
    side = max(1, args.size // 16)
    causal = build(args.arch, space_time='causal', reference_size=(8, side, side))
    stream, joint = laid_out(causal), build(args.arch)
    whole = laid_out(joint)
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
    peaks = {name: peak(row, *row.args) for name, row in rows.items() if isinstance(row, partial)}
    times = {name: percentiles(found) for name, found in turns(rows, args.rounds).items()}
    first, last = (f'stream, frame {number}' for number in (min(states), max(states)))
    print(f'\n| a frame | p50, ms | p90 | p99 | x {first.split(", ")[1]} | tensors at their peak, MB |')
    print('|---|---|---|---|---|---|')
    for name, (half, most, worst) in times.items():
        memory_ = f'{peaks[name]:.1f}' if name in peaks else '-'
        print(f'| {name} | {half:.1f} | {most:.1f} | {worst:.1f} | {half / times[first][0]:.2f} | {memory_} |')
    held = sum(state.nbytes for state in states.values()) / 2**20 - states[min(states)].nbytes / 2**20
    grown = memory[max(states)] - memory[min(states)] - held  # a copy of each state is kept for the timing
    print(
        f'\nstate {states[max(states)].nbytes / 2**20:.2f} MB; the process grew by {grown:.1f} MB between these frames'
    )
    print(f'{1e3 / times[last][0]:.1f} frames a second')
    record(args.json, **{f'time at frame {max(states)} / {min(states)}': times[last][0] / times[first][0]})

    if args.streams:
        batches: dict[str, Callable[[], object]] = {}
        for n in args.streams:
            x = frames[:n, 0]
            batches[str(n)] = partial(stream.step, x, stream.step(x)[1])
        found_ = medians(batches, args.rounds)
        print(f'\n| streams | {" | ".join(batches)} |\n|---|{"---|" * len(batches)}')
        print('| frames a second, all together | ' + ' | '.join(f'{int(n) / t:.1f}' for n, t in found_.items()) + ' |')

    if args.plot:
        draw(args, states, {name: found[0] for name, found in times.items()}, peaks)


def peak(row: Callable[[], object], *given: object) -> float:
    """MB of the tensors that a call is given and makes, while they live."""
    memory = LiveMemory()
    for part in given:
        tensors = [part] if isinstance(part, torch.Tensor) else [t for p in part.parts.values() for t in p.values()]  # type: ignore[attr-defined]
        for tensor in tensors:
            memory.add(tensor)
    with memory:
        row()
    return memory.peak / 2**20


def percentiles(times: list[float]) -> tuple[float, float, float]:
    """Median, 90 % and 99 % of times, in ms."""
    cuts = statistics.quantiles([1e3 * seconds for seconds in times], n=100, method='inclusive')
    return cuts[49], cuts[89], cuts[98]


def draw(args: argparse.Namespace, states: dict[int, State], times: dict[str, float], peaks: dict[str, float]) -> None:
    """The stream against windows: time and memory of a frame against its number."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout='constrained')
    for axis, values, name in zip(axes, (times, peaks), ('time of a frame, ms', 'memory of a frame, MB')):
        axis.plot(list(states), [values[f'stream, frame {n}'] for n in states], marker='o', lw=2.5, label='stream')
        for window in args.windows:
            known = [window, max(states)]  # before that a window is shorter
            axis.plot(known, [values[f'window of {window}']] * 2, ls='--', label=f'window of {window} frames')
        axis.set(xscale='log', yscale='log', xlabel='number of the frame', ylabel=name)
        axis.grid(which='both', alpha=0.25)
    figure.legend(*axes[0].get_legend_handles_labels(), loc='outside lower center', ncols=1 + len(args.windows))
    figure.suptitle(f'{args.arch}, {args.size} x {args.size}, fp32, {machine().split(",")[0]}', fontsize=10)
    args.plot.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.plot, dpi=110)
    print(f'\npicture: {args.plot}')


if __name__ == '__main__':
    main()
