"""A report as one self-contained page: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import json
from html import escape

from .conventions import CONVENTIONS
from .report import Report, Row

STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1200px; padding: 0 1em; color: #1c2330 }
table { border-collapse: collapse; width: 100% }
th, td { padding: 3px 8px; text-align: right; border-bottom: 1px solid #dde }
th:first-child, td:first-child, td.text { text-align: left } caption { text-align: left; color: #556 }
svg text { font: 12px system-ui, sans-serif } h2 { margin-top: 2em }
.cell { min-width: 1.2em; height: 1.3em; padding: 0 }
"""
COLOURS = {'paper': '#3b7dd8', 'strict': '#d9822b', 'merged': '#2f9e6e'}


def number(value: float | None) -> str:
    """Six significant digits; a dash for what there is none of."""
    return '-' if value is None else f'{value:.6g}'


def _stages(report: Report) -> dict[str, list[Row]]:
    stages: dict[str, list[Row]] = {}
    for row in report.rows:
        stages.setdefault(row.stage, []).append(row)
    return stages


def _bars(report: Report) -> str:
    """Energy by stage, a bar for each convention."""
    sums = {
        name: {c: sum(row.energy[c] or 0 for row in rows) for c in CONVENTIONS}
        for name, rows in _stages(report).items()
    }
    largest = max((v for values in sums.values() for v in values.values()), default=0) or 1
    parts, y = [], 0
    for name, values in sums.items():
        parts.append(f'<text x="0" y="{y + 14 * len(values) / 2 + 4:g}">{escape(name)}</text>')
        for convention, value in values.items():
            width = 700 * value / largest
            parts.append(
                f'<rect x="220" y="{y}" width="{width:.2f}" height="12" fill="{COLOURS[convention]}"/>'
                f'<text x="{226 + width:.2f}" y="{y + 10}">{number(value)} mJ</text>'
            )
            y += 14
        y += 10
    legend = ' '.join(f'<span style="color:{COLOURS[name]}">&#9632;</span> {name}' for name in CONVENTIONS)
    return f'<p>{legend}</p><svg width="1100" height="{y}" role="img">{"".join(parts)}</svg>'


def _rates(report: Report) -> str:
    """Firing rates by layer and time step, shaded."""
    rows = [row for row in report.rows if row.rate is not None]
    steps = max((len(row.rates or ()) for row in rows), default=0)
    head = ''.join(f'<th>t={t + 1}</th>' for t in range(steps))
    lines = []
    for row in rows:
        assert row.rate is not None
        cells = ''.join(
            f'<td class="cell" style="background:rgba(59,125,216,{min(1.0, rate):.3f})">{rate:.3f}</td>'
            for rate in row.rates or ()
        )
        cells += f'<td colspan="{steps - len(row.rates or ())}"></td>' if len(row.rates or ()) < steps else ''
        lines.append(
            f'<tr><td>{escape(row.name)}</td><td class="text">{row.signal}</td><td>{row.rate:.4f}</td>{cells}</tr>'
        )
    return f'<table><tr><th>layer</th><th>input</th><th>mean</th>{head}</tr>{"".join(lines)}</table>'


def _layers(report: Report) -> str:
    head = ''.join(f'<th>{name} mJ</th>' for name in CONVENTIONS)
    lines = []
    for row in report.rows:
        energies = ''.join(f'<td>{number(row.energy[name])}</td>' for name in CONVENTIONS)
        lines.append(
            f'<tr><td>{escape(row.name)}</td><td class="text">{escape(row.kind)}</td><td class="text">{row.signal}</td>'
            f'<td>{number(row.rate)}</td><td>{row.parameters}</td><td>{number(row.macs)}</td>'
            f'<td>{number(row.additions)}</td>{energies}</tr>'
        )
    columns = '<th>layer</th><th>operation</th><th>input</th><th>rate</th><th>parameters</th><th>MACs</th>'
    return f'<table><tr>{columns}<th>accumulates</th>{head}</tr>{"".join(lines)}</table>'


def _totals(report: Report) -> str:
    lines = [
        f'<tr><td>{name}</td><td>{number(total["multiply_accumulates"])}</td><td>{number(total["accumulates"])}</td>'
        f'<td id="{name}-clip">{number(total["mj_a_clip"])}</td>'
        f'<td id="{name}-frame">{number(total["mj_a_frame"])}</td>'
        f'<td class="text">{escape(CONVENTIONS[name].meaning)}</td></tr>'
        for name, total in report.totals.items()
    ]
    head = '<th>convention</th><th>MACs</th><th>accumulates</th><th>mJ a clip</th><th>mJ a frame</th><th>meaning</th>'
    return f'<table><tr>{head}</tr>{"".join(lines)}</table>'


def to_html(report: Report) -> str:
    """The page; its figures are also there as JSON, in the element ``report``."""
    notes = ''.join(f'<li>{escape(note)}</li>' for note in report.notes)
    data = json.dumps(report.to_dict()).replace('<', '\\u003c')
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Energy of {escape(report.config)}</title>
<link rel="icon" href="data:,"><style>{STYLE}</style></head><body>
<h1>Energy of {escape(report.config)}</h1>
<p>{escape(report.header())}</p>
<p>{report.parameters:,} parameters, {number(report.macs)} multiply-adds a clip with every layer dense.</p>
<h2>Totals</h2>{_totals(report)}
<h2>Stages</h2>{_bars(report)}
<h2>Firing rates</h2>{_rates(report)}
<h2>Layers, a clip</h2>{_layers(report)}
<h2>What was assumed</h2><ul>{notes}</ul>
<script type="application/json" id="report">{data}</script>
</body></html>
"""
