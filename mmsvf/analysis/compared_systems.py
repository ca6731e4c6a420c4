"""What the systems that the papers compare cost: rows of a table from their configs and the papers' figures.

Each model is built and run once on random input of the row's size. Without trained weights spiking rates are not
measured: energies are those at one assumed rate of every layer's input spikes, and beside them stands the rate at which
the paper's figure would hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from spikingjelly.activation_based.neuron import BaseNode

from .energy import CONVENTIONS, OperationCounter
from .energy.conventions import E_AC, E_MAC
from .energy.counter import Layer, Operation
from .energy.signals import REAL, Signal
from .inputs import frames_and_steps, random_inputs
from .models import NOT_COUNTED, build_model, build_without_memory, calibrate_batchnorm, run_model

RATE = 0.2
TOLERANCE = 0.003  # of parameters, beyond which a row has to say why


def spiking(model: Any) -> bool:
    """Whether a model has spiking neurons."""
    return any(isinstance(module, BaseNode) for module in model.modules())


def at_rate(layers: Sequence[Layer], model: Any, rate: float) -> list[Layer]:
    """The layers as if each input spike train had this rate; of a network without spikes, as real numbers."""

    def operation(o: Operation) -> Operation:
        if not spiking(model):
            return Operation(o.layer, o.kind, o.macs, REAL, None)
        if o.additions is None or not o.signal.spikes:
            return o
        return Operation(o.layer, o.kind, o.macs, Signal(o.signal.kind, rate), o.macs * rate)

    return [
        Layer(layer.name, layer.kind, layer.parameters, [operation(o) for o in layer.operations]) for layer in layers
    ]


def small(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of a smaller input, to calibrate BatchNorms on: up to four steps, sides of up to 64."""
    *first, height, width = shape
    steps = [min(4, t) for t in first[1:]]
    return (first[0], *steps, min(height, 64), min(width, 64))


@torch.no_grad()
def count(cfg: Config, shape: Sequence[int], events: bool = False) -> tuple[Any, list[Layer], int]:
    """The model of a config, its layers as counted on an input of a shape, and the frames of that."""
    model: Any = build_model(cfg)[0]
    shapes = (small(shape), shape) if spiking(model) else (shape,)
    inputs = [random_inputs(cfg, s) for s in shapes]
    if events:
        inputs = [(x > 1).float() for x in inputs]
    if spiking(model):
        calibrate_batchnorm(cfg, model, inputs[0])
    with OperationCounter(model, ignore=NOT_COUNTED) as counter:
        run_model(cfg, model, inputs[-1])
    return model, counter.layers, frames_and_steps(cfg, model, inputs[-1])[0]


def energy(convention: str, layers: Sequence[Layer], model: Any, rate: float) -> float:
    """mJ of an input, by a convention, at a rate of all spikes."""
    charges = CONVENTIONS[convention].charge(at_rate(layers, model, rate), model)
    return 1e3 * sum(charge.energy(E_MAC, E_AC) for charge in charges)


def rate_for(mj: float, layers: Sequence[Layer], model: Any) -> float:
    """The rate of all spikes at which an input costs so much by convention ``paper``, which is linear in it."""
    low, high = 0.1, 1.0  # without any spikes the convention takes a network for one that has none
    first, last = (energy('paper', layers, model, rate) for rate in (low, high))
    return low + (high - low) * (mj - first) / (last - first)


def share(value: float, paper: float) -> str:
    """A value's difference from the paper's, as text: '+1.2 %'."""
    return f'{100 * (value / paper - 1):+.1f} %'


def check(facts: dict[str, Any], configs: Path) -> None:
    """Compare parameters with the paper's, without the time that counting takes.

    Raises:
        ValueError: they differ, and the row does not say why.
    """
    if facts['config'] == 'none' or 'params' not in facts or facts['differs']:
        return
    model = build_without_memory(Config.fromfile(configs / f'{facts["config"]}.py'))
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    if abs(millions / facts['params'] - 1) > TOLERANCE:
        raise ValueError(f'{facts["system"]}: {millions:.2f} M, the paper has {facts["params"]} M, and no word why')


def row(facts: dict[str, Any], table: dict[str, Any], configs: Path) -> str:
    """A line of a table."""
    paper, power = facts.get('params'), facts.get('power')
    known = ['-' if paper is None else f'{paper:g}', '-' if power is None else f'{power:g}', facts.get('result', '-')]
    if facts['config'] == 'none':
        cells = [facts['system'], 'none', '-', '-', known[0], *'-----', known[1], '-', known[2], facts['differs']]
        return f'| {" | ".join(cells)} |'
    cfg = Config.fromfile(configs / f'{facts["config"]}.py')
    model, layers, frames = count(cfg, facts['input'], table.get('events', False))
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    parts = frames if cfg.default_scope == 'mmseg' else 1
    mj = {name: energy(name, layers, model, RATE) / parts for name in CONVENTIONS}
    rate = '-' if power is None or not spiking(model) else f'{rate_for(power * parts, layers, model):.2f}'
    shape = facts['input']
    name = Path(facts['config']).name
    cells = [
        facts['system'],
        f'[{name}](../configs/{facts["config"]}.py)',
        str(shape[1] if len(shape) == 4 else getattr(model.backbone, 'time_steps', 1)),
        f'{parameters:.2f}',
        known[0] if paper is None else f'{known[0]} ({share(parameters, paper)})',
        f'{sum(layer.macs for layer in layers) / parts / 1e9:.4g}',
        *(f'{value:.4g}' for value in mj.values()),
        'yes' if spiking(model) else 'no',
        known[1],
        rate,
        known[2],
        facts['differs'] or '-',
    ]
    return f'| {" | ".join(cells)} |'


def header(table: dict[str, Any]) -> list[str]:
    """The first two lines of a table."""
    columns = ['system', 'config', 'T', 'params M', "paper's", 'MACs G', *(f'mJ, {name}' for name in CONVENTIONS)]
    columns += ['spikes', "paper's mJ", 'at rate', f"paper's {table['result']}", 'what differs']
    return [f'| {" | ".join(columns)} |', '|' + '---|' * len(columns)]
