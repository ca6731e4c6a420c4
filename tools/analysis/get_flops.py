#!/usr/bin/env python
"""Parameters and multiply-adds of any OpenMMLab config's model, every layer taken as dense, by part.

Multiply-adds are of one input of the test pipeline's size (one view of a clip), or of --shape. RepConv is
counted as it is trained ("factored") and as one dense 3x3 convolution ("merged"). tools/analysis/energy.py says what
is left of them.
"""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from mmsvf.analysis.energy import OperationCounter
from mmsvf.analysis.energy.conventions import dense_merged_macs
from mmsvf.analysis.energy.report import stage
from mmsvf.analysis.inputs import describe, frames_and_steps, guess_shape, random_inputs
from mmsvf.analysis.models import NOT_COUNTED, build_model, run_model
from mmsvf.engine.run_config import add_common_arguments, plain_messages, prepare


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument('--shape', type=int, nargs='+', help="input as C T H W or C H W (default: the test pipeline's)")
    return parser.parse_args()


def main() -> None:
    """Count and print."""
    args = parse_args()
    cfg = prepare(args)
    model, notes = build_model(cfg)
    inputs = random_inputs(cfg, args.shape or guess_shape(cfg))
    frames, steps = frames_and_steps(cfg, model, inputs)
    with OperationCounter(model, ignore=NOT_COUNTED) as counter:
        run_model(cfg, model, inputs)
    layers = counter.layers
    macs = sum(layer.macs for layer in layers)
    parameters = sum(p.numel() for p in model.parameters())
    parts: dict[str, list[int]] = {}
    for layer in layers:
        part = parts.setdefault(stage(layer.name), [0, 0])
        part[0] += layer.parameters
        part[1] += layer.macs
    table = Table(title=f'{describe(args.config)}, input {" x ".join(map(str, inputs.shape[1:]))}, T = {steps}')
    for column in ('part', 'parameters', 'multiply-adds'):
        table.add_column(column, justify='left' if column == 'part' else 'right')
    for name, (own, operations) in parts.items():
        table.add_row(name, f'{own:,}', f'{operations / 1e9:.4g} G')
    console = Console()
    console.print(table)
    merged = dense_merged_macs(layers, model)
    print(f'parameters: {parameters / 1e6:.2f} M (norms included)')
    print(f'multiply-adds: {macs / 1e9:.4g} G, {macs / frames / 1e9:.4g} G per frame')
    if merged != macs:
        print(f'with RepConv merged: {merged / 1e9:.4g} G, {merged / frames / 1e9:.4g} G per frame')
    for note in notes[:-1]:
        print(f'- {note}')


if __name__ == '__main__':
    with plain_messages():
        main()
