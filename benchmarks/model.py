#!/usr/bin/env python
"""Time and peak memory of the backbone, forward and training, against a plainly written one, in one run.

python benchmarks/model.py [--arch small ...] [--steps 8 ...] [--dtype fp32 ...] [--size 224] [--batch 1]
                           [--mode forward training] [--compile] [--largest-batch]

plain       what the authors' graph is in eager PyTorch: contiguous tensors, a LIF step by step, BatchNorm apart
default     this project's backbone
fused       mmsvf.fuse: BatchNorms folded, projections joined, spikes in place (inference)
events      the same by events (engine='events'): time by firing rate is benchmarks/events.py's
merged      the fused one with RepConv as one dense 3x3 convolution
compiled    torch.compile of the fused one's blocks (--compile), after its warm-up; needs a C++ compiler
with_cp     training that keeps a branch's input and computes the rest again
spikingjelly, channels last, CUDA graph (on a GPU)    the plain one with spikingjelly's Triton kernels; the default with
            images in the other layout; the fused one launched at once

Times are medians of rounds in which the variants take turns. Memory is the peak resident size of a process of its own,
less what it had before the model was built, or on a GPU the peak that torch allocated. --largest-batch has the largest
batch of a training step that fits into the GPU's memory and, by the memory of one and two clips, into 80 GB.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from unittest import mock

import torch
from spikingjelly.activation_based import neuron as sj
from timing import DEVICE, GPU, gpu_peak, machine, medians, record, seconds

import mmsvf
from mmsvf.engine.allocator import keep_freed_memory, return_freed_memory
from mmsvf.models.backbones import clip_backbone
from mmsvf.models.backbones import spike_video_former as backbone
from mmsvf.spiking.fusion import compile_blocks
from mmsvf.spiking.neuron import LIF, FromRest

VARIANTS = {'forward': ['plain', 'default', 'fused', 'merged'], 'training': ['plain', 'default', 'with_cp']}
if not GPU:
    from mmsvf.spiking import event_kernels  # noqa: F401  (imported before memory is looked at)

    VARIANTS['forward'] += ['events']
else:
    VARIANTS['forward'] += ['spikingjelly', 'channels last', 'CUDA graph']
    VARIANTS['training'] += ['spikingjelly', 'channels last']


def spikingjelly(self: LIF, x_seq: torch.Tensor) -> torch.Tensor:
    """spikingjelly's own: a loop on CPU, its Triton kernels on GPU; it returns the contiguous layout."""
    self.reset()
    spikes = sj.LIFNode.multi_step_forward(self, x_seq)
    self.reset()
    return spikes


PLAIN = {'plain': FromRest.explicit_steps if GPU else spikingjelly, 'spikingjelly': spikingjelly}


@contextmanager
def written_plainly(variant: str) -> Iterator[None]:
    with (
        mock.patch.object(clip_backbone, 'channels_last', torch.contiguous_format),
        mock.patch.object(LIF, 'multi_step_forward', PLAIN[variant]),
    ):
        yield


def build(args: argparse.Namespace, variant: str, training: bool) -> torch.nn.Module:
    """A variant that spikes: as constructed, most of a network is silent."""
    torch.manual_seed(0)
    model = backbone.SpikeVideoFormer(arch(args), with_cp=variant == 'with_cp').to(DEVICE)
    if variant == 'channels last':
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(module.weight, 2.0)
            module.momentum = 1.0
    if training:
        return compile_blocks(model.train()) if variant == 'compiled' else model.train()
    with torch.no_grad():
        model.train()(clip(args, 1, min(args.steps, 4)))
    model.eval()
    if variant in ('fused', 'events', 'merged', 'compiled', 'CUDA graph'):
        engine = 'events' if variant == 'events' else 'dense'
        model = mmsvf.fuse(model, merge=variant == 'merged', engine=engine)
    return compile_blocks(model) if variant == 'compiled' else model


def arch(args: argparse.Namespace) -> str | dict:
    """An arch by name, or one of five widths as 8,8,16,16,24 with a block a stage."""
    if ',' not in args.arch:
        return args.arch
    return dict(embed_dims=tuple(map(int, args.arch.split(','))), depths=(1,) * 5)


def clip(args: argparse.Namespace, batch: int, steps: int) -> torch.Tensor:
    return torch.randn(batch, 3, steps, args.size, args.size, device=DEVICE)


def runner(args: argparse.Namespace, variant: str, mode: str, batch: int | None = None) -> Callable[[], None]:
    """A function that runs the variant once."""
    model, x = build(args, variant, mode == 'training'), clip(args, batch or args.batch, args.steps)

    def once() -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast(DEVICE, torch.bfloat16, enabled=args.dtype == 'bf16'):
            if mode == 'training':
                model(x).float().square().mean().backward()
            else:
                with torch.no_grad():
                    model(x)

    def plainly() -> None:
        with written_plainly(variant):
            once()

    if variant == 'CUDA graph':
        for _ in range(3):  # kernels are compiled and chosen before
            once()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            once()
        # kept: a replay reads the model and the clip where they were
        return lambda kept=once: graph.replay()
    return plainly if variant in PLAIN else once


# how PyTorch and Triton, cuDNN and cuBLAS say so
NO_MEMORY = 'out of memory', 'unable to find an engine', 'ALLOC_FAILED'


def fits(args: argparse.Namespace, variant: str, mode: str, batch: int) -> float:
    """MB that a batch takes, or infinity where the GPU has less."""
    try:
        if variant == 'CUDA graph':  # a replay allocates nothing: its memory is taken when it is captured
            return gpu_peak(lambda: runner(args, variant, mode, batch))
        return gpu_peak(runner(args, variant, mode, batch))
    except RuntimeError as error:
        if not any(text in str(error) for text in NO_MEMORY):
            raise
    finally:
        gc.collect()  # of what refers to itself, too
        torch.cuda.empty_cache()
    return float('inf')


def largest_batch(args: argparse.Namespace, variant: str, mode: str) -> tuple[int, int, float]:
    """Clips that fit into this GPU, tried, and into 80 GB, by what one and two take; MB of a clip."""
    one, two = (fits(args, variant, mode, batch) for batch in (1, 2))
    a_clip = max(two - one, 1.0)
    total = (torch.cuda.mem_get_info()[0] + torch.cuda.memory_allocated()) / 2**20
    batch = max(1, int((total - one) / a_clip) + 1)
    while batch > 1 and fits(args, variant, mode, batch) == float('inf'):
        batch = int(batch * 0.94)
    return batch, int((80e9 / 2**20 - one) / a_clip) + 1, a_clip


def resident(key: str) -> float:
    """VmHWM or VmRSS of this process in MB (Linux)."""
    with open('/proc/self/status') as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(key))


def measure_memory(args: argparse.Namespace) -> None:
    """What a process of its own prints: MB."""
    before = resident('VmRSS')
    run = runner(args, args.memory, args.mode[0])
    for _ in range(2):
        run()
    print(resident('VmHWM') - before)


def memory(args: argparse.Namespace, mode: str, variant: str) -> float:
    if GPU:
        return fits(args, variant, mode, args.batch)
    options = [f'--{key}={getattr(args, key)}' for key in ('arch', 'steps', 'size', 'batch')]
    command = [sys.executable, __file__, *options, '--dtype', args.dtype, '--mode', mode, '--memory', variant]
    command += ['--return-memory'] * args.return_memory
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def first_call(args: argparse.Namespace) -> None:
    """Seconds of the compiled model's first call, with an empty cache on disk and with a filled one."""
    with tempfile.TemporaryDirectory() as cache:
        for what in ('cold', 'warm'):
            options = [f'--{key}={getattr(args, key)}' for key in ('arch', 'steps', 'size', 'batch')]
            command = [sys.executable, __file__, *options, '--mode', 'forward', '--first-call']
            env = {**os.environ, 'TORCHINDUCTOR_CACHE_DIR': cache}
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env)
            print(f'compiled, {what} cache: first call after {float(done.stdout):.1f} s')


def measure(args: argparse.Namespace, mode: str) -> None:
    """Print the table of a mode."""
    torch.compiler.reset()  # the graphs of another mode count, too, and torch stops at eight of a layer
    variants = [*VARIANTS[mode], *['compiled'] * args.compile]
    if args.variants:
        variants = [variant for variant in variants if variant in args.variants]
    peaks = {variant: memory(args, mode, variant) for variant in variants}
    if not GPU and mode == 'forward':
        keep_freed_memory()  # as tools/test.py does
    runs = {variant: runner(args, variant, mode) for variant in variants if peaks[variant] < float('inf')}
    for variant in runs:
        runs[variant]()
    times = medians(runs, args.rounds)
    runs.clear()  # which hold memory
    print(f'\n| {mode} | seconds | x plain | clips a second | peak MB | x plain |\n|' + '---|' * 6)
    plain = times.get('plain', float('inf'))  # does not fit into the GPU
    for variant in times:
        cells = [f'{times[variant]:.4f}', f'{times[variant] / plain:.2f}', f'{args.batch / times[variant]:.1f}']
        cells += [f'{peaks[variant]:.0f}', f'{peaks[variant] / peaks["plain"]:.2f}']
        print(f'| {variant} | {" | ".join(cells)} |', flush=True)
    own = [variant for variant in times if variant not in PLAIN]
    record(args.json, **{f'{mode}_against_plain': plain / min(times[variant] for variant in own)})
    if not (args.largest_batch and GPU and mode == 'training'):
        return
    print(f'\n| {mode} | MB a clip | largest batch here | in 80 GB |\n|' + '---|' * 4)
    batches: dict[str, int] = {}
    for variant in times:
        batches[variant], in_80, a_clip = largest_batch(args, variant, mode)
        print(f'| {variant} | {a_clip:.0f} | {batches[variant]} | {in_80} |', flush=True)
        if largest := [batches[name] for name in own if name in batches]:
            record(args.json, **{f'{mode}_batch_against_plain': max(largest) / batches.get('plain', 1)})


def run(args: argparse.Namespace) -> None:
    """One arch, number of steps and type."""
    if args.memory:
        measure_memory(args)
        return
    if args.first_call:
        print(seconds(runner(args, 'compiled', 'forward')))
        return
    print(
        f'\n{args.arch}, {args.batch} clip(s) of {args.steps} x {args.size} x {args.size}, {args.dtype}, {machine()}; '
        f'medians of {args.rounds}'
    )
    for mode in args.mode:
        measure(args, mode)
    if args.compile:
        first_call(args)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--arch', nargs='+', default=['small'], help='names, or five widths as 8,8,16,16,24')
    parser.add_argument('--steps', type=int, nargs='+', default=[8])
    parser.add_argument('--dtype', nargs='+', choices=['fp32', 'bf16'], default=['fp32'], help='bf16: by autocast')
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--mode', nargs='+', choices=tuple(VARIANTS), default=list(VARIANTS))
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--compile', action='store_true')
    parser.add_argument('--variants', nargs='+', help='only these, plain first')
    parser.add_argument('--largest-batch', action='store_true', help='also the largest batch of training (GPU)')
    parser.add_argument('--json', type=Path, help='write the figures that must hold')
    parser.add_argument('--return-memory', action='store_true', help='the allocator of tools/train.py under with_cp')
    parser.add_argument('--memory', help=argparse.SUPPRESS)  # of a process of its own
    parser.add_argument('--first-call', action='store_true', help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.return_memory:
        return_freed_memory()
    for dtype, arch, steps in product(given.dtype, given.arch, given.steps):
        run(argparse.Namespace(**{**vars(given), 'arch': arch, 'steps': steps, 'dtype': dtype}))


if __name__ == '__main__':
    main()
