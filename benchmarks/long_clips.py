#!/usr/bin/env python
"""Time of whole pose estimators against the length of a clip: softmax attention among all tokens, a GRU, and ours.

python benchmarks/long_clips.py [--steps 8 16 32] [--rounds 3] [--configs ...]

For each config a forward of clips of T x 256 x 256 in fp32, as constructed, medians of rounds in which the models
take turns; "attention" is the neck or the attention reads alone. The exponent is the slope in log-log from the first to
the last length: 1 is linear, 2 quadratic.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from timing import DEVICE, machine, record, seconds, synchronize

from mmsvf.analysis.models import build_model
from mmsvf.engine.allocator import keep_freed_memory
from mmsvf.models.necks.frame_fusion import FrameGRU, SpaceTimeTransformer
from mmsvf.spiking.attention import AttentionRead

CONFIGS = ('compared/glot_mmhpsd_t8', 'compared/vibe_mmhpsd_t8', 'svf_mmhpsd_t8_small', 'svf_mmhpsd_t8')
JOINS = (FrameGRU, SpaceTimeTransformer, AttentionRead)


@contextmanager
def timed(modules: list[Any], total: list[float]) -> Any:
    """Add the seconds that modules run to the last number of a list."""
    handles = []
    for module in modules:
        begin: list[float] = []

        def start(*_: Any, b: list[float] = begin) -> None:
            synchronize()
            b.append(time.perf_counter())

        def end(*_: Any, b: list[float] = begin) -> None:
            synchronize()
            total[-1] += time.perf_counter() - b.pop()

        handles += [module.register_forward_pre_hook(start), module.register_forward_hook(end)]
    yield
    for handle in handles:
        handle.remove()


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--steps', type=int, nargs='+', default=[8, 16, 32])
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--configs', nargs='+', default=CONFIGS, help='names under configs, without .py')
    parser.add_argument('--batch', type=int, default=1, help='clips at a time')
    parser.add_argument('--size', type=int, default=256)
    parser.add_argument('--json', type=Path, help='write how much longer the longest clip takes')
    args = parser.parse_args()
    keep_freed_memory()  # as tools/test.py does
    root = Path(__file__).resolve().parents[1] / 'configs'
    configs = {Path(name).name: Config.fromfile(root / f'{name}.py') for name in args.configs}
    models = {name: build_model(cfg)[0].to(DEVICE) for name, cfg in configs.items()}
    print(f'{args.batch} clip(s) of T x {args.size} x {args.size}, fp32, {machine()}; medians of {args.rounds}\n')
    times: dict[tuple[str, int], list[float]] = {(n, t): [] for n in models for t in args.steps}
    joins: dict[tuple[str, int], list[float]] = {key: [] for key in times}
    for _ in range(args.rounds + 1):  # the first warms up
        for (name, steps), found in times.items():
            model: Any = models[name]
            clip = torch.randn(args.batch, 3, steps, args.size, args.size, device=DEVICE)
            joins[name, steps].append(0.0)
            with timed([m for m in model.modules() if isinstance(m, JOINS)], joins[name, steps]):
                found.append(seconds(partial(model, clip, None, mode='tensor')))
    lengths = ' | '.join(f'T = {steps}, s' for steps in args.steps)
    print(f'| model | part | {lengths} | last / first | exponent |')
    print('|' + '---|' * (len(args.steps) + 4))
    for name in models:
        for part, table in (('all', times), ('attention', joins)):
            values = [statistics.median(table[name, steps][1:]) for steps in args.steps]
            ratio = values[-1] / values[0]
            exponent = math.log(ratio) / math.log(args.steps[-1] / args.steps[0])
            cells = ' | '.join(f'{value:.3f}' for value in values)
            print(f'| {name} | {part} | {cells} | {ratio:.1f} x | {exponent:.2f} |')
            record(args.json, **{f'{name}, {part}': ratio})


if __name__ == '__main__':
    main()
