#!/usr/bin/env python
"""What counting operations costs: forward with and without it, in one run, and the peak memory of both.

The backbone is woken first (statistics of its input, steeper norms), so that its layers carry spikes, which are
what takes time to look at.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext

import torch

from mmsvf.analysis.energy import OperationCounter
from mmsvf.models.backbones.spike_video_former import SpikeVideoFormer


def awake(arch: str, clip: torch.Tensor) -> SpikeVideoFormer:
    """A backbone whose layers spike on a clip."""
    torch.manual_seed(0)
    model = SpikeVideoFormer(arch)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    for _ in range(2):
        model.train()(clip)
    for norm in norms:
        torch.nn.init.constant_(norm.weight, 2.0)
    return model.eval()


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--arch', default='small')
    parser.add_argument('--steps', type=int, nargs='+', default=[4, 8, 16])
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--memory', choices=['plain', 'counted'], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory:  # a process of its own: the peak of nothing else
        clip = torch.randn(1, 3, args.steps[0], args.size, args.size)
        model = awake(args.arch, clip[:, :, :2])
        with OperationCounter(model, args.steps[0]) if args.memory == 'counted' else nullcontext():
            model(clip)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    print(f'{args.arch}, {args.size} px, fp32, batch 1; {os.cpu_count()} CPUs, torch {torch.__version__}, '
          f'Python {platform.python_version()}, {torch.get_num_threads()} threads')  # fmt: skip
    print(f'{"T":>3} {"plain":>9} {"counted":>9} {"ratio":>6} {"peak, plain":>12} {"counted":>9}')
    for steps in args.steps:
        clip = torch.randn(1, 3, steps, args.size, args.size)
        model = awake(args.arch, clip[:, :, :2])
        times: dict[str, list[float]] = {'plain': [], 'counted': []}
        for round_ in range(args.rounds + 1):
            for name, seconds in times.items():
                start = time.perf_counter()
                with OperationCounter(model, steps) if name == 'counted' else nullcontext():
                    model(clip)
                if round_:
                    seconds.append(time.perf_counter() - start)
        plain, counted = (statistics.median(times[name]) for name in ('plain', 'counted'))
        peaks = []
        for name in ('plain', 'counted'):
            command = [sys.executable, __file__, '--arch', args.arch, '--steps', str(steps), '--size', str(args.size)]
            run = subprocess.run([*command, '--memory', name], capture_output=True, text=True, check=True)
            peaks.append(int(run.stdout.split()[-1]) / 2**20)
        print(
            f'{steps:3} {plain:7.3f} s {counted:7.3f} s {counted / plain:6.2f} {peaks[0]:8.2f} GiB {peaks[1]:5.2f} GiB'
        )


if __name__ == '__main__':
    main()
