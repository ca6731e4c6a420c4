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
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .attention import SpikeProjection, _FactorizedUnit, _Unit
from .attention_read import AttentionRead
from .blocks import SpikeConvBlock, SpikeTransformerBlock
from .folding import DenseRepConv, Folded, FoldedRepConv, Form, affine, fold, folded
from .layers import (
    ChannelConv,
    ChannelMLP,
    Downsample,
    PatchSplit,
    PointwiseConv,
    RepConv,
    SepConv,
    SpikeConv,
)
from .memory import MemoryRead
from .neuron import LIF, FromRest, IntegerLIF, LearnableLIF


class InPlace(FromRest):
    """A neuron whose spikes take the place of its input where no gradient is wanted."""

    def run_kernel(self, kernel: str, x_seq: Tensor, *arguments: Any) -> Tensor:
        if torch.is_grad_enabled():
            return super().run_kernel(kernel, x_seq, *arguments)
        done = super().run_kernel(f'{kernel}_', x_seq, *arguments)
        return x_seq if done is None else done


class InPlaceLIF(InPlace, LIF):
    """See :class:`InPlace`."""


class InPlaceLearnableLIF(InPlace, LearnableLIF):
    """See :class:`InPlace`."""


class InPlaceIntegerLIF(InPlace, IntegerLIF):
    """See :class:`InPlace`."""


IN_PLACE: dict[type, type] = {LIF: InPlaceLIF, LearnableLIF: InPlaceLearnableLIF, IntegerLIF: InPlaceIntegerLIF}


def in_place(neuron: Any) -> Any:
    """A neuron of the same state that writes over its input; a user's own class stays as it is."""
    neuron.__class__ = IN_PLACE.get(type(neuron), type(neuron))
    return neuron


class JointProjection(nn.Module):
    """Spikes of several projections of the same input, by one product and one neuron."""

    def __init__(self, projections: Sequence[Any], form: Form) -> None:
        super().__init__()
        self.conv = folded([projection.conv for projection in projections], form)
        self.lif = in_place(projections[0].lif)
        self.parts = len(projections)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.lif(self.conv(x)).chunk(self.parts, dim=2)


class Affine(nn.Module):
    """A BatchNorm in evaluation that is behind no convolution: a scale and a shift a channel."""

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        for name, value in zip(('scale', 'shift'), affine(norm)):
            self.register_buffer(name, value.detach().view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale)


class FusedUnit(_Unit):
    """An attention unit whose projections are one."""

    def __init__(self, unit: _Unit, form: Form) -> None:
        nn.Module.__init__(self)
        self.lif, self.pool, self.read = unit.lif, unit.pool, unit.read
        self.joint = JointProjection([unit.q, unit.k, unit.v], form)
        self.proj = folded([unit.proj], form)

    def project(self, x: Tensor) -> Sequence[Tensor]:
        return self.joint(x)


class FusedFactorizedUnit(_FactorizedUnit):
    """A factorized unit whose projections are one."""

    def __init__(self, unit: _FactorizedUnit, form: Form) -> None:
        nn.Module.__init__(self)
        self.lif, self.reads = unit.lif, unit.reads
        self.joint = JointProjection([unit.q, *unit.k, *unit.v], form)
        self.proj = folded([unit.proj], form)

    def project(self, x: Tensor) -> Sequence[Tensor]:
        return self.joint(x)


class FusedMemoryRead(MemoryRead):
    """A memory read whose keys and values are one product."""

    def __init__(self, memory: MemoryRead, form: Form) -> None:
        nn.Module.__init__(self)
        self.lif, self.read, self.q = memory.lif, memory.read, memory.q
        self.q.conv, self.q.lif = form([memory.q.conv]), in_place(memory.q.lif)
        self.joint = JointProjection([memory.k, memory.v], form)
        self.proj: nn.Module = form([memory.proj])  # type: ignore[assignment]

    def project(self, memory: Tensor) -> Sequence[Tensor]:
        return self.joint(memory)


def _fold_norms(layer: Any, form: Form) -> nn.Module:
    """The BatchNorms of a layer as part of its convolutions."""
    for conv, norm in layer.folds:
        if isinstance(getattr(layer, norm), _BatchNorm):
            setattr(layer, conv, fold(getattr(layer, conv), getattr(layer, norm)))
            setattr(layer, norm, nn.Identity())
    for name in layer.behind_convolutions:  # nobody else reads what they see
        if getattr(layer, name) is not None:
            in_place(getattr(layer, name))
    return layer


def _fold_read(read: Any, form: Form) -> nn.Module:
    """The BatchNorm of an attention read as a scale and a shift."""
    in_place(read.lif)
    if read.norm is not None:
        read.norm = Affine(read.norm)
    return read


# how a layer is fused, by its class; a subclass is, too, if it computes the same
FORMS: dict[type, Any] = {
    **dict.fromkeys((Downsample, PatchSplit, SepConv, ChannelConv, ChannelMLP, SpikeConv), _fold_norms),
    AttentionRead: _fold_read,
    _Unit: FusedUnit,
    _FactorizedUnit: FusedFactorizedUnit,
    MemoryRead: FusedMemoryRead,
}
FUSED = (Folded, JointProjection, Affine)
INSIDE = (SpikeProjection, RepConv, PointwiseConv)  # what a fused unit takes apart


def _form_of(module: nn.Module) -> Any:
    """How a layer is fused, or None."""
    return next((FORMS[kind] for kind in type(module).__mro__ if kind in FORMS), None)


def _own_methods(module: nn.Module, known: Sequence[type]) -> list[str]:
    """Methods by which a subclass of mmsvf's layer computes something else."""
    base = next((kind for kind in type(module).__mro__ if kind in known), None)
    names = ('forward', 'project', '_images', 'zero_border')
    return [n for n in names if base and getattr(type(module), n, None) is not getattr(base, n, None)]


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
    if any(isinstance(module, FUSED) for module in model.modules()):
        raise ValueError(f'{type(model).__name__} is fused already')
    form: Form = DenseRepConv if merge else FoldedRepConv
    chosen, left = _choose(model)
    if not chosen:
        raise ValueError(f'{type(model).__name__} has no layer of mmsvf.spiking that could be fused')
    if left:
        warnings.warn(
            f'fuse() leaves {left} as they are: these are subclasses with a computation of their own, which folding '
            'would leave out',
            stacklevel=3,  # past the decorator
        )
    _check_plain(model, [model.get_submodule(name) for name in chosen])
    model = copy.deepcopy(model).eval().requires_grad_(False)
    for name in reversed(chosen):  # what is inside a unit first
        layer = model.get_submodule(name)
        new = _form_of(layer)(layer, form)
        if not name:
            model = new
        elif new is not layer:
            model.set_submodule(name, new)
    return model.requires_grad_(False)


def _choose(model: nn.Module) -> tuple[list[str], list[str]]:
    """Names of the layers to fuse, from outside inwards, and of those that compute something of their own."""
    chosen: list[str] = []
    left: list[str] = []
    for name, module in model.named_modules():
        if _form_of(module) is None or any(name.startswith(f'{outer}.') for outer in left):
            continue
        parts = [module, *(part for part in module.modules() if isinstance(part, INSIDE))]
        own = any(_own_methods(part, [*FORMS, *INSIDE]) for part in parts)
        (left if own else chosen).append(name)
    return chosen, left


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
