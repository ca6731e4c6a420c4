"""Necks of the networks without spikes that human pose is compared with: features of frames are joined over time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import Tensor, nn

from mmsvf.arguments import check_count, check_filled, check_heads, renamed
from mmsvf.registry import MODELS


def last_clip(inputs: Sequence[Tensor], channels: int, name: str) -> Tensor:
    """The last feature map BCTHW of a tuple.

    Raises:
        ValueError: another rank or width.
    """
    x = inputs[-1]
    if isinstance(inputs, Tensor) or x.dim() != 5 or x.shape[1] != channels:
        raise ValueError(
            f'{name}(in_channels={channels}) takes a tuple whose last feature map is (batch, {channels} channels, '
            f'time, height, width); got {tuple(x.shape)}: set neck.in_channels to what the backbone delivers'
        )
    check_filled(name, x, 'batch, channels, time, height, width')
    return x


@MODELS.register_module()
class FrameGRU(BaseModule):
    """VIBE's temporal encoder (CVPR 2020): space mean -> GRU over time -> linear, added to the frame's feature.

    Args:
        in_channels: Channels of the backbone's last feature map.
        channels: Hidden width of the GRU.
        layers: Layers of the GRU.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self, in_channels: int = 2048, channels: int = 1024, layers: int = 2, init_cfg: dict | list | None = None
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = in_channels
        self.gru = nn.GRU(in_channels, channels, layers, batch_first=True)
        self.linear = nn.Linear(channels, in_channels)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor]:
        """A feature of each frame, as (B, C, T, 1, 1)."""
        x = last_clip(inputs, self.in_channels, 'FrameGRU').mean((3, 4)).transpose(1, 2)
        y = x + self.linear(self.gru(x)[0].relu())
        return (y.transpose(1, 2)[..., None, None],)


def positions(sizes: Sequence[int], channels: int) -> Tensor:
    """Sines and cosines of the position on each axis, (prod(sizes), channels); the axes share the channels evenly."""
    share = channels // len(sizes) // 2 * 2
    rates = 10000 ** (-torch.arange(0, share, 2) / share)
    parts = []
    for axis, size in enumerate(sizes):
        angles = torch.arange(size)[:, None] * rates
        shape = [1] * len(sizes) + [share]
        shape[axis] = size
        parts.append(torch.cat([angles.sin(), angles.cos()], 1).view(shape).expand(*sizes, share))
    table = torch.cat(parts, -1).flatten(0, -2)
    return nn.functional.pad(table, (0, channels - table.shape[1]))


@MODELS.register_module()
class SpaceTimeTransformer(BaseModule):
    """Softmax attention among all tokens of a clip, quadratic in time: it stands for GLoT (CVPR 2023).

    Each pixel of each frame's feature map is a token, with sines and cosines of its position. The layers are
    mmpretrain's.

    Args:
        in_channels: Channels of the backbone's last feature map.
        channels: Width of the tokens.
        layers: Transformer layers.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over the width.
        init_cfg: MMEngine's initialisation config.
    """

    @renamed(heads='num_heads')
    def __init__(
        self,
        in_channels: int = 2048,
        channels: int = 512,
        layers: int = 5,
        num_heads: int = 8,
        mlp_ratio: int = 4,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_heads(num_heads, channels)
        check_count('mlp_ratio', mlp_ratio)
        self.in_channels = in_channels
        self.project = nn.Linear(in_channels, channels)
        self.layers = nn.ModuleList(
            TransformerEncoderLayer(channels, num_heads, channels * mlp_ratio) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor]:
        """Feature maps of the same size, (B, channels, T, H, W)."""
        x = last_clip(inputs, self.in_channels, 'SpaceTimeTransformer')
        sizes = x.shape[2:]
        tokens = self.project(x.flatten(2).transpose(1, 2))
        tokens = tokens + positions(sizes, tokens.shape[-1]).to(tokens)
        for layer in self.layers:
            tokens = layer(tokens)
        return (self.norm(tokens).transpose(1, 2).unflatten(2, sizes),)
