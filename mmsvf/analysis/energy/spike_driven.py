"""Which layers multiply, and whether a spike-driven network may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from mmsvf.spiking.folding import FoldedRepConv
from mmsvf.spiking.layers import RepConv, SepConv

from .counter import Layer


@dataclass(frozen=True)
class Finding:
    """A layer whose input is not spikes, and why it may be; None: no reason is known."""

    layer: Layer
    reason: str | None


def find(layers: Sequence[Layer], model: nn.Module) -> list[Finding]:
    """The layers, in the order they ran, that need multiplications."""
    modules = dict(model.named_modules())
    findings = []
    for layer in layers:
        if layer.additions is not None:
            continue
        parent, _, part = layer.name.rpartition('.')
        reason = None
        if layer is layers[0]:
            reason = "on the network's real input"
        elif isinstance(modules.get(parent), (RepConv, FoldedRepConv)):
            reason = 'inside a RepConv, which merges into one convolution of spikes'
        elif isinstance(modules.get(parent), SepConv) and part == 'pointwise2':
            reason = "behind SepConv's depth-wise convolution, with which it is one convolution of spikes"
        findings.append(Finding(layer, reason))
    return findings
