"""STAtten: spiking transformer with block-wise space-time attention (CVPR 2025, arXiv 2409.19764).

Its backbone is the spike-driven transformer (arXiv 2307.01694): convolutional patch splitting, then blocks of one
width.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mmsvf.arguments import check_complete, renamed
from mmsvf.registry import MODELS
from mmsvf.spiking.blocks import SpikeTransformerBlock, attention_of_block, attention_options
from mmsvf.spiking.layers import PatchSplit, SpikeConv
from mmsvf.spiking.neuron import NeuronSpec

from .clip_backbone import ClipBackbone

# blocks and width
ARCHS: dict[str, dict[str, Any]] = {
    '2-256': dict(depth=2, embed_dim=256),
    '2-512': dict(depth=2, embed_dim=512),
    '8-384': dict(depth=8, embed_dim=384),
    '8-512': dict(depth=8, embed_dim=512),
    '8-768': dict(depth=8, embed_dim=768),
}
ATTENTION = dict(score='dot', space_time='block', block_steps=2, scale='height', projection='pointwise')


def arch_settings(depth: int, embed_dim: int) -> tuple[int, int]:
    """Check an ``arch``: the number of blocks, and their width, which a patch splitting halves three times."""
    if not (
        isinstance(depth, int) and depth > 0 and isinstance(embed_dim, int) and embed_dim > 0 and embed_dim % 8 == 0
    ):
        raise ValueError(f'arch depth={depth!r}, embed_dim={embed_dim!r}: positive integers, the width a multiple of 8')
    return depth, embed_dim


def patch_strides(pooling: str) -> tuple[int, ...]:
    """Strides of the four stages of a patch splitting and of the blocks; ``pooling`` says which stages halve."""
    if len(pooling) != 4 or set(pooling) - {'0', '1'}:
        raise ValueError(f"pooling={pooling!r}; four digits, 1 for each stage that halves the size, such as '1111'")
    strides = [2 ** pooling[: i + 1].count('1') for i in range(4)]
    return (*strides, strides[-1])


class Positioned(nn.Module):
    """The last stage of a patch splitting and its relative position embedding by a 3x3 convolution: x + position(x)."""

    def __init__(self, split: nn.Module, position: nn.Module) -> None:
        super().__init__()
        self.split, self.position = split, position

    def forward(self, x: Tensor) -> Tensor:
        """A clip TBCHW to membranes (Spikformer: sums of spikes) TBCHW of the next width and size."""
        x = self.split(x)
        return x + self.position(x)


@MODELS.register_module()
class STAtten(ClipBackbone):
    """Spike-driven transformer with STAtten: dot-product attention within blocks of time steps.

    Stages 0 to 3 are the patch splitting, of 1/8, 1/4, 1/2 and all of the width; stage 4 has the blocks. A forward
    starts from rest and leaves no state behind.

    Args:
        arch: '2-256', '2-512', '8-384', '8-512', '8-768' (blocks and width), or ``dict(depth=..., embed_dim=...)``.
        in_channels: Channels of the input: 3 for frames, 2 for an event stream's polarities.
        pooling: Which of the four stages halve the size: '1111' for ImageNet (stride 16) and events, '0011' for CIFAR.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the channel MLP over its width.
        attention: Arguments of :class:`mmsvf.spiking.SpikeAttention` in place of STAtten's: ``space_time='block'``,
            ``block_steps=2``, ``scale='height'``, ``score='dot'``, ``projection='pointwise'``. For events STAtten has
            ``scale='volume'`` and ``pool=True``.
        neuron: See :func:`mmsvf.spiking.build_neuron`.
        time_steps: How many times an image (BCHW) is shown; a video brings its own T. Both are multiples of
            ``attention.block_steps``.
        with_cp: Recompute stages and blocks in the backward pass instead of keeping their activations.
        **kwargs: Options of :class:`ClipBackbone`.

    Raises:
        ValueError: an unknown arch, option or value; the message has the allowed ones.
    """

    @renamed(heads='num_heads')
    def __init__(
        self,
        arch: str | dict[str, Any] = '8-512',
        in_channels: int = 3,
        pooling: str = '1111',
        num_heads: int = 8,
        mlp_ratio: float = 4,
        attention: dict[str, Any] | None = None,
        neuron: NeuronSpec = 'official',
        time_steps: int = 4,
        with_cp: bool = False,
        **kwargs: Any,
    ) -> None:
        if isinstance(arch, str) and arch not in ARCHS:
            raise ValueError(f'arch={arch!r}; choose one of {sorted(ARCHS)} or a dict(depth=..., embed_dim=...)')
        settings = ARCHS[arch] if isinstance(arch, str) else arch
        check_complete(arch_settings, settings, 'arch')
        depth, width = arch_settings(**settings)
        widths = (width // 8, width // 4, width // 2, width, width)
        super().__init__(widths, patch_strides(pooling), in_channels, time_steps, **kwargs)
        if with_cp:
            self.recomputed_stages = range(4)
        attention = {**ATTENTION, **attention_options(attention)}
        self.per_frame = attention['space_time'] == 'spatial'
        channels = (in_channels, *widths)
        splits = [
            PatchSplit(channels[i], channels[i + 1], pooling[i] == '1', neuron if i < 3 else None) for i in range(4)
        ]
        blocks = [
            SpikeTransformerBlock(width, num_heads, mlp_ratio, neuron, attention_of_block(attention, i), with_cp)
            for i in range(depth)
        ]
        conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        position = SpikeConv(conv, nn.BatchNorm2d(width), neuron)
        self.stages = nn.ModuleList([*splits[:3], Positioned(splits[3], position), nn.Sequential(*blocks)])
        self._freeze()
