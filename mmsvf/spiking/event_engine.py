"""The engine of a fused model that skips silent neurons: which layers take events, and what they measured.

:mod:`.event_conv` has the convolution, :mod:`.event_kernels` its arithmetic.
"""

from __future__ import annotations

import functools
import importlib.util
import statistics
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from .event_conv import EventConv2d, Measured, fire_bytes
from .layers import ChannelConv, ChannelMLP, Downsample, SepConv, over_images


def _fired(conv: Any, neuron: Any, x: Tensor, reader: Any = None) -> Tensor:
    """Spikes TBCHW of a convolution and the neuron that alone reads its result, in one or one after the other.

    Bytes where the one ``reader`` of the spikes takes events.
    """
    shape = *x.shape[:2], conv.out_channels, *x.shape[3:]  # these layers keep the size
    as_bytes = isinstance(reader, EventConv2d) and reader.takes_events(shape, x)
    spikes = conv.fire(x, neuron, as_bytes)
    return neuron(over_images(conv, x)) if spikes is None else spikes


def _as_fused(layer: Any) -> bool:
    """Whether a layer's parts are still those that fuse left."""
    if torch.compiler.is_compiling() or _has_any_global_hook():
        return False
    parts = [getattr(layer, name) for conv, norm, _ in layer.folds for name in (conv, norm)]
    plain = all(type(part) in (EventConv2d, nn.Identity) for part in parts)
    return plain and not any(part._forward_hooks or part._forward_pre_hooks for part in parts)


class EventDownsample(Downsample):
    """A fused :class:`Downsample`."""

    def forward(self, x: Tensor) -> Tensor:
        """Membranes TBCHW to membranes (T, B, out_channels, H / stride, W / stride)."""
        if self.lif is None or not _as_fused(self):
            return super().forward(x)
        return over_images(self.conv, fire_bytes(self.lif, x, self.conv))


class EventSepConv(SepConv):
    """A fused :class:`SepConv`."""

    def forward(self, x: Tensor) -> Tensor:
        """Membranes TBCHW to membranes of the same shape."""
        if not _as_fused(self):
            return super().forward(x)
        x = _fired(self.pointwise1, self.lif2, fire_bytes(self.lif1, x, self.pointwise1))
        x = over_images(self.depthwise, x)
        return over_images(self.pointwise2, x)


class _TwoConvolutions(nn.Module):
    """Neuron -> convolution -> neuron -> convolution, named in ``folds``; the first neuron is ``lif1``."""

    folds: Any

    def forward(self, x: Tensor) -> Tensor:
        """Membranes TBCHW to membranes of the same shape."""
        if not _as_fused(self):
            return super().forward(x)
        (conv1, _, lif2), (conv2, _, _) = self.folds
        first, neuron, second = (getattr(self, name) for name in (conv1, lif2, conv2))
        x = _fired(first, neuron, fire_bytes(self.lif1, x, first), second)
        return over_images(second, x)


class EventChannelConv(_TwoConvolutions, ChannelConv):
    """A fused :class:`ChannelConv`."""


class EventChannelMLP(_TwoConvolutions, ChannelMLP):
    """A fused :class:`ChannelMLP`."""


FORMS: dict[type, type] = {
    Downsample: EventDownsample,
    SepConv: EventSepConv,
    ChannelConv: EventChannelConv,
    ChannelMLP: EventChannelMLP,
}


def use_events(model: nn.Module) -> None:
    """Have a fused model's convolutions choose between dense and events, in place; those in groups stay as they are.

    The model gets a method ``engine_report``: :func:`engine_report` of it.

    Raises:
        ImportError: numba is not installed.
    """
    if importlib.util.find_spec('numba') is None:
        raise ImportError("engine='events' needs numba: pip install numba, or take engine='dense'")
    for module in list(model.modules()):
        for name, conv in module.named_children():
            if EventConv2d.takes(conv):
                setattr(module, name, EventConv2d.of(conv))
    for layer in model.modules():
        if type(layer) in FORMS and _as_fused(layer):
            layer.__class__ = FORMS[type(layer)]
    model.engine_report = functools.partial(engine_report, model)  # type: ignore[assignment]


class LayerReport(NamedTuple):
    """What a layer does: its name, the shape of its input, rate, and the seconds of a call by either means."""

    name: str
    shape: tuple[int, ...]
    measured: Measured

    def line(self, width: int) -> str:
        """Its line of a table whose first column is ``width`` wide."""
        rate, dense, events = self.measured
        times = (
            '' if dense is None or events is None else f'{1e3 * dense:8.2f} {1e3 * events:9.2f} {events / dense:6.2f}'
        )
        kernel = 'events' if self.measured.by_events else 'dense'
        return f'{self.name:<{width}} {"x".join(map(str, self.shape)):>16} {rate:5.2f} {kernel:>6} {times}'.rstrip()

    def __str__(self) -> str:
        return self.line(len(self.name))


class EngineReport(list[LayerReport]):
    """Layers with what was measured; printed as a table."""

    def __str__(self) -> str:
        width = max([len(layer.name) for layer in self], default=0)
        head = f'{"layer":<{width}} {"input":>16} {"rate":>5} {"kernel":>6} {"dense ms":>8} {"events ms":>9} {"x":>6}'
        if not self:
            return 'nothing was measured: run the model in evaluation, in fp32 on CPU and without gradients'
        rate = statistics.mean(layer.measured.rate for layer in self)
        lines = [layer.line(width) for layer in self]
        return '\n'.join([head, *lines, f'{len(self)} layers and sizes, mean rate {rate:.2f}'])


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
