#!/usr/bin/env python
"""Time and peak memory of the backbone, forward and training, against a plainly written one, in one run.

python benchmarks/model.py [--arch small] [--steps 8] [--size 224] [--batch 1] [--mode forward training] [--compile]

plain       what the authors' graph is in eager PyTorch: contiguous tensors, spikingjelly's own LIF, BatchNorm apart
default     this project's backbone
fused       mmsvf.fuse: BatchNorms folded, projections joined, spikes in place (inference)
merged      the same with RepConv as one dense 3x3 convolution
compiled    torch.compile of the fused one's blocks (--compile), after its warm-up; needs a C++ compiler
with_cp     training that keeps a branch's input and computes the rest again

Times are medians of rounds in which the variants take turns. Memory is the peak resident size of a process of its own,
less what it had before the model was built, or on a GPU the peak that torch allocated.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from unittest import mock

import torch
from spikingjelly.activation_based import neuron as sj

import mmsvf
from mmsvf.engine.allocator import keep_freed_memory, return_freed_memory
from mmsvf.models.backbones import clip_backbone
from mmsvf.models.backbones import spike_video_former as backbone
from mmsvf.spiking import numba_kernels  # noqa: F401  (imported before memory is looked at)
from mmsvf.spiking.fusion import compile_blocks
from mmsvf.spiking.neuron import LIF

VARIANTS = {'forward': ('plain', 'default', 'fused', 'merged'), 'training': ('plain', 'default', 'with_cp')}


def plain_lif(self: LIF, x_seq: torch.Tensor) -> torch.Tensor:
    """spikingjelly's own loop (Triton on GPU), which returns the contiguous layout."""
    self.reset()
    spikes = sj.LIFNode.multi_step_forward(self, x_seq)
    self.reset()
    return spikes


@contextmanager
def written_plainly() -> Iterator[None]:
    with (
        mock.patch.object(clip_backbone, 'channels_last', torch.contiguous_format),
        mock.patch.object(LIF, 'multi_step_forward', plain_lif),
    ):
        yield


def build(args: argparse.Namespace, variant: str, training: bool) -> torch.nn.Module:
    """A variant that spikes: as constructed, most of a network is silent."""
    torch.manual_seed(0)
    model = backbone.SpikeVideoFormer(args.arch, with_cp=variant == 'with_cp').to(args.device)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(module.weight, 2.0)
            module.momentum = 1.0
    if training:
        return model.train()
    with torch.no_grad():
        model.train()(clip(args, min(args.steps, 4)))
    model.eval()
    if variant in ('fused', 'merged', 'compiled'):
        model = mmsvf.fuse(model, merge=variant == 'merged')
    return compile_blocks(model) if variant == 'compiled' else model


def clip(args: argparse.Namespace, steps: int) -> torch.Tensor:
    return torch.randn(args.batch, 3, steps, args.size, args.size, device=args.device)


def runner(args: argparse.Namespace, variant: str, mode: str) -> Callable[[], float]:
    """A function that runs the variant once and returns its seconds."""
    model, x = build(args, variant, mode == 'training'), clip(args, args.steps)

    def once() -> float:
        model.zero_grad(set_to_none=True)
        synchronize(args)
        start = time.perf_counter()
        with torch.autocast(args.device, torch.bfloat16, enabled=args.bf16):
            if mode == 'training':
                model(x).float().square().mean().backward()
            else:
                with torch.no_grad():
                    model(x)
        synchronize(args)
        return time.perf_counter() - start

    def plainly() -> float:
        with written_plainly():
            return once()

    return plainly if variant == 'plain' else once


def synchronize(args: argparse.Namespace) -> None:
    if args.device == 'cuda':
        torch.cuda.synchronize()


def resident(key: str) -> float:
    """VmHWM or VmRSS of this process in MB (Linux)."""
    with open('/proc/self/status') as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(key))


def measure_memory(args: argparse.Namespace) -> None:
    """What a process of its own prints: MB."""
    run = runner(args, args.memory, args.mode[0]) if args.device == 'cuda' else None
    before = resident('VmRSS')
    run = run or runner(args, args.memory, args.mode[0])
    for _ in range(2):
        run()
    print(torch.cuda.max_memory_allocated() / 2**20 if args.device == 'cuda' else resident('VmHWM') - before)


def memory(args: argparse.Namespace, mode: str, variant: str) -> float:
    options = [f'--{key}={getattr(args, key)}' for key in ('arch', 'steps', 'size', 'batch', 'device')]
    command = [sys.executable, __file__, *options, '--mode', mode, '--memory', variant, *['--bf16'] * args.bf16]
    command += ['--return-memory'] * args.return_memory
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def first_call(args: argparse.Namespace) -> None:
    """Seconds of the compiled model's first call, with an empty cache on disk and with a filled one."""
    with tempfile.TemporaryDirectory() as cache:
        for what in ('cold', 'warm'):
            options = [f'--{key}={getattr(args, key)}' for key in ('arch', 'steps', 'size', 'batch', 'device')]
            command = [sys.executable, __file__, *options, '--mode', 'forward', '--first-call']
            env = {**os.environ, 'TORCHINDUCTOR_CACHE_DIR': cache}
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env)
            print(f'compiled, {what} cache: first call after {float(done.stdout):.1f} s')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--arch', default='small')
    parser.add_argument('--steps', type=int, default=8)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--mode', nargs='+', choices=tuple(VARIANTS), default=list(VARIANTS))
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--compile', action='store_true')
    parser.add_argument('--bf16', action='store_true', help='autocast to bfloat16')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--return-memory', action='store_true', help='the allocator of tools/train.py under with_cp')
    parser.add_argument('--memory', help=argparse.SUPPRESS)  # of a process of its own
    parser.add_argument('--first-call', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.return_memory:
        return_freed_memory()
    if args.memory:
        measure_memory(args)
        return
    if args.first_call:
        print(runner(args, 'compiled', 'forward')())
        return
    machine = torch.cuda.get_device_name() if args.device == 'cuda' else f'{torch.get_num_threads()} CPU threads'
    print(
        f'{args.arch}, {args.batch} clip(s) of {args.steps} x {args.size} x {args.size}, '
        f'{"bf16" if args.bf16 else "fp32"}, {machine}, torch {torch.__version__}, spikingjelly '
        f'{version("spikingjelly")}, Python {platform.python_version()}, {platform.machine()}; medians of {args.rounds}'
    )
    for mode in args.mode:
        variants = [*VARIANTS[mode], *['compiled'] * (args.compile and mode == 'forward')]
        peaks = {variant: memory(args, mode, variant) for variant in variants}
        if args.device == 'cpu' and mode == 'forward':
            keep_freed_memory()  # as tools/test.py does
        runs = {variant: runner(args, variant, mode) for variant in variants}
        for run in runs.values():
            run()
        rounds = [{variant: run() for variant, run in runs.items()} for _ in range(args.rounds)]
        times = {variant: statistics.median(r[variant] for r in rounds) for variant in variants}
        print(f'\n| {mode} | seconds | x plain | peak MB | x plain |\n|---|---|---|---|---|')
        for variant in variants:
            ratios = times[variant] / times['plain'], peaks[variant] / peaks['plain']
            print(f'| {variant} | {times[variant]:.3f} | {ratios[0]:.2f} | {peaks[variant]:.0f} | {ratios[1]:.2f} |')
    if args.compile:
        first_call(args)


if __name__ == '__main__':
    main()
