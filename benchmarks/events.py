#!/usr/bin/env python
"""Time of a network against the share of its neurons that fire: by events, fused and dense, and plainly written.

python benchmarks/events.py [--arch small] [--steps 8] [--size 224] [--rates 0.05 0.1 0.18 0.3 0.4] [--rounds 7]
                            [--layers] [--memory] [--plot FILE.png] [--json FILE]

plain       what the authors' graph is in eager PyTorch: contiguous tensors, a LIF step by step, BatchNorm apart
dense       mmsvf.fuse(model)
events      mmsvf.fuse(model, engine='events')

The thresholds of a randomly initialised network, and the biases before queries, keys and values, are set so that every
neuron layer fires at the rate. Times are medians of rounds in which the variants take turns, after each has measured
its layers; also the least of each, which other work on the machine disturbs less. --layers prints what each layer
measured and took; --memory the peak resident size of a process of its own, after its first clip (Linux). Where the
machine lets its energy be read (RAPL, /sys/class/powercap, root), joules a clip are printed as well.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from model import resident, written_plainly
from timing import machine, seconds
from torch import Tensor, nn

import mmsvf
from mmsvf.engine.allocator import keep_freed_memory
from mmsvf.models import SpikeVideoFormer
from mmsvf.spiking.attention import SpikeProjection
from mmsvf.spiking.from_rest import FromRest

RAPL = Path('/sys/class/powercap/intel-rapl:0/energy_uj')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--arch', default='small')
    parser.add_argument('--steps', type=int, default=8, help='time steps T (default: %(default)s)')
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--rates', type=float, nargs='+', default=[0.05, 0.1, 0.18, 0.3, 0.4])
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--layers', action='store_true', help='print what each layer measured')
    parser.add_argument('--memory', action='store_true', help="print each variant's peak memory at the first rate")
    parser.add_argument('--peak-of', help=argparse.SUPPRESS)
    parser.add_argument('--plot', type=Path, help='draw time against rate')
    parser.add_argument('--json', type=Path, help='write the figures')
    return parser.parse_args()


@torch.no_grad()
def network(arch: str, clip: Tensor, rate: float) -> nn.Module:
    """A randomly initialised network whose neurons all fire at the rate when they see the clip."""
    torch.manual_seed(0)
    model = SpikeVideoFormer(arch)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 2.0)
            module.momentum = 1.0
    model.train()(clip[:, :, :4])

    def search(rate_at: Callable[[float], float]) -> float:
        """Where a rate that falls from -5 to 50 is the one that is wanted."""
        low, high = -5.0, 50.0
        for _ in range(14):
            middle = (low + high) / 2
            low, high = (middle, high) if rate_at(middle) > rate else (low, middle)
        return (low + high) / 2

    def set_threshold(neuron: Any, inputs: tuple[Tensor]) -> None:
        def rate_at(threshold: float) -> float:
            neuron.v_threshold = threshold
            return float(neuron.multi_step_forward(inputs[0]).mean())

        neuron.v_threshold = search(rate_at)

    def shift(projection: SpikeProjection) -> Callable[..., Tensor]:
        def set_bias(neuron: Any, inputs: tuple[Tensor]) -> Tensor:
            less = search(lambda less: float(neuron.multi_step_forward(inputs[0] - less).mean()))
            projection.conv.last_norm.bias -= less  # type: ignore[operator, union-attr]
            return inputs[0] - less

        return set_bias

    # queries, keys and values keep one threshold, with which fuse has one neuron for all three
    projections = {m.lif: m for m in model.modules() if isinstance(m, SpikeProjection)}
    hooks = [
        neuron.register_forward_pre_hook(shift(projections[neuron]) if neuron in projections else set_threshold)
        for neuron in model.modules()
        if isinstance(neuron, FromRest)
    ]
    model.eval()(clip)
    for hook in hooks:
        hook.remove()
    return model


def joules(function: Callable[[], object]) -> float | None:
    """What the processor took during a call; None where it does not say."""
    try:
        before = int(RAPL.read_text())
        function()
        return (int(RAPL.read_text()) - before) / 1e6
    except OSError:
        return None


@torch.no_grad()
def print_peak(args: argparse.Namespace) -> None:
    """MB of this process at its peak, with the model of --peak-of, after its first clip."""
    clip = torch.randn(1, 3, args.steps, args.size, args.size)
    model = network(args.arch, clip, args.rates[0])
    if args.peak_of != 'plain':
        model = mmsvf.fuse(model, engine=args.peak_of)
    with written_plainly('plain') if args.peak_of == 'plain' else nullcontext():
        model(clip)
        Path('/proc/self/clear_refs').write_text('5')  # the peak is that from here on
        for _ in range(3):
            model(clip)
    print(f'{resident("VmHWM"):.0f}')


def peaks(args: argparse.Namespace) -> str:
    """A line with the peak of each variant."""
    options = [f'--{key}={getattr(args, key)}' for key in ('arch', 'steps', 'size')]
    command = [sys.executable, __file__, *options, '--rates', str(args.rates[0]), '--peak-of']
    found = {
        name: subprocess.run([*command, name], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        for name in ('plain', 'dense', 'events')
    }
    return 'peak memory, MB: ' + ', '.join(f'{name} {value}' for name, value in found.items())


@torch.no_grad()
def measure(args: argparse.Namespace, rate: float) -> dict[str, Any]:
    clip = torch.randn(1, 3, args.steps, args.size, args.size)
    model = network(args.arch, clip, rate)
    dense, events = mmsvf.fuse(model), mmsvf.fuse(model, engine='events')

    def plainly() -> None:
        with written_plainly('plain'):
            model(clip)

    variants = dict(plain=plainly, dense=lambda: dense(clip), events=lambda: events(clip))
    for function in variants.values():
        function()
        function()
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(args.rounds):
        for name, function in variants.items():
            times[name].append(seconds(function))
    found: dict[str, Any] = dict(rate=rate)
    for name, values in times.items():
        found[name], found[f'{name}_least'] = sorted(values)[len(values) // 2], min(values)
    found.update({f'{name}_joules': joules(function) for name, function in variants.items()})
    report = events.engine_report()  # type: ignore[operator]
    found['by_events'] = sum(layer.measured.by_events for layer in report)
    if args.layers:
        print(f'\nrate {rate}\n{report}')
    return found


def plot(path: Path, title: str, rows: list[dict[str, Any]]) -> None:
    """Time by events over that of the dense form, against rate."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.6), layout='constrained')
    rates = [100 * row['rate'] for row in rows]
    axes.axhline(1, color='0.6', linewidth=1)
    axes.plot(
        rates, [row['plain_least'] / row['dense_least'] for row in rows], 'o-', color='0.5', label='plainly written'
    )
    axes.plot(rates, [row['events_least'] / row['dense_least'] for row in rows], 'o-', color='tab:red', label='events')
    axes.set(xlabel='neurons that fire, %', ylabel='time, x fused and dense', ylim=(0, None), title=title)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    args = parse_args()
    if args.peak_of:
        print_peak(args)
        return
    keep_freed_memory()
    print(f'{args.arch}, T = {args.steps}, {args.size} x {args.size}, one clip; {machine()}\n')
    rows = [measure(args, rate) for rate in args.rates]
    print(
        '\n| rate | plain s | dense s | events s | events / dense | least | events / plain | least | layers by events |'
    )
    print('|---|---|---|---|---|---|---|---|---|')
    for row in rows:
        ratios = [
            row[f'events{least}'] / row[f'{name}{least}'] for name in ('dense', 'plain') for least in ('', '_least')
        ]
        figures = [row['plain'], row['dense'], row['events'], *ratios]
        print(f'| {row["rate"]} |', ' | '.join(f'{value:.3f}' for value in figures), f'| {row["by_events"]} |')
    if rows[0]['dense_joules'] is not None:
        print('\n| rate | plain J | dense J | events J |\n|---|---|---|---|')
        for row in rows:
            print(
                f'| {row["rate"]} |',
                ' | '.join(f'{row[f"{name}_joules"]:.2f}' for name in ('plain', 'dense', 'events')),
                '|',
            )
    if args.memory:
        print(f'\n{peaks(args)}')
    if args.plot:
        plot(args.plot, f'{args.arch}, T = {args.steps}, {args.size}²', rows)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == '__main__':
    main()
