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
from .layers import ChannelConv, ChannelMLP, SepConv, over_images


def _fired(conv: Any, neuron: Any, x: Tensor) -> Tensor:
    """Spikes TBCHW of a convolution and the neuron that alone reads its result: in one, or one after the other."""
    spikes = conv.fire(x, neuron)
    return neuron(over_images(conv, x)) if spikes is None else spikes


class EventSepConv(SepConv):
    """A fused :class:`SepConv`."""

    def forward(self, x: Tensor) -> Tensor:
        """Membranes TBCHW to membranes of the same shape."""
        x = _fired(self.pointwise1, self.lif2, self.lif1(x))
        return over_images(lambda i: self.pointwise2(self.depthwise(i)), x)


class EventChannelConv(ChannelConv):
    """A fused :class:`ChannelConv`."""

    def forward(self, x: Tensor) -> Tensor:
        """Membranes TBCHW to membranes of the same shape."""
        return over_images(self.conv2, _fired(self.conv1, self.lif2, self.lif1(x)))


class EventChannelMLP(ChannelMLP):
    """A fused :class:`ChannelMLP`."""

    def forward(self, x: Tensor) -> Tensor:
        """Membranes TBCHW to membranes of the same shape."""
        return over_images(self.fc2, _fired(self.fc1, self.lif2, self.lif1(x)))


FORMS: dict[type, type] = {SepConv: EventSepConv, ChannelConv: EventChannelConv, ChannelMLP: EventChannelMLP}


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
            if EventConv2d.takes(conv):
                setattr(module, name, EventConv2d.of(conv))
    for layer in layers:
        for neuron, conv in getattr(layer, 'feeds', ()):
            reader = operator.attrgetter(conv)(layer)
            if isinstance(reader, EventConv2d):
                reader.read(getattr(layer, neuron))
        parts = {type(getattr(layer, name)) for conv, norm, _ in getattr(layer, 'folds', ()) for name in (conv, norm)}
        if type(layer) in FORMS and parts == {EventConv2d, nn.Identity}:
            layer.__class__ = FORMS[type(layer)]
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
