"""Spikformer (ICLR 2023, arXiv 2209.15425): spiking self-attention in blocks whose shortcuts add spikes.

Layers, order and biases are the authors'. Their parameters (29,689,384 for 8-512, 66,338,632 for 8-768, with 1000
classes) leave 6 C biases per block of width C: C of the attention's output, 4 C and C of the MLP's layers.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mmsvf.arguments import check_complete, renamed
from mmsvf.registry import MODELS
from mmsvf.spiking.blocks import SpikeTransformerBlock
from mmsvf.spiking.layers import PatchSplit
from mmsvf.spiking.neuron import NeuronSpec, build_neuron

from .clip_backbone import ClipBackbone
from .statten import Positioned, arch_settings

# blocks, width, heads
ARCHS: dict[str, dict[str, Any]] = {
    '8-384': dict(depth=8, embed_dim=384, num_heads=12),
    '8-512': dict(depth=8, embed_dim=512, num_heads=8),
    '8-768': dict(depth=8, embed_dim=768, num_heads=12),
}


@renamed(heads='num_heads')
def spikformer_settings(depth: int, embed_dim: int, num_heads: int = 8) -> tuple[int, int, int]:
    """Check an ``arch``; see :func:`arch_settings`."""
    return *arch_settings(depth, embed_dim), num_heads


class SpikformerBlock(SpikeTransformerBlock):
    """x + LIF(attention(x)), then x + LIF(MLP(x)), where Meta-SpikeFormer's block has a neuron before the layers.

    Args:
        channels: Width C.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over C.
        neuron: See :func:`mmsvf.spiking.build_neuron`.
        space_time: See :class:`mmsvf.spiking.SpikeAttention`.
    """

    def __init__(self, channels: int, num_heads: int, mlp_ratio: float, neuron: NeuronSpec, space_time: str) -> None:
        attention = dict(score='dot', space_time=space_time, projection='pointwise')
        super().__init__(channels, num_heads, mlp_ratio, neuron, attention)
        self.attn.units[0].lif = self.mlp.lif1 = nn.Identity()  # what comes in are sums of spikes
        self.attn_lif, self.mlp_lif = build_neuron(neuron), build_neuron(neuron)

    def forward(self, x: Tensor) -> Tensor:
        """Sums of spikes TBCHW to sums of spikes of the same shape."""
        x = x + self.attn_lif(self.attn(x))
        return x + self.mlp_lif(self.mlp(x))


@MODELS.register_module()
class Spikformer(ClipBackbone):
    """Spikformer as a backbone; its shortcuts add spikes, so what its layers see are small integers.

    Stages 0 to 3 are the patch splitting (strides 2, 4, 8, 16), of 1/8, 1/4, 1/2 and all of the width; stage 4 has the
    blocks. A forward starts from rest and leaves no state behind.

    Args:
        arch: '8-384', '8-512', '8-768' (blocks and width), or ``dict(depth=..., embed_dim=..., num_heads=...)``.
        in_channels: Channels of the input: 3 for frames, or an event stream's bins per step.
        space_time: 'neuron' attends within a frame, as published; 'joint' within the clip: the starred rows of the
            SpikeVideoFormer paper.
        mlp_ratio: Hidden width of the channel MLP over its width.
        neuron: See :func:`mmsvf.spiking.build_neuron`; between score and output its threshold is 0.5.
        **kwargs: Options of :class:`ClipBackbone`.

    Raises:
        ValueError: an unknown arch, option or value; the message has the allowed ones.
    """

    def __init__(
        self,
        arch: str | dict[str, Any] = '8-512',
        in_channels: int = 3,
        space_time: str = 'neuron',
        mlp_ratio: float = 4,
        neuron: NeuronSpec = 'official',
        **kwargs: Any,
    ) -> None:
        if isinstance(arch, str) and arch not in ARCHS:
            raise ValueError(
                f'arch={arch!r}; choose one of {sorted(ARCHS)} or a dict(depth=..., embed_dim=..., num_heads=...)'
            )
        if space_time not in ('neuron', 'joint'):
            raise ValueError(f"space_time={space_time!r}; choose 'neuron' (within a frame) or 'joint' (the clip)")
        settings = ARCHS[arch] if isinstance(arch, str) else arch
        check_complete(spikformer_settings, settings, 'arch')
        depth, width, num_heads = spikformer_settings(**settings)
        widths = (width // 8, width // 4, width // 2, width, width)
        super().__init__(widths, (2, 4, 8, 16, 16), in_channels, **kwargs)
        channels = (in_channels, *widths)
        splits = [PatchSplit(channels[i], channels[i + 1], True, neuron) for i in range(4)]
        position = PatchSplit(width, width, False, neuron)
        blocks = [SpikformerBlock(width, num_heads, mlp_ratio, neuron, space_time) for _ in range(depth)]
        self.stages = nn.ModuleList([*splits[:3], Positioned(splits[3], position), nn.Sequential(*blocks)])
        self._freeze()
