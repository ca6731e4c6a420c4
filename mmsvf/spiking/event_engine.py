"""The engine of a fused model that skips silent neurons: which layers take events, and what they measured.

:mod:`.event_conv` has the convolution, :mod:`.event_kernels` its arithmetic.
"""

from __future__ import annotations

import functools
import importlib.util
import operator
import statistics
from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import Tensor, nn

from .event_conv import EventConv2d, Measured
from .layers import ChannelConv, ChannelMLP, over_images


class Chain(nn.Module):
    """Neuron -> convolution -> neuron -> convolution: the first two in one where both convolutions take events."""

    feeds: Any

    def forward(self, x: Tensor) -> Tensor:
        """Membranes TBCHW to membranes of the same shape."""
        (first, conv1), (second, conv2) = ([getattr(self, name) for name in pair] for pair in self.feeds)
        x = first(x)
        spikes = conv1.fire(x, second)
        return over_images(conv2, second(over_images(conv1, x)) if spikes is None else spikes)


class ChainedConv(Chain, ChannelConv):
    """A fused :class:`ChannelConv`."""


class ChainedMLP(Chain, ChannelMLP):
    """A fused :class:`ChannelMLP`."""


CHAINS: dict[type, type[Chain]] = {ChannelConv: ChainedConv, ChannelMLP: ChainedMLP}


def use_events(model: nn.Module, layers: Iterable[nn.Module]) -> None:
    """Have a model's convolutions choose between dense and events, in place; those in groups stay as they are.

    Args:
        model: A fused model. It gets a method ``engine_report``: :func:`engine_report` of it.
        layers: Those of its layers of which it is true what they list in ``feeds``.

    Raises:
        ImportError: numba is not installed.
    """
    if importlib.util.find_spec('numba') is None:
        raise ImportError("engine='events' needs numba: pip install numba, or take engine='dense'")
    for module in list(model.modules()):
        for name, conv in module.named_children():
            if type(conv) is not nn.Conv2d or conv.groups > 1:
                continue
            if conv.padding_mode == 'zeros' and not isinstance(conv.padding, str):
                setattr(module, name, EventConv2d.of(conv))
    for layer in layers:
        for neuron, conv in getattr(layer, 'feeds', ()):
            reader = operator.attrgetter(conv)(layer)
            if isinstance(reader, EventConv2d):
                reader.read(getattr(layer, neuron))
        chain: type[Chain] | None = CHAINS.get(type(layer))
        parts = {type(getattr(layer, name)) for conv, norm, _ in getattr(layer, 'folds', ()) for name in (conv, norm)}
        if chain and parts == {EventConv2d, nn.Identity}:
            layer.__class__ = chain
    model.engine_report = functools.partial(engine_report, model)  # type: ignore[assignment]


class LayerReport(NamedTuple):
    """What a layer does: its name, the shape of its input, rate, and the seconds of a call by either means."""

    name: str
    shape: tuple[int, ...]
    measured: Measured

    def __str__(self) -> str:
        rate, dense, events = self.measured
        times = (
            '' if dense is None or events is None else f'{1e3 * dense:8.2f} {1e3 * events:8.2f} {events / dense:6.2f}'
        )
        kernel = 'events' if self.measured.by_events else 'dense'
        return f'{self.name:<52} {"x".join(map(str, self.shape)):>16} {rate:5.2f} {kernel:>6} {times}'


class EngineReport(list[LayerReport]):
    """Layers with what was measured; printed as a table."""

    def __str__(self) -> str:
        head = f'{"layer":<52} {"input":>16} {"rate":>5} {"kernel":>6} {"dense ms":>8} {"events ms":>8} {"x":>6}'
        if not self:
            return 'nothing was measured: run the model in evaluation, in fp32 on CPU and without gradients'
        rate = statistics.mean(layer.measured.rate for layer in self)
        return '\n'.join([head, *map(str, self), f'{len(self)} layers and sizes, mean rate {rate:.2f}'])


def engine_report(model: nn.Module) -> EngineReport:
    """What each convolution that can choose has measured and chosen.

    Raises:
        ValueError: the model has none.
    """
    convs = [(name, m) for name, m in model.named_modules() if isinstance(m, EventConv2d)]
    if not convs:
        raise ValueError("no layer takes events: build the model with mmsvf.fuse(model, engine='events')")
    return EngineReport(
        LayerReport(name, shape, found) for name, conv in convs for (shape, _), found in conv.measured.items()
    )
