"""BatchNorms in evaluation as part of the convolutions before them.

RepConv's first one, too. The border of its depth-wise convolution is what the norm makes of zero, so the norm's shift
is the same at every pixel, border included: the depth-wise convolution turns it into a constant per channel, which
goes into the last bias, and pads with zeros.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, cat, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmsvf.precision import refuse_overflow

from .layers import PointwiseConv, RepConv, over_images


def affine(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Scale and shift of a BatchNorm in evaluation, per channel.

    Raises:
        ValueError: it keeps no running statistics.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError('a BatchNorm without running statistics (track_running_stats=False) cannot be folded')
    scale = torch.rsqrt(norm.running_var + norm.eps)
    scale = scale if norm.weight is None else scale * norm.weight
    return scale, (0 if norm.bias is None else norm.bias) - norm.running_mean * scale


def fold(conv: nn.Conv2d, *norms: _BatchNorm) -> nn.Conv2d:
    """The convolution with the BatchNorms that follow it."""
    fused = copy.deepcopy(conv)
    for norm in norms:
        scale, shift = affine(norm)
        fused.weight = nn.Parameter(fused.weight * scale.view(-1, 1, 1, 1))
        fused.bias = nn.Parameter(shift if fused.bias is None else fused.bias * scale + shift)
    return fused


class Folded(nn.Module):
    """Convolutions into which the BatchNorms behind them are folded.

    A BatchNorm that saw only constants in training multiplies by up to 1 / sqrt(eps) = 316, so float16 may overflow.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        refuse_overflow(self, fn)  # before any is written
        return super()._apply(fn, recurse)


def is_fused(model: nn.Module) -> bool:
    """Whether a model has layers of the inference form."""
    return any(isinstance(module, Folded) for module in model.modules())


class FoldedRepConv(Folded):
    """RepConv in evaluation: 1x1 -> depth-wise 3x3 with zero padding -> 1x1 with a bias.

    Args:
        convs: RepConvs of the same input, whose outputs are concatenated.
    """

    def __init__(self, convs: Sequence[RepConv]) -> None:
        super().__init__()
        parts = [self._parts(conv) for conv in convs]
        first, depthwise, last, bias = (cat(tensors).detach().clone() for tensors in zip(*parts))
        (out, inner), hidden = last.shape[:2], len(first)
        self.pointwise1 = nn.Conv2d(first.shape[1], hidden, 1, bias=False)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False)
        self.pointwise2 = nn.Conv2d(hidden, out, 1, groups=hidden // inner)
        self.pointwise1.weight, self.depthwise.weight = nn.Parameter(first), nn.Parameter(depthwise)
        self.pointwise2.weight, self.pointwise2.bias = nn.Parameter(last), nn.Parameter(bias)

    @staticmethod
    def _parts(conv: RepConv) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Weights of the three convolutions, and the last bias."""
        scale, shift = affine(conv.norm1)
        last = fold(conv.pointwise2, conv.norm2, conv.norm3)
        assert last.bias is not None
        # the shift is the same at every pixel, the border too: the depth-wise convolution makes a constant of it
        # in fp64, so that every machine rounds it alike
        constant = shift.double() * conv.depthwise.weight.double().sum((1, 2, 3))
        bias = (last.bias + last.weight[:, :, 0, 0].double() @ constant).to(shift)
        return conv.pointwise1.weight * scale.view(-1, 1, 1, 1), conv.depthwise.weight, last.weight, bias

    def merged(self) -> nn.Conv2d:
        """The same as one dense 3x3 convolution: 1.5 times the multiply-adds, but all of them on spikes."""
        groups = self.pointwise2.groups
        first, depthwise = self.pointwise1.weight[:, :, 0, 0], self.depthwise.weight[:, 0]
        weights = [
            torch.einsum('oh,hyx,hi->oiyx', last[:, :, 0, 0], middle, start)
            for last, middle, start in zip(
                self.pointwise2.weight.chunk(groups), depthwise.chunk(groups), first.chunk(groups)
            )
        ]
        conv = nn.Conv2d(first.shape[1], self.pointwise2.out_channels, 3, padding=1)
        conv.weight, conv.bias = nn.Parameter(cat(weights)), self.pointwise2.bias
        return conv

    def forward(self, x: Tensor) -> Tensor:
        """A clip TBCHW, with the channels of all ``convs`` side by side."""
        return over_images(lambda i: self.pointwise2(self.depthwise(self.pointwise1(i))), x)


class FoldedConv(Folded):
    """One convolution in place of several layers."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """A clip TBCHW, convolved."""
        return over_images(self.conv, x)


class ChannelAffine(nn.Module):
    """A scale and a shift per channel, in place: nothing else reads its input."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer('scale', scale.detach().view(-1, 1, 1))
        self.register_buffer('shift', shift.detach().view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W), overwritten by the result."""
        return x.mul_(self.scale).add_(self.shift)


def folded(convs: Sequence[Any], merge: bool) -> Folded:
    """One layer for convolutions of the same input; ``merge`` turns RepConvs into a dense 3x3 convolution."""
    if not isinstance(convs[0], PointwiseConv):
        factored = FoldedRepConv(convs)
        return FoldedConv(factored.merged()) if merge else factored
    parts = [fold(conv.conv, conv.norm) for conv in convs]
    conv = nn.Conv2d(parts[0].in_channels, sum(part.out_channels for part in parts), 1)
    conv.weight = nn.Parameter(cat([part.weight for part in parts]))
    conv.bias = nn.Parameter(cat([part.bias for part in parts if part.bias is not None]))
    return FoldedConv(conv)
