"""Blocks of SpikeVideoFormer: membrane residuals around the layers (Eq. 1 and 2), TBCHW to TBCHW."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mmsvf.plug_ins import build, find

from .attention import SpikeAttention
from .layers import ChannelConv, ChannelMLP, SepConv
from .neuron import NeuronSpec
from .recompute import recomputed


def attention_options(attention: dict[str, Any] | None) -> dict[str, Any]:
    """What an option ``attention`` says, as a dict; None says nothing.

    Raises:
        ValueError: no dict, but the name of one's own attention, for instance.
    """
    if not isinstance(attention, Mapping | None):
        raise ValueError(
            f'attention={attention!r}; a dict of options, such as dict(score="dot"), or dict(type=...) for your own'
        )
    return dict(attention or {})


def attention_of_block(attention: dict[str, Any], index: int) -> dict[str, Any]:
    """Options of a block's attention; the designs of a list ``space_time`` take turns from block to block."""
    designs = attention.get('space_time')
    if not isinstance(designs, (list, tuple)):
        return attention
    if not designs:
        raise ValueError('space_time=[]; at least one design, or the name of one')
    return {**attention, 'space_time': designs[index % len(designs)]}


class SpikeConvBlock(nn.Module):
    """x + SepConv(x), then x + ChannelConv(x) (Eq. 1).

    Args:
        channels: Width C.
        expansion: Hidden width of the separable convolution over C.
        ratio: Hidden width of the channel convolution over C.
        neuron: See :func:`mmsvf.spiking.build_neuron`.
        with_cp: Recompute each branch in the backward pass (:func:`mmsvf.spiking.recompute.recomputed`).
    """

    def __init__(
        self,
        channels: int,
        expansion: int = 2,
        ratio: int = 4,
        neuron: NeuronSpec = 'official',
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.sep_conv = SepConv(channels, expansion, neuron)
        self.channel_conv = ChannelConv(channels, ratio, neuron)

    def last_norms(self) -> tuple[nn.BatchNorm2d, nn.BatchNorm2d]:
        """The norm each residual branch ends with."""
        return self.sep_conv.norm2, self.channel_conv.norm2

    def forward(self, x: Tensor) -> Tensor:
        """Membranes TBCHW to membranes of the same shape."""
        for branch in (self.sep_conv, self.channel_conv):
            x = x + (recomputed(branch, x) if self.with_cp else branch(x))
        return x


class SpikeTransformerBlock(nn.Module):
    """x + SpikeAttention(x), then x + ChannelMLP(x) (Eq. 2).

    Args:
        channels: Width C.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over C.
        neuron: Neuron of the MLP, and of the attention unless ``attention`` names its own.
        attention: Further arguments of :class:`SpikeAttention`, or of the ``type`` it names: one's own module of
            ``channels`` that takes membranes TBCHW to TBCHW (:mod:`mmsvf.plug_ins`). It is given ``num_heads`` and
            ``neuron`` if it takes them, and starts the block as the identity if its ``last_norm`` is a BatchNorm.
        with_cp: As in :class:`SpikeConvBlock`.

    Example:
        >>> from mmsvf.spiking import SpikeTransformerBlock
        >>> block = SpikeTransformerBlock(64, attention=dict(score='dot'))
        >>> block(torch.randn(4, 2, 64, 7, 7)).shape  # T B C H W
        torch.Size([4, 2, 64, 7, 7])
    """

    def __init__(
        self,
        channels: int,
        num_heads: int = 8,
        mlp_ratio: float = 4,
        neuron: NeuronSpec = 'official',
        attention: dict[str, Any] | None = None,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        attention = attention_options(attention)
        name = attention.pop('type', 'SpikeAttention')
        kind = find('attention type', name, {'SpikeAttention': SpikeAttention})
        taken = inspect.signature(kind).parameters
        defaults = {k: v for k, v in dict(num_heads=num_heads, neuron=neuron).items() if k in taken}
        self.attn = build(f'attention {name!r}', kind, channels, **{**defaults, **attention})
        self.mlp = ChannelMLP(channels, mlp_ratio, neuron)

    def last_norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The norm each residual branch ends with."""
        norm = getattr(self.attn, 'last_norm', None)
        return (self.mlp.norm2,) if norm is None else (norm, self.mlp.norm2)

    def check_causal(self) -> None:
        """Raise ValueError where an attention of one's own does not say that no frame reads later ones."""
        says = any(hasattr(self.attn, name) for name in ('check_causal', 'advance'))
        if not (isinstance(self.attn, SpikeAttention) or says):
            raise ValueError(
                f'{type(self.attn).__name__} may read frames that are still to come: one that does not has a method '
                '`check_causal`, which returns, or `advance` (docs/own_parts.md)'
            )

    def forward(self, x: Tensor) -> Tensor:
        """Membranes TBCHW to membranes of the same shape."""
        for branch in (self.attn, self.mlp):
            x = x + (recomputed(branch, x) if self.with_cp else branch(x))
        return x
