"""The exact inference form of a network: fewer layers, the same function.

Every BatchNorm behind a convolution becomes part of it; RepConv's first one, too: its border holds what the norm makes
of zero, so the norm's shift is the same at every pixel, and the depth-wise convolution makes a constant of it that ends
in the last bias; the padding is then zero. Queries, keys and values of the same spikes come from one product. Scale and
BatchNorm after an attention score are one scale and one bias. Spikes take the place of what they are made from.

Sums are rounded in another order: membranes agree to about 1e-6, and a spike whose membrane lies that close to its
threshold may differ.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Union

import torch
from torch import Tensor, cat, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .attention import AttentionRead, SpikeProjection, _FactorizedUnit, _Unit
from .blocks import SpikeConvBlock, SpikeTransformerBlock
from .layers import (
    ChannelConv,
    ChannelMLP,
    Downsample,
    PatchSplit,
    PointwiseConv,
    RepConv,
    SepConv,
    SpikeConv,
    over_images,
)
from .memory import MemoryRead

FOLDING = (Downsample, PatchSplit, SepConv, ChannelConv, ChannelMLP, SpikeConv)
JOINING = (_Unit, _FactorizedUnit, MemoryRead)


def affine(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Scale and shift of a BatchNorm in evaluation, one a channel.

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
    """Convolutions that hold the BatchNorms behind them; one that saw constants in training multiplied by up to 316."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        for name, weight in self.named_parameters():
            if weight.dtype == torch.float16 and not weight.is_meta and not weight.isfinite().all():
                raise OverflowError(
                    f'{type(self).__name__}.{name} has BatchNorms of all but constant channels folded into it and '
                    'leaves the range of float16: use bfloat16()'
                )
        return self


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
        constant = shift * conv.depthwise.weight.sum((1, 2, 3))
        bias = last.bias + last.weight[:, :, 0, 0] @ constant
        return conv.pointwise1.weight * scale.view(-1, 1, 1, 1), conv.depthwise.weight, last.weight, bias

    def merged(self) -> nn.Conv2d:
        """The same as one dense 3x3 convolution, on spikes: 1.5 times the multiply-adds, and what spikes drive."""
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
        return over_images(lambda i: self.pointwise2(self.depthwise(self.pointwise1(i))), x)


class DenseRepConv(Folded):
    """RepConv in evaluation as one dense 3x3 convolution."""

    def __init__(self, convs: Sequence[RepConv]) -> None:
        super().__init__()
        self.conv = FoldedRepConv(convs).merged()

    def forward(self, x: Tensor) -> Tensor:
        return over_images(self.conv, x)


class FoldedPointwise(Folded):
    """1x1 convolutions of the same input in evaluation, as one with a bias."""

    def __init__(self, convs: Sequence[PointwiseConv]) -> None:
        super().__init__()
        parts = [fold(conv.conv, conv.norm) for conv in convs]
        self.conv = nn.Conv2d(parts[0].in_channels, sum(part.out_channels for part in parts), 1)
        self.conv.weight = nn.Parameter(cat([part.weight for part in parts]))
        self.conv.bias = nn.Parameter(cat([part.bias for part in parts if part.bias is not None]))

    def forward(self, x: Tensor) -> Tensor:
        return over_images(self.conv, x)


Form = Union[type[FoldedRepConv], type[DenseRepConv]]


def folded(convs: Sequence[Any], form: Form) -> nn.Module:
    """Convolutions of the same input as one; ``form`` is that of RepConvs."""
    return FoldedPointwise(convs) if isinstance(convs[0], PointwiseConv) else form(convs)


class JointProjection(nn.Module):
    """Spikes of several projections of the same input, by one product and one neuron."""

    def __init__(self, projections: Sequence[SpikeProjection], form: Form) -> None:
        super().__init__()
        self.conv = folded([projection.conv for projection in projections], form)
        self.lif = projections[0].lif
        setattr(self.lif, 'inplace', True)  # noqa: B010  (not a tensor, which mypy takes it for)
        self.parts = len(projections)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.lif(self.conv(x)).chunk(self.parts, dim=2)


def _fold_norms(layer: Any) -> None:
    """The BatchNorms of a layer as part of its convolutions."""
    for conv, norm in layer.folds:
        if isinstance(getattr(layer, norm), _BatchNorm):
            setattr(layer, conv, fold(getattr(layer, conv), getattr(layer, norm)))
            setattr(layer, norm, nn.Identity())
    for name in ('lif2', *(('lif',) if isinstance(layer, PatchSplit) else ())):  # they see what a convolution just made
        if getattr(layer, name, None) is not None:
            getattr(layer, name).inplace = True


def _fold_read(read: Any) -> None:
    """Scale and BatchNorm of an attention read as one scale and one bias a channel."""
    read.lif.inplace = True
    if read.norm is None:
        return
    scale, shift = affine(read.norm)
    scale, read.norm = scale * read.scale, None
    del read.scale, read.shift
    for name, value in (('scale', scale), ('shift', shift)):
        read.register_buffer(name, value.detach().view(read.heads, 1, -1))


def _join(unit: Any, form: Form) -> None:
    """One product for the projections of the same spikes."""
    kind = type(unit)
    if kind is MemoryRead:
        unit.joint = JointProjection([unit.k, unit.v], form)
        unit.q.conv, unit.q.lif.inplace = form([unit.q.conv]), True
        del unit.k, unit.v
    elif kind is _FactorizedUnit:
        unit.joint = JointProjection([unit.q, *unit.k, *unit.v], form)
        del unit.q, unit.k, unit.v
    else:
        unit.joint = JointProjection([unit.q, unit.k, unit.v], form)
        del unit.q, unit.k, unit.v
    unit.proj = folded([unit.proj], form)


def _check_plain(model: nn.Module, layers: Sequence[nn.Module]) -> None:
    """Refuse weights that are not parameters; warn of hooks, whose modules go or whose tensors are overwritten."""
    inside = {id(module) for layer in layers for module in layer.modules()}
    hooked = []
    for name, module in model.named_modules():
        if id(module) not in inside:
            continue
        folds = isinstance(module, (nn.Conv2d, _BatchNorm))
        computed = [kind for kind in ('weight', 'bias') if folds and kind not in module._parameters]
        if computed:
            raise ValueError(
                f'{name}.{computed[0]} is no parameter but computed in each forward pass, by weight_norm or the like: '
                'make it one before fuse(), by torch.nn.utils.parametrize.remove_parametrizations, '
                'torch.nn.utils.remove_weight_norm, remove_spectral_norm or prune.remove'
            )
        if module._forward_hooks or module._forward_pre_hooks:
            hooked.append(name)
    if hooked:
        warnings.warn(
            f'fuse() of a model with forward hooks on {hooked}: in the fused copy these modules are gone, or their '
            'tensors are overwritten after the hook; register hooks on the copy, and clone() what they keep',
            stacklevel=4,  # past the decorator of fuse
        )


@torch.no_grad()
def fuse(model: nn.Module, merge: bool = False) -> nn.Module:
    """A copy of a model in its exact inference form, in evaluation; what is not of mmsvf stays as it is.

    Args:
        model: Any model with mmsvf's layers: a backbone, or a whole recogniser, segmentor or pose estimator.
        merge: Merge each RepConv into one dense 3x3 convolution: 1.5 times the multiply-adds and slower here,
            but driven by spikes alone, which is what neuromorphic hardware wants.

    Returns:
        The copy. It cannot be trained: nothing in it wants a gradient. Its neurons write their spikes over the
        membranes that they read: a forward hook on it that keeps a tensor keeps a ``clone()``.

    Raises:
        ValueError: there is nothing to fuse, a BatchNorm has no running statistics, or a weight is computed anew in
            each forward pass (torch.nn.utils: weight_norm, spectral_norm, parametrize, prune).
    """
    if any(getattr(module, 'joint', None) is not None for module in model.modules()):
        raise ValueError(f'{type(model).__name__} is fused already')
    form = DenseRepConv if merge else FoldedRepConv
    handlers: dict[type, Any] = {
        **dict.fromkeys(FOLDING, _fold_norms),
        **dict.fromkeys(JOINING, partial(_join, form=form)),
    }
    handlers[AttentionRead] = _fold_read
    chosen = [module for module in model.modules() if type(module) in handlers]
    if not chosen:
        raise ValueError(f'{type(model).__name__} has no layer of mmsvf.spiking that could be fused')
    _check_plain(model, chosen)
    model = copy.deepcopy(model).eval().requires_grad_(False)
    for module in [module for module in model.modules() if type(module) in handlers]:
        handlers[type(module)](module)
    return model.requires_grad_(False)


def compile_blocks(model: nn.Module) -> nn.Module:
    """Have torch.compile turn every block of a fused model into one graph, in place.

    Blocks of the same shape share their graph, so that less is compiled than of the model as a whole.

    Raises:
        ValueError: the model has no such block.
    """
    blocks = [m for m in model.modules() if isinstance(m, (Downsample, SpikeConvBlock, SpikeTransformerBlock))]
    if not blocks:
        raise ValueError(f'{type(model).__name__} has no block of mmsvf.spiking to compile')
    for block in blocks:
        block.compile(fullgraph=True, dynamic=False)
    return model
