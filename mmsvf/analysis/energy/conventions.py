"""Conventions that turn counted operations into energy; each is a rule for what a layer is charged.

A multiply-accumulate costs 4.6 pJ, an accumulate 0.9 pJ (32-bit floating point, 45 nm; Horowitz, ISSCC 2014).
Source: SpikeVideoFormer App. E, with D12 of docs/faithfulness.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from mmsvf.spiking.folding import FoldedRepConv
from mmsvf.spiking.layers import RepConv

from .counter import Layer

E_MAC, E_AC = 4.6e-12, 0.9e-12  # joules


@dataclass(frozen=True)
class Charge:
    """What a layer is charged: multiply-accumulates and accumulates, each a number of operations."""

    layer: Layer
    macs: float = 0.0
    acs: float = 0.0

    def energy(self, e_mac: float = E_MAC, e_ac: float = E_AC) -> float:
        """Joules."""
        return self.macs * e_mac + self.acs * e_ac


@dataclass(frozen=True)
class Convention:
    """A named rule from the layers of a model, in the order they ran, to their charges."""

    name: str
    meaning: str
    charge: Callable[[Sequence[Layer], nn.Module], list[Charge]]


def _paper(layers: Sequence[Layer], model: nn.Module) -> list[Charge]:
    charges: list[Charge] = []
    last_rate: float | None = None
    for i, layer in enumerate(layers):
        if layer.additions is not None:
            charges.append(Charge(layer, acs=layer.additions))
        elif last_rate is None:
            charges.append(Charge(layer, macs=layer.macs))
        else:
            charges.append(Charge(layer, acs=last_rate * layer.macs))
        # binary events at the first layer do not make a network spiking, nor does a layer whose input is all zeros
        if layer.rate is not None and (last_rate is not None or (i and layer.rate)):
            last_rate = layer.rate
    return charges


def _strict(layers: Sequence[Layer], model: nn.Module) -> list[Charge]:
    return [
        Charge(layer, macs=layer.macs) if layer.additions is None else Charge(layer, acs=layer.additions)
        for layer in layers
    ]


def merged_macs(layer: Layer, module: RepConv | FoldedRepConv) -> int:
    """Multiply-adds of the one dense 3x3 convolution that a RepConv merges into, from those of its first 1x1."""
    return layer.macs * 9 * module.pointwise2.out_channels // module.pointwise1.out_channels


def merge(layers: Sequence[Layer], model: nn.Module) -> Iterator[tuple[Layer, float]]:
    """The layers that are left when every RepConv is merged, each with its multiply-adds over those it has now.

    A RepConv's first 1x1 stands for the whole.
    """
    repconvs = {n and f'{n}.': m for n, m in model.named_modules() if isinstance(m, (RepConv, FoldedRepConv))}
    for layer in layers:
        name = layer.name.split('[')[0] + '.'  # in brackets: the number of a product whose weight was computed
        inside = next((prefix for prefix in repconvs if name.startswith(prefix)), None)
        if inside is None:
            yield layer, 1.0
        elif name.startswith(f'{inside}pointwise1.'):
            yield layer, merged_macs(layer, repconvs[inside]) / layer.macs


def dense_merged_macs(layers: Sequence[Layer], model: nn.Module) -> int:
    """Multiply-adds with every RepConv merged, every layer dense."""
    return sum(round(layer.macs * share) for layer, share in merge(layers, model))


def _merged(layers: Sequence[Layer], model: nn.Module) -> list[Charge]:
    charges = {charge.layer.name: charge for charge in _strict(layers, model)}
    return [
        Charge(layer, share * charges[layer.name].macs, share * charges[layer.name].acs)
        for layer, share in merge(layers, model)
    ]


CONVENTIONS = {
    convention.name: convention
    for convention in (
        Convention(
            'paper',
            'multiply-accumulates until the first spikes (the first layer on real input; every layer of a network '
            'without spikes); then accumulates, as many as multiply-adds times the rate of the input spikes. A layer '
            'whose input is no spikes takes the rate of the last spikes before it',
            _paper,
        ),
        Convention(
            'strict',
            'accumulates where the input is spikes (or a product needs only signs); every other product is '
            'multiply-accumulates',
            _strict,
        ),
        Convention(
            'merged',
            'strict, with each RepConv merged into the dense 3x3 convolution it is at inference',
            _merged,
        ),
    )
}
