"""Spikformer (ICLR 2023, arXiv 2209.15425): spikingjelly's model, with its attention over frames or whole clips."""

from __future__ import annotations

from typing import Any

from spikingjelly.activation_based import functional
from torch import Tensor, nn

from mmsvf.registry import MODELS
from mmsvf.spiking.arguments import check_arguments
from mmsvf.spiking.hamming import dot_attention
from mmsvf.spiking.neuron import NeuronSpec, build_neuron

from .clip_backbone import ClipBackbone
from .statten import Positioned, arch_settings

try:
    from spikingjelly.activation_based.model import spikformer as sj
except ImportError as error:
    raise ImportError('Spikformer needs spikingjelly 2.0: pip install spikingjelly==2.0.0') from error

# blocks, width, heads
ARCHS: dict[str, dict[str, Any]] = {
    '8-384': dict(depth=8, embed_dim=384, heads=12),
    '8-512': dict(depth=8, embed_dim=512, heads=8),
    '8-768': dict(depth=8, embed_dim=768, heads=12),
}
PATCH = 16


class JointSelfAttention(nn.Module):
    """spikingjelly's SpikingSelfAttention with its weights, over all tokens of a clip: TBC(HW) to TBC(HW)."""

    def __init__(self, frame: Any) -> None:
        super().__init__()
        self.heads, self.scale = frame.num_heads, frame.scale
        self.qkv_conv_bn, self.qkv_lif = frame.qkv_conv_bn, frame.qkv_lif
        self.attn_lif = frame.attn_lif
        self.proj_conv_bn, self.proj_lif = frame.proj_conv_bn, frame.proj_lif

    def forward(self, x: Tensor) -> Tensor:
        t = x.shape[0]
        qkv = self.qkv_lif(self.qkv_conv_bn(x))  # T B 3C N
        q, k, v = qkv.unflatten(2, (3, self.heads, -1)).permute(2, 1, 3, 0, 5, 4).flatten(3, 4)  # each B M (T N) D
        y = dot_attention(q, k, v, scale=self.scale).unflatten(2, (t, -1)).permute(2, 0, 1, 4, 3).flatten(2, 3)
        return self.proj_lif(self.proj_conv_bn(self.attn_lif(y)))


@MODELS.register_module()
class Spikformer(ClipBackbone):
    """Spikformer as a backbone; its shortcuts add spikes, so what its layers see are small integers.

    Stages 0 to 3 are the patch splitting (strides 2, 4, 8, 16), of 1/8, 1/4, 1/2 and all of the width; stage 4 has the
    blocks. A forward starts from rest and leaves no state behind.

    Args:
        arch: '8-384', '8-512', '8-768' (blocks and width), or ``dict(depth=..., embed_dim=..., heads=...)``.
        in_channels: Channels of the input: 3 for frames, or an event stream's bins a step.
        space_time: 'neuron' attends within a frame, as published; 'joint' within the clip: the starred rows of the
            SpikeVideoFormer paper.
        mlp_ratio: Hidden width of the channel MLP over its width.
        neuron: See :func:`mmsvf.spiking.build_neuron`; after the attention its threshold is 0.5.
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
                f'arch={arch!r}; choose one of {sorted(ARCHS)} or a dict(depth=..., embed_dim=..., heads=...)'
            )
        if space_time not in ('neuron', 'joint'):
            raise ValueError(f"space_time={space_time!r}; choose 'neuron' (within a frame) or 'joint' (the clip)")
        settings = dict(ARCHS[arch] if isinstance(arch, str) else arch)
        heads = settings.pop('heads', 8)
        check_arguments(arch_settings, settings, 'arch')
        depth, width = arch_settings(**settings)
        widths = (width // 8, width // 4, width // 2, width, width)
        super().__init__(widths, (2, 4, 8, 16, 16), in_channels, **kwargs)

        def build(**options: Any) -> nn.Module:
            return build_neuron(neuron, **options)

        model: Any = sj.Spikformer(
            in_channels=in_channels, num_classes=1, embed_dims=width, num_heads=heads, mlp_ratio=mlp_ratio,
            depths=depth, patch_size=PATCH, spiking_neuron=build,
        )  # fmt: skip
        for block in model.blocks:
            block.attn.attn_lif = build_neuron(neuron, v_threshold=0.5)
            if space_time == 'joint':
                block.attn = JointSelfAttention(block.attn)
        functional.set_step_mode(model, 'm')
        splits, position = model.patch_embed.stages, model.patch_embed.positional_encoding
        self.stages = nn.ModuleList([*splits[:3], Positioned(splits[3], position), nn.Sequential(*model.blocks)])
        self._freeze()
