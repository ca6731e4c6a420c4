"""Layers of the spike-driven transformer, on membranes and spikes of shape TBCHW.

Letters: ``T`` time step, ``B`` batch, ``C`` channels, ``H W`` space. Convolutions and norms see
``T * B`` images; only neurons (and joint attention) see time.

``folds`` lists by name what :func:`mmsvf.fuse` folds into one layer: a convolution, the norm behind it, and the neuron
that alone reads the result. Subclasses that change a method list their own.

Source: SpikeVideoFormer Eq. 1 and 2, Table 7; the graph of the authors' model.
"""

from __future__ import annotations

import math
from typing import Any, Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmsvf.arguments import check_count
from mmsvf.precision import refuse_overflow

from .neuron import IntegerLIF, NeuronSpec, build_neuron, sum_sub_steps, unroll_integer_spikes


def over_images(fn: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a stateless image function to a clip: ``(T, B, ...)`` as ``T * B`` images."""
    if x.shape[0] == 1:  # flatten() gives a single image strides by which torch does not see that channels are last
        return fn(x[0]).unsqueeze(0)
    return fn(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def pointwise(in_channels: int, out_channels: int, bias: bool = False) -> nn.Conv2d:
    """1x1 convolution."""
    return nn.Conv2d(in_channels, out_channels, 1, bias=bias)


class Folds(nn.Module):
    """A layer of which ``folds`` lists what goes into one convolution; folded, it refuses to leave float16's range."""

    folds: tuple[tuple[str, str | None, str | None], ...]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        if any(norm and isinstance(getattr(self, norm), nn.Identity) for _, norm, _ in self.folds):
            refuse_overflow(self, fn)
        return super()._apply(fn, recurse)


class Downsample(Folds):
    """[LIF] -> convolution -> BatchNorm. ``neuron=None`` for the first one, on real-valued input."""

    folds = (('conv', 'norm', None),)

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, neuron: NeuronSpec | None
    ) -> None:
        super().__init__()
        self.lif = None if neuron is None else build_neuron(neuron)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Membranes (or a real input) TBCHW to membranes (T, B, out_channels, H / stride, W / stride)."""
        x = x if self.lif is None else self.lif(x)
        return over_images(lambda i: self.norm(self.conv(i)), x)


class SepConv(Folds):
    """Separable convolution (Eq. 1): LIF -> 1x1 -> BN -> LIF -> depth-wise 7x7 -> 1x1 -> BN."""

    folds = (('pointwise1', 'norm1', 'lif2'), ('pointwise2', 'norm2', None))

    def __init__(self, channels: int, expansion: int = 2, neuron: NeuronSpec = 'official') -> None:
        super().__init__()
        check_count('expansion', expansion)
        hidden = channels * expansion
        self.lif1 = build_neuron(neuron)
        self.pointwise1 = pointwise(channels, hidden)
        self.norm1 = nn.BatchNorm2d(hidden)
        self.lif2 = build_neuron(neuron)
        self.depthwise = nn.Conv2d(hidden, hidden, 7, padding=3, groups=hidden, bias=False)
        self.pointwise2 = pointwise(hidden, channels)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Membranes TBCHW to membranes of the same shape."""
        x = over_images(lambda i: self.norm1(self.pointwise1(i)), self.lif1(x))
        x = over_images(self.depthwise, self.lif2(x))  # the spikes, twice as wide as the block, are free from here on
        return over_images(lambda i: self.norm2(self.pointwise2(i)), x)


class ChannelConv(Folds):
    """Channel convolution (Eq. 1): LIF -> 3x3 -> BN -> LIF -> 3x3 -> BN, with ``ratio`` times the width between."""

    folds = (('conv1', 'norm1', 'lif2'), ('conv2', 'norm2', None))

    def __init__(self, channels: int, ratio: int = 4, neuron: NeuronSpec = 'official') -> None:
        super().__init__()
        check_count('ratio', ratio)
        hidden = channels * ratio
        self.lif1 = build_neuron(neuron)
        self.conv1 = nn.Conv2d(channels, hidden, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(hidden)
        self.lif2 = build_neuron(neuron)
        self.conv2 = nn.Conv2d(hidden, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Membranes TBCHW to membranes of the same shape."""
        x = over_images(lambda i: self.norm1(self.conv1(i)), self.lif1(x))
        x = self.lif2(x)  # lets go of the membranes
        return over_images(lambda i: self.norm2(self.conv2(i)), x)


class ChannelMLP(Folds):
    """Channel MLP (Eq. 2): LIF -> linear -> BN -> LIF -> linear -> BN on every token."""

    folds = (('fc1', 'norm1', 'lif2'), ('fc2', 'norm2', None))

    def __init__(self, channels: int, ratio: float = 4, neuron: NeuronSpec = 'official') -> None:
        super().__init__()
        if not 1 <= channels * ratio < math.inf:
            raise ValueError(f'mlp_ratio={ratio!r}; a number that makes at least 1 of {channels} channels, such as 4')
        hidden = int(channels * ratio)
        self.lif1 = build_neuron(neuron)
        self.fc1 = pointwise(channels, hidden, bias=True)
        self.norm1 = nn.BatchNorm2d(hidden)
        self.lif2 = build_neuron(neuron)
        self.fc2 = pointwise(hidden, channels, bias=True)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Membranes TBCHW to membranes of the same shape."""
        x = over_images(lambda i: self.norm1(self.fc1(i)), self.lif1(x))
        x = self.lif2(x)  # lets go of the membranes
        return over_images(lambda i: self.norm2(self.fc2(i)), x)


class RepConv(nn.Module):
    """Re-parametrisable convolution and its BatchNorm: one dense 3x3 convolution at inference.

    1x1 -> BN -> depth-wise 3x3 -> 1x1 -> BN -> BN, no bias. The border of the depth-wise
    convolution is what the first BN makes of zero, by its running statistics and without a
    gradient (also in training, as in the authors' code), so that merging is exact.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.pointwise1 = pointwise(in_channels, in_channels)
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, groups=in_channels, bias=False)
        self.pointwise2 = pointwise(in_channels, out_channels)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.norm3 = nn.BatchNorm2d(out_channels)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The norm it ends with."""
        return self.norm3

    def forward(self, x: Tensor) -> Tensor:
        """Spikes TBCHW to membranes (T, B, out_channels, H, W)."""
        return over_images(self._images, x)

    def _images(self, x: Tensor) -> Tensor:
        x = self.norm1(self.pointwise1(x))
        # zero padding inside the convolution, plus what the border would have added: no padded copy
        weight = self.depthwise.weight
        border = self.depthwise(self.zero_border(*x.shape[-2:]).to(x.dtype))
        x = F.conv2d(x, weight, padding=1, groups=weight.shape[0]) + border
        return self.norm3(self.norm2(self.pointwise2(x)))

    @torch.no_grad()
    def zero_border(self, height: int, width: int) -> Tensor:
        """An image (1, C, height + 2, width + 2) that is zero but for its border: what ``norm1`` makes of zero."""
        norm = self.norm1
        assert norm.running_mean is not None and norm.running_var is not None
        value = norm.bias - norm.running_mean * norm.weight / torch.sqrt(norm.running_var + norm.eps)
        border = value.view(1, -1, 1, 1).repeat(1, 1, height + 2, width + 2)
        border[:, :, 1:-1, 1:-1] = 0
        return border


class PointwiseConv(nn.Module):
    """1x1 -> BN: what other spiking transformers have where Meta-SpikeFormer has a :class:`RepConv`."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = False) -> None:
        super().__init__()
        self.conv = pointwise(in_channels, out_channels, bias)
        self.norm = nn.BatchNorm2d(out_channels)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The norm it ends with."""
        return self.norm

    def forward(self, x: Tensor) -> Tensor:
        """Spikes TBCHW to membranes (T, B, out_channels, H, W)."""
        return over_images(lambda i: self.norm(self.conv(i)), x)


class PatchSplit(Folds):
    """3x3 without bias -> BN -> [LIF] -> [3x3 max-pooling of stride 2]: a stage of a convolutional patch splitting."""

    folds = (('conv', 'norm', 'lif'),)

    def __init__(self, in_channels: int, out_channels: int, pool: bool, neuron: NeuronSpec | None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.lif = None if neuron is None else build_neuron(neuron)
        self.pool = nn.MaxPool2d(3, 2, 1) if pool else None

    def forward(self, x: Tensor) -> Tensor:
        """A clip TBCHW to spikes, without neuron membranes, (T, B, out_channels, H, W); ``pool`` halves H and W."""
        x = over_images(lambda i: self.norm(self.conv(i)), x)
        x = x if self.lif is None else self.lif(x)
        return x if self.pool is None else over_images(self.pool, x)


def conv_of_spikes(conv: nn.Conv2d, spikes: Tensor, max_value: int | None = None) -> Tensor:
    """A convolution of spikes TBCHW; with ``max_value`` of integer spikes as that many binary sub-steps.

    The sum over the sub-steps is that of the integers; the bias counts once per time step.
    """
    if max_value is None:
        return over_images(conv, spikes)

    def without_bias(images: Tensor) -> Tensor:
        return F.conv2d(images, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)

    out = sum_sub_steps(over_images(without_bias, unroll_integer_spikes(spikes, max_value)), max_value)
    return out if conv.bias is None else out + conv.bias.view(-1, 1, 1)


class SpikeConv(Folds):
    """Neuron -> convolution -> [BatchNorm], with the binary sub-steps of an :class:`IntegerLIF` on request.

    Args:
        conv: Convolution.
        norm: Normalisation of images, or None.
        neuron: See :func:`mmsvf.spiking.build_neuron`.

    Attributes:
        unrolled: Whether integer spikes are handed on as binary sub-steps; the result is the same.
    """

    folds = (('conv', 'norm', None),)

    def __init__(self, conv: nn.Conv2d, norm: nn.Module | None = None, neuron: NeuronSpec = 'official') -> None:
        super().__init__()
        self.lif = build_neuron(neuron)
        self.conv = conv
        self.norm = norm
        self.unrolled = False

    def forward(self, x: Tensor) -> Tensor:
        """Membranes TBCHW to the membranes of the next layer."""
        steps = self.lif.max_value if self.unrolled and isinstance(self.lif, IntegerLIF) else None
        x = conv_of_spikes(self.conv, self.lif(x), steps)
        return x if self.norm is None else over_images(self.norm, x)


def unroll(model: nn.Module, mode: bool = True) -> nn.Module:
    """Have a model's :class:`SpikeConv` and other layers with ``unrolled`` run integer spikes as binary sub-steps."""
    for module in model.modules():
        if hasattr(module, 'unrolled'):
            setattr(module, 'unrolled', mode)  # noqa: B010  (not a tensor, which mypy takes it for)
    return model
