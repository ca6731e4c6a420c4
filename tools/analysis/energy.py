#!/usr/bin/env python
"""Energy of any OpenMMLab config's model, spiking or not: operations by layer, rates, and mJ by convention.

CONFIG may be one of an installed framework, as mmaction::recognition/swin/....py. Rates come from the config's own
test data, from a video (--video), or from random input (--random; rates are then those of noise).
Nothing is downloaded: pre-trained weights that a config names are left out, and the output says so.
"""

from __future__ import annotations

import argparse
import json

from mmengine.utils import ProgressBar
from rich.console import Console
from rich.table import Table

from mmsvf.analysis.energy import CONVENTIONS, OperationCounter
from mmsvf.analysis.energy.html import to_html
from mmsvf.analysis.energy.report import Report, make_report
from mmsvf.analysis.inputs import describe, frames_and_steps, guess_shape, loader_inputs, random_inputs, video_inputs
from mmsvf.analysis.models import NOT_COUNTED, build_model, run_model
from mmsvf.engine.run_config import add_common_arguments, output_file, plain_messages, prepare, require_file


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file (default: weights as constructed)')
    parser.add_argument('--clips', type=int, default=4, help='clips of the test data (default: %(default)s)')
    source = parser.add_mutually_exclusive_group()
    source.add_argument('--video', help='take the frames of this video')
    source.add_argument('--random', action='store_true', help='take random input')
    parser.add_argument('--shape', type=int, nargs='+', help="input as C T H W or C H W (default: the test pipeline's)")
    parser.add_argument('--e-mac', type=float, default=4.6, help='pJ per multiply-accumulate (default: %(default)s)')
    parser.add_argument('--e-ac', type=float, default=0.9, help='pJ per accumulate (default: %(default)s)')
    parser.add_argument('--depth', type=int, help='show layers down to this depth of names, added up')
    for kind in ('json', 'csv', 'html'):
        parser.add_argument(f'--{kind}', type=output_file(), metavar='FILE', help=f'write the report as {kind.upper()}')
    return parser.parse_args()


def count(args: argparse.Namespace) -> Report:
    """Run the model and count."""
    cfg = prepare(args)
    if args.checkpoint is not None:
        require_file(args.checkpoint)
    model, notes = build_model(cfg, args.checkpoint)
    if args.random or args.video:
        shape = tuple(args.shape or guess_shape(cfg))
        if args.random:
            inputs, source, total = iter([random_inputs(cfg, shape)]), 'RANDOM INPUT', 1
            notes.append('WARNING: random input; the rates are those of noise, not of data')
        else:
            inputs, total = iter([video_inputs(cfg, model, args.video, shape)]), 1
            source = f'video {describe(args.video)}'
    else:
        inputs, total = loader_inputs(cfg, model, args.clips), args.clips
        source = "the config's test data"
    counter, bar, clips = None, ProgressBar(total), 0
    for x in inputs:
        frames, steps = frames_and_steps(cfg, model, x)
        if counter is None:
            counter = OperationCounter(model, time_steps=steps, ignore=NOT_COUNTED)
        with counter:
            run_model(cfg, model, x)
        clips += 1
        bar.update()
    if counter is None:
        raise ValueError("the config's test data is empty; give --video FILE or --random")
    print()
    notes.append('not counted: norms, neurons, pooling, additions, rescaling, softmax, the body model')
    if counter.not_counted:
        notes.append(f'WARNING: not counted, though they multiply: {", ".join(sorted(counter.not_counted))}')
    return make_report(
        counter.layers,
        model,
        config=describe(args.config),
        inputs=tuple(x.shape[1:]),
        clips=clips,
        frames=frames,
        time_steps=steps,
        source=source,
        notes=notes,
        e_mac=args.e_mac * 1e-12,
        e_ac=args.e_ac * 1e-12,
    )


def show(report: Report, depth: int | None) -> None:
    """Tables in the terminal."""
    console = Console(width=max(190, Console().width))
    table = Table(title=report.header(), title_justify='left')
    for column in ('layer', 'operation', 'input', 'rate', 'params', 'MACs', 'accumulates'):
        left = column in ('layer', 'operation', 'input')
        table.add_column(column, justify='left' if left else 'right', no_wrap=True)
    for name in CONVENTIONS:
        table.add_column(f'{name} mJ', justify='right')
    groups: dict[str, list] = {}
    for row in report.rows:
        groups.setdefault('.'.join(row.name.split('.')[:depth]), []).append(row)
    for name, rows in groups.items():
        macs, spiking = sum(r.macs for r in rows), [r for r in rows if r.rate is not None]
        weight = sum(r.macs for r in spiking)
        rate = f'{sum(r.rate * r.macs for r in spiking) / weight:.4f}' if weight else '-'
        additions = sum(r.additions or 0 for r in rows)
        energies = [[r.energy[c] for r in rows if r.energy[c] is not None] for c in CONVENTIONS]
        table.add_row(
            name, *('/'.join(dict.fromkeys(getattr(r, f) for r in rows)) for f in ('kind', 'signal')), rate,
            f'{sum(r.parameters for r in rows):,}', f'{macs:.4g}', f'{additions:.4g}',
            *(f'{sum(e):.4g}' if e else 'merged' for e in energies),
        )  # fmt: skip
    console.print(table)
    totals = Table(
        title=f'total: {report.parameters:,} parameters, {report.macs:.5g} MACs per clip', title_justify='left'
    )
    for column in ('convention', 'MACs left', 'accumulates', 'mJ per clip', 'mJ per frame', 'meaning'):
        totals.add_column(column, justify='left' if column in ('convention', 'meaning') else 'right')
    for name, total in report.totals.items():
        values = (total['multiply_accumulates'], total['accumulates'], total['mj_per_clip'], total['mj_per_frame'])
        totals.add_row(name, *(f'{value:.5g}' for value in values), CONVENTIONS[name].meaning)
    console.print(totals)
    for note in report.notes:
        console.print(f'- {note}', markup=False)


def main() -> None:
    """Count, show and write the report."""
    args = parse_args()
    report = count(args)
    show(report, args.depth)
    writers = dict(json=lambda: json.dumps(report.to_dict(), indent=1), csv=report.to_csv, html=lambda: to_html(report))
    for kind, write in writers.items():
        path = getattr(args, kind)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(write(), encoding='utf-8')
            print(f'{kind.upper()}: {path}')


if __name__ == '__main__':
    with plain_messages():
        main()
