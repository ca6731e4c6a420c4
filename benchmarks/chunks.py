#!/usr/bin/env python
"""Memory and time of a training step on whole clips and in chunks (model.chunk_frames), against the clip's length.

python benchmarks/chunks.py [--config configs/live/svf_k400_small_causal.py] [--steps 16 64] [--chunks 8] [--size 64]
                            [--rounds 3] [--cpu-time]

Losses and their gradients on one clip of random pixels in fp32. Memory is that of all tensors at their peak, weights
and their gradients included; times are medians of rounds in which the rows take turns.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

import timing
import torch
from mmengine.config import Config
from timing import DEVICE, machine, medians

from mmsvf.analysis.memory_limit import LiveMemory
from mmsvf.analysis.models import build_model


def step(model: Any, clips: torch.Tensor, chunk: int | None) -> None:
    """Gradients of a clip (1, 1, C, T, H, W) of the first class."""
    from mmaction.structures import ActionDataSample

    model.chunk_frames = chunk
    model.zero_grad()
    loss, _ = model.parse_losses(model.loss(clips, [ActionDataSample().set_gt_label(torch.tensor(0))]))
    loss.backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', default='configs/live/svf_k400_small_causal.py', help='of a causal recognizer')
    parser.add_argument('--steps', type=int, nargs='+', default=[16, 64])
    parser.add_argument('--chunks', type=int, nargs='+', default=[8])
    parser.add_argument('--size', type=int, default=64)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--cpu-time', action='store_true', help='of the process, on a machine that is shared')
    args = parser.parse_args()
    if args.cpu_time:
        timing.clock = time.process_time
    model: Any = build_model(Config.fromfile(args.config))[0].to(DEVICE).train()
    print(f'{args.config}, T x {args.size} x {args.size}, fp32, {machine()}; medians of {args.rounds}\n')
    rows, peaks = {}, {}
    for steps in args.steps:
        clips = torch.randn(1, 1, 3, steps, args.size, args.size, device=DEVICE)
        for chunk in (None, *args.chunks):
            row = rows[steps, chunk] = partial(step, model, clips, chunk)
            row()
            model.zero_grad()
            memory = LiveMemory()
            for tensor in (clips, *model.parameters(), *model.buffers()):
                memory.add(tensor)
            with memory:
                row()
            peaks[steps, chunk] = memory.peak / 2**20
    times = medians({str(key): row for key, row in rows.items()}, args.rounds)
    print('| T | chunks of | tensors at their peak, MB | s | x whole |\n|---|---|---|---|---|')
    for steps, chunk in rows:
        taken, whole = times[str((steps, chunk))], times[str((steps, None))]
        print(f'| {steps} | {chunk or "whole"} | {peaks[steps, chunk]:.0f} | {taken:.2f} | {taken / whole:.2f} |')


if __name__ == '__main__':
    main()
