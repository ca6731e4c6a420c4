"""The exact inference form of a network: fewer layers, the same function.

Every BatchNorm behind a convolution becomes part of it (:mod:`.folding`). Queries, keys and values of the same spikes
come from one product. Scale and BatchNorm after an attention score are one scale and one shift. Spikes are written over
the membranes they come from.

Sums are rounded in another order: membranes agree to about 1e-6, and a spike whose membrane lies that close to its
threshold may differ.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections import Counter
from collections.abc import Sequence
from types import FunctionType
from typing import Any, Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmsvf.plug_ins import KeepsShape

from .attention import SpikeProjection, _FactorizedUnit, _Unit
from .attention_reads import AttentionRead
from .blocks import SpikeConvBlock, SpikeTransformerBlock
from .event_engine import use_events
from .folding import ChannelAffine, Folded, FoldedRepConv, affine, fold, folded  # noqa: F401
from .from_rest import FromRest
from .layers import Downsample, PointwiseConv, RepConv
from .memory import MemoryRead

logger = logging.getLogger(__name__)
ENGINES = 'dense', 'events'


def overwrite(neuron: Any) -> None:
    """Have a neuron write its spikes over the clip it reads, where no gradient is wanted."""
    if isinstance(neuron, FromRest):
        neuron.operator = f'{type(neuron).operator}_overwriting'


class JointProjection(nn.Module):
    """Spikes of several projections of the same input: by one product, and by one neuron if theirs are alike."""

    def __init__(self, projections: Sequence[Any], merge: bool) -> None:
        super().__init__()
        self.conv = folded([projection.conv for projection in projections], merge)
        neurons = [projection.lif for projection in projections]
        # a neuron of a user's own may look at more than one channel
        known = all(getattr(neuron, 'has_operator', False) for neuron in neurons)
        alike = known and len(set(map(repr, neurons))) == 1 and not list(neurons[0].parameters())
        self.lifs = nn.ModuleList(neurons[:1] if alike else neurons)
        for neuron in self.lifs:
            overwrite(neuron)
        self.parts = len(projections)

    def forward(self, x: Tensor) -> Sequence[Tensor]:
        """The spikes TBCHW of each projection, of the input TBCHW that they share."""
        x = self.conv(x)
        n = len(self.lifs)
        spikes = [lif(part) for lif, part in zip(self.lifs, x.chunk(n, dim=2))]
        return [part for several in spikes for part in several.chunk(self.parts // n, dim=2)]


class Joined(nn.Module):
    """A unit of attention with one projection where the plain one has several."""

    joins: tuple[str, ...] = ('q', 'k', 'v')

    def __init__(self, unit: nn.Module, merge: bool) -> None:
        nn.Module.__init__(self)
        parts = [p for name in self.joins for p in getattr(unit, name).modules() if isinstance(p, SpikeProjection)]
        others = {name: part for name, part in unit._modules.items() if name not in self.joins}
        self.__dict__.update(vars(unit), _modules=others)
        self.joint = JointProjection(parts, merge)

    def project(self, x: Tensor) -> Sequence[Tensor]:
        """Queries, keys and values, as the unit it was made of gives them."""
        return self.joint(x)


class JoinedUnit(Joined, _Unit):
    """Attention with one product for q, k and v."""


class JoinedFactorizedUnit(Joined, _FactorizedUnit):
    """Factorized attention with one product for q and the k and v of each read."""


class JoinedMemoryRead(Joined, MemoryRead):
    """Memory read with one product for k and v; q is of another frame."""

    joins = ('k', 'v')

    def project(self, spikes: Tensor) -> Sequence[Tensor]:
        """Queries of the last frame, keys and values of the earlier ones."""
        return (self.q(spikes[-1:]), *self.joint(spikes[:-1]))


def _fold_norms(layer: Any, merge: bool) -> nn.Module:
    """Fold what a layer lists in ``folds``, in place."""
    for conv, norm, neuron in layer.folds:
        if norm and isinstance(getattr(layer, norm), _BatchNorm):
            setattr(layer, conv, fold(getattr(layer, conv), getattr(layer, norm)))
            setattr(layer, norm, nn.Identity())
        overwrite(neuron and getattr(layer, neuron))
    return layer


def _fold_read(read: Any, merge: bool) -> nn.Module:
    """Scale and BatchNorm of an attention read as one scale and one shift per channel."""
    overwrite(read.lif)
    if read.norm is not None:
        scale, shift = affine(read.norm)
        if read.signed is None:  # a score of one's own need not be linear in its scale
            read.norm = ChannelAffine(scale, shift)
        else:
            read.norm, read.scale = ChannelAffine(scale * read.scale, shift), 1.0
    return read


# how a layer is folded whose class does not list ``folds``
FORMS: dict[type, Callable[[Any, bool], nn.Module]] = {
    **dict.fromkeys((RepConv, PointwiseConv), lambda conv, merge: folded([conv], merge)),
    AttentionRead: _fold_read,
    _Unit: JoinedUnit,
    _FactorizedUnit: JoinedFactorizedUnit,
    MemoryRead: JoinedMemoryRead,
}
PARTS = nn.Conv2d, _BatchNorm, nn.SyncBatchNorm


def _kind(module: nn.Module) -> Any:
    """The nearest of a module's base classes of which it is known how it folds."""
    return next((k for k in type(module).__mro__ if k in FORMS or k in PARTS or 'folds' in vars(k)), None)


def _as_written(module: nn.Module) -> bool:
    """Whether a module does what that class does: neither a subclass nor the module itself has other methods."""
    return all(
        getattr(getattr(module, name), '__func__', None) is method
        for name, method in vars(_kind(module) or object).items()
        if isinstance(method, FunctionType) and name not in ('__init__', 'extra_repr')
    )


def _folds(module: nn.Module) -> bool:
    """Whether a module is a layer that folds, and all its parts are as written."""
    return _kind(module) not in (None, *PARTS) and all(map(_as_written, module.modules()))


def _is_left(module: nn.Module) -> bool:
    """Whether a module of a fused model could have been folded, were it as written, or is a BatchNorm."""
    own = _kind(module) not in PARTS and not isinstance(module, Joined) and not _as_written(module)
    return own or isinstance(module, _BatchNorm)


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
        hooks = [hook for hook in module._forward_hooks.values() if not isinstance(hook, KeepsShape)]
        if hooks or module._forward_pre_hooks:
            hooked.append(name)
    if hooked:
        warnings.warn(
            f'fuse() of a model with forward hooks on {hooked}: in the fused copy these modules are gone, or their '
            'tensors are overwritten after the hook; register hooks on the copy, and clone() what they keep',
            stacklevel=4,  # past the decorator of fuse
        )


def _replace(module: nn.Module, merge: bool, done: dict[nn.Module, nn.Module]) -> nn.Module:
    """The fused form of a module and of those inside it; ``done`` keeps it, since a module may be in several places."""
    if module not in done:
        done[module] = module
        if _folds(module):
            done[module] = FORMS.get(_kind(module), _fold_norms)(module, merge)
        if _as_written(module):
            for part, child in done[module].named_children():
                setattr(done[module], part, _replace(child, merge, done))
    return done[module]


@torch.no_grad()
def fuse(model: nn.Module, merge: bool = False, engine: str = 'dense') -> nn.Module:
    """A copy of a model in its exact inference form, in evaluation; what is not of mmsvf stays as it is.

    Args:
        model: Any model with mmsvf's layers: a backbone, or a whole recogniser, segmentor or pose estimator.
        merge: Merge each RepConv into one dense 3x3 convolution: 1.5 times the multiply-adds and slower here,
            but driven by spikes alone, which is what neuromorphic hardware wants.
        engine: 'dense', or 'events': on CPU a convolution skips the inputs that are 0 where that measures faster
            (:mod:`mmsvf.spiking.event_engine`); ``print(model.engine_report())`` has what was measured.

    Returns:
        The copy. It cannot be trained: nothing in it wants a gradient. Its neurons write their spikes over the
        membranes that they read: a forward hook on it that keeps a tensor keeps a ``clone()``.

    Raises:
        ImportError: engine='events' without numba.
        ValueError: an unknown engine, there is nothing to fuse, a BatchNorm has no running statistics, or a weight is
            computed anew in each forward pass (torch.nn.utils: weight_norm, spectral_norm, parametrize, prune).

    Example:
        >>> from mmsvf import fuse
        >>> from mmsvf.spiking import SpikeTransformerBlock
        >>> block = SpikeTransformerBlock(64)
        >>> [sum(isinstance(part, nn.BatchNorm2d) for part in model.modules()) for model in (block, fuse(block))]
        [15, 0]
    """
    if engine not in ENGINES:
        raise ValueError(f'engine={engine!r}; choose one of {ENGINES}')
    if any(isinstance(module, (Folded, JointProjection, ChannelAffine)) for module in model.modules()):
        raise ValueError(f'{type(model).__name__} is fused already')
    chosen = [module for module in model.modules() if _folds(module)]
    if not chosen:
        raise ValueError(f'{type(model).__name__} has no layer of mmsvf.spiking that could be fused')
    _check_plain(model, chosen)
    model = copy.deepcopy(model).eval().requires_grad_(False)
    places = Counter(part for module in model.modules() for part in module._modules.values())
    model = _replace(model, merge, {})
    for part, count in places.items():
        if count > 1 and isinstance(part, FromRest):  # elsewhere it may read what is still needed
            part.__dict__.pop('operator', None)
    left = [f'{name} ({type(module).__name__})' for name, module in model.named_modules() if _is_left(module)]
    if left:
        logger.warning('fuse() leaves layers with methods of their own, or other BatchNorms: %s', ', '.join(left))
    if engine == 'events':
        use_events(model)
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
