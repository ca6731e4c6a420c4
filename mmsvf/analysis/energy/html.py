"""A report as one self-contained page: no font, picture or script from elsewhere."""

from __future__ import annotations

from pathlib import Path

import jinja2

from .conventions import CONVENTIONS
from .report import Report

COLOURS = {'paper': '#3b7dd8', 'strict': '#d9822b', 'merged': '#2f9e6e'}


def number(value: float | None, digits: int = 4) -> str:
    """That many significant digits; a dash for what there is none of."""
    return '-' if value is None else f'{value:.{digits}g}'


def units(value: float | None) -> str:
    """A count as people read it: 9.92 M."""
    for factor, unit in ((1e12, 'T'), (1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
        if value is not None and value >= factor:
            return f'{value / factor:.3g} {unit}'
    return number(value, 3)


def joules(millijoules: float | None) -> str:
    """An energy as people read it: 24.9 µJ."""
    for factor, unit in ((1.0, 'mJ'), (1e-3, 'µJ'), (1e-6, 'nJ')):
        if millijoules is not None and millijoules >= factor:
            return f'{millijoules / factor:.3g} {unit}'
    return number(millijoules and millijoules * 1e9, 3) + (' pJ' if millijoules else '')


def to_html(report: Report) -> str:
    """The page; its figures are also there as JSON, in the element ``report``.

    Beside each convention it has the same network without spikes, in which every layer multiplies.
    """
    stages: dict[str, dict[str, float]] = {}
    for row in report.rows:
        sums = stages.setdefault(row.stage, dict.fromkeys(CONVENTIONS, 0.0))
        for name, energy in row.energy.items():
            sums[name] += energy or 0
    env = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    env.filters.update(number=number, units=units, joules=joules, share=lambda part: f'{100 * part:.3g} %')
    template = env.from_string((Path(__file__).parent / 'report.html.jinja').read_text(encoding='utf-8'))
    return template.render(
        report=report,
        conventions=CONVENTIONS,
        colours=COLOURS,
        stages=stages,
        largest=max((energy for sums in stages.values() for energy in sums.values()), default=0) or 1,
        rated=[row for row in report.rows if row.rate is not None],
        dense=report.macs * report.e_mac_pj * 1e-9 or 1,
    )
