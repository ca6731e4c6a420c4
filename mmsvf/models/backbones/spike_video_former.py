"""SpikeVideoFormer backbone (ICML 2025, arXiv 2505.10352).

Letters: ``T`` time step, ``B`` batch, ``C`` channels, ``H W`` space. Outside BCTHW (video) or
BCHW (image); inside TBCHW. D1 is a row of docs/faithfulness.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mmsvf.arguments import check_complete, renamed
from mmsvf.registry import MODELS
from mmsvf.spiking.blocks import SpikeConvBlock, SpikeTransformerBlock, attention_of_block, attention_options
from mmsvf.spiking.layers import Downsample
from mmsvf.spiking.neuron import NeuronSpec
from mmsvf.spiking.recompute import recomputed

from .clip_backbone import ClipBackbone

DEPTHS = (1, 1, 2, 6, 2)
ARCHS: dict[str, dict[str, Any]] = {
    # Table 7; the code's last width of the small model is 360, the table's is 320 (D1)
    'small': dict(embed_dims=(32, 64, 128, 256, 360), depths=DEPTHS),
    'medium': dict(embed_dims=(48, 96, 192, 384, 480), depths=DEPTHS),
    'large': dict(embed_dims=(64, 128, 256, 512, 640), depths=DEPTHS),
    'x-large': dict(embed_dims=(96, 192, 384, 768, 960), depths=DEPTHS),
}
KERNELS = (7, 3, 3, 3, 3)
STRIDES = (2, 2, 2, 2, 1)
OUT_STRIDES = tuple(math.prod(STRIDES[: i + 1]) for i in range(len(STRIDES)))  # 2, 4, 8, 16, 16
CONV_STAGES = 3


def arch_settings(embed_dims: Sequence[int], depths: Sequence[int] = DEPTHS) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Check an ``arch``: a width and a number of blocks for each of the five stages."""
    for name, values in (('embed_dims', embed_dims), ('depths', depths)):
        if len(values) != len(STRIDES) or not all(isinstance(v, int) and v > 0 for v in values):
            raise ValueError(f'arch {name}={values!r}: five positive integers, one per stage, such as {ARCHS["small"]}')
    return tuple(embed_dims), tuple(depths)


class Stage(nn.Module):
    """Downsample -> blocks; TBCHW to TBCHW."""

    def __init__(self, downsample: Downsample, blocks: list[nn.Module], with_cp: bool) -> None:
        super().__init__()
        self.downsample = downsample
        self.blocks = nn.ModuleList(blocks)
        self.with_cp = with_cp

    def forward(self, x: Tensor) -> Tensor:
        """A clip TBCHW to membranes TBCHW, of the next width and size."""
        x = recomputed(self.downsample, x) if self.with_cp else self.downsample(x)
        for block in self.blocks:
            x = block(x)
        return x


@MODELS.register_module()
class SpikeVideoFormer(ClipBackbone):
    """Spike-driven video transformer: three convolutional stages, two attention stages.

    A forward starts from rest and leaves no state behind.

    Args:
        arch: 'small', 'medium', 'large', 'x-large', or ``dict(embed_dims=(...), depths=(...))``
            with five integers each. Strides of the stages are 2, 4, 8, 16, 16.
        in_channels: Channels of the input: 3 for frames, or an event stream's bins per step.
        num_heads: Attention heads; they divide the last two widths.
        mlp_ratio: Hidden width of the channel MLP over its width.
        attention: Further arguments of :class:`mmsvf.spiking.SpikeAttention`, such as
            ``dict(score='dot', space_time='hierarchical', scale=0.125, norm=False)``. With
            ``space_time='spatial'`` every membrane of the network restarts at each step; a list of
            designs alternates them from block to block.
        neuron: 'official', 'paper' or a dict; see :func:`mmsvf.spiking.build_neuron`.
        zero_init_residual: Have ``init_weights``, which MMEngine calls before training, start the last norm of each
            residual branch at zero: every block starts as the identity (as in mmpretrain's ResNet), so gradients do
            not grow from block to block. Weights that are loaded replace it.
        with_cp: Recompute each block in the backward pass instead of keeping its activations;
            gradients and statistics are the same.
        **kwargs: Options of :class:`ClipBackbone`: time_steps, keep_time, out_indices (0 to 4), output, frozen_stages,
            frozen_modules, norm_eval, init_cfg.

    Raises:
        ValueError: an unknown arch, option or value; the message has the allowed ones.

    Example:
        >>> from mmsvf.models import SpikeVideoFormer
        >>> backbone = SpikeVideoFormer(arch='small')
        >>> backbone(torch.randn(1, 3, 4, 64, 64)).shape  # a video, B C T H W
        torch.Size([1, 360, 4, 4, 4])
        >>> backbone(torch.randn(2, 3, 64, 64)).shape  # images
        torch.Size([2, 360, 4, 4])
    """

    @renamed(heads='num_heads')
    def __init__(
        self,
        arch: str | dict[str, Any] = 'large',
        in_channels: int = 3,
        num_heads: int = 8,
        mlp_ratio: float = 4,
        attention: dict[str, Any] | None = None,
        neuron: NeuronSpec = 'official',
        zero_init_residual: bool = True,
        with_cp: bool = False,
        **kwargs: Any,
    ) -> None:
        if isinstance(arch, str) and arch not in ARCHS:
            raise ValueError(f'arch={arch!r}; choose one of {sorted(ARCHS)} or a dict(embed_dims=..., depths=...)')
        settings = ARCHS[arch] if isinstance(arch, str) else arch
        check_complete(arch_settings, settings, 'arch')
        embed_dims, depths = arch_settings(**settings)
        super().__init__(embed_dims, OUT_STRIDES, in_channels, **kwargs)
        self.depths = depths
        attention = attention_options(attention)
        self.per_frame = attention.get('space_time') == 'spatial'

        before = sum(depths[:CONV_STAGES])

        def block(stage: int, index: int) -> nn.Module:
            if stage < CONV_STAGES:
                return SpikeConvBlock(embed_dims[stage], neuron=neuron, with_cp=with_cp)
            number = sum(depths[:stage]) - before + index
            own = attention_of_block(attention, number)
            return SpikeTransformerBlock(embed_dims[stage], num_heads, mlp_ratio, neuron, own, with_cp)

        widths = (in_channels, *embed_dims)
        self.stages = nn.ModuleList(
            Stage(
                Downsample(widths[i], widths[i + 1], KERNELS[i], STRIDES[i], neuron if i else None),
                [block(i, j) for j in range(depths[i])],
                with_cp,
            )
            for i in range(len(STRIDES))
        )
        self.zero_init_residual = zero_init_residual
        self._freeze()

    def init_weights(self) -> None:
        """As ``BaseModule``'s, whose ``init_cfg`` has the last word; before it every block becomes the identity."""
        if self.zero_init_residual and not self.is_init:
            for module in self.modules():
                if isinstance(module, (SpikeConvBlock, SpikeTransformerBlock)):
                    for norm in module.last_norms():
                        nn.init.zeros_(norm.weight)
        super().init_weights()

    def get_layer_depth(self, param_name: str, prefix: str = 'backbone.') -> tuple[int, int]:
        """Depth of a parameter and the number of layers, for layer-wise learning-rate decay (mmpretrain).

        A block is a layer, a down-sampling belongs to the first block behind it, what is not ours (a head) comes last.
        """
        layers = sum(self.depths) + 1
        if not param_name.startswith(prefix):
            return layers - 1, layers
        _, stage, part, *rest = param_name[len(prefix) :].split('.')
        before = sum(self.depths[: int(stage)])
        return before + (int(rest[0]) if part == 'blocks' else 0), layers
