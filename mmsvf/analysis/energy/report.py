"""An energy count as rows, JSON, CSV and text, with the input, rates and versions that it rests on."""

from __future__ import annotations

import csv
import io
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from mmsvf.version import __version__

from .conventions import CONVENTIONS, E_AC, E_MAC
from .counter import Layer


@dataclass
class Row:
    """A layer of a report; operations and energies are of one clip.

    Attributes:
        energy: Millijoules by convention; None where a convention merges the layer into another.
        additions: Accumulates that are left, or None if the input needs multiplications.
    """

    name: str
    stage: str
    kind: str
    parameters: int
    macs: float
    signal: str
    rate: float | None
    rates: tuple[float, ...] | None
    additions: float | None
    energy: dict[str, float | None]


@dataclass
class Report:
    """An energy count of a model.

    Attributes:
        config: Its config.
        inputs: Shape of an input.
        clips: Inputs that were run; numbers are means over them.
        frames: Frames of an input.
        time_steps: Time steps T.
        source: Where the inputs came from.
        notes: What was assumed.
        rows: Layers in the order they ran.
        totals: By convention: ``mj_per_clip``, ``mj_per_frame``, multiply-accumulates and accumulates of a clip.
    """

    config: str
    inputs: tuple[int, ...]
    clips: int
    frames: int
    time_steps: int
    source: str
    notes: list[str]
    rows: list[Row] = field(default_factory=list)
    totals: dict[str, dict[str, float]] = field(default_factory=dict)
    parameters: int = 0
    e_mac_pj: float = E_MAC * 1e12
    e_ac_pj: float = E_AC * 1e12
    versions: dict[str, str] = field(default_factory=dict)

    def header(self) -> str:
        """One line: input, T, source of the rates, versions."""
        shape = ' x '.join(map(str, self.inputs))
        return (
            f'{self.config}: input {shape}, T = {self.time_steps}, {self.frames} frame(s) per clip; '
            f'rates of {self.clips} clip(s), {self.source}; E_MAC {self.e_mac_pj:g} pJ, E_AC {self.e_ac_pj:g} pJ; '
            + ', '.join(f'{name} {version}' for name, version in self.versions.items())
        )

    @property
    def macs(self) -> float:
        """Multiply-adds of a clip, every layer dense."""
        return sum(row.macs for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {**asdict(self), 'macs': self.macs, 'conventions': {n: c.meaning for n, c in CONVENTIONS.items()}}

    def to_csv(self) -> str:
        """A line per layer, under :meth:`header` as a comment."""
        text = io.StringIO()
        text.write(f'# {self.header()}\n')
        writer = csv.writer(text, lineterminator='\n')
        names = list(CONVENTIONS)
        writer.writerow(['layer', 'stage', 'operation', 'parameters', 'macs', 'input', 'rate', 'accumulates']
                        + [f'{name} mJ' for name in names])  # fmt: skip
        for row in self.rows:
            values = [row.name, row.stage, row.kind, row.parameters, row.macs, row.signal, row.rate, row.additions]
            writer.writerow(['' if v is None else v for v in (*values, *(row.energy[name] for name in names))])
        return text.getvalue()


def stage(name: str) -> str:
    """The part of a model that a layer belongs to: 'backbone.stages.3', 'backbone.layer1', 'head'."""
    parts = name.split('[')[0].split('.')
    if parts[0] != 'backbone' or len(parts) < 3:
        return '.'.join(parts[:1]) if parts[0] != 'backbone' else '.'.join(parts[:2])
    return '.'.join(parts[:3] if parts[2].isdigit() and parts[1] in ('stages', 'layers', 'blocks') else parts[:2])


def make_report(
    layers: Sequence[Layer],
    model: nn.Module,
    *,
    config: str,
    inputs: Sequence[int],
    clips: int,
    frames: int,
    time_steps: int,
    source: str,
    notes: Sequence[str],
    e_mac: float = E_MAC,
    e_ac: float = E_AC,
) -> Report:
    """A report of counted layers; see :class:`Report`. ``e_mac`` and ``e_ac`` are joules per operation."""
    versions = dict(mmsvf=__version__, torch=torch.__version__, python=platform.python_version())
    parameters = sum(p.numel() for p in model.parameters())
    report = Report(
        config, tuple(inputs), clips, frames, time_steps, source, list(notes), parameters=parameters,
        e_mac_pj=e_mac * 1e12, e_ac_pj=e_ac * 1e12, versions=versions,
    )  # fmt: skip
    energies: dict[str, dict[str, float | None]] = {layer.name: dict.fromkeys(CONVENTIONS) for layer in layers}
    for name, convention in CONVENTIONS.items():
        charges = convention.charge(layers, model)
        for charge in charges:
            energies[charge.layer.name][name] = 1e3 * charge.energy(e_mac, e_ac) / clips
        total = 1e3 * sum(charge.energy(e_mac, e_ac) for charge in charges) / clips
        report.totals[name] = dict(
            mj_per_clip=total,
            mj_per_frame=total / frames,
            multiply_accumulates=sum(charge.macs for charge in charges) / clips,
            accumulates=sum(charge.acs for charge in charges) / clips,
        )
    for layer in layers:
        additions = None if layer.additions is None else layer.additions / clips
        report.rows.append(
            Row(
                *(layer.name, stage(layer.name), layer.kind, layer.parameters, layer.macs / clips, layer.signal),
                *(layer.rate, layer.rates, additions, energies[layer.name]),
            )
        )
    return report
