"""Semantic-FPN head on spikes (docs/faithfulness.md, D14), for mmsegmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import build_norm_layer
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from torch import Tensor, nn

from mmsvf.arguments import check_filled
from mmsvf.registry import MODELS
from mmsvf.spiking import IntegerLIF, SpikeConv, build_neuron
from mmsvf.spiking.layers import conv_of_spikes
from mmsvf.spiking.neuron import NeuronSpec


@MODELS.register_module()
class SpikeFPNHead(BaseDecodeHead):
    """Each level: (neuron -> 3x3 -> norm -> x2)*; sum at the finest level; neuron -> dropout -> 1x1.

    Args:
        feature_strides: Strides of the levels, finest first; the ratios count.
        neuron: As in :class:`SpikeFPN`.
        norm_cfg: Normalisation after the 3x3 convolutions.
        **kwargs: mmsegmentation's ``BaseDecodeHead`` (in_channels, in_index, channels,
            num_classes, dropout_ratio, loss_decode, align_corners).

    Raises:
        ValueError: strides that do not fit the levels.
    """

    def __init__(
        self,
        feature_strides: Sequence[int],
        neuron: NeuronSpec = 'official',
        norm_cfg: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        norm_cfg = norm_cfg or dict(type='BN')
        super().__init__(input_transform='multiple_select', norm_cfg=norm_cfg, act_cfg=None, **kwargs)
        ratios = [stride // feature_strides[0] for stride in feature_strides]
        if len(feature_strides) != len(self.in_channels) or any(ratio & (ratio - 1) for ratio in ratios):
            raise ValueError(
                f'feature_strides={list(feature_strides)} for in_channels={list(self.in_channels)}: one per level, '
                'each a power of two times the first'
            )

        def layer(in_channels: int) -> SpikeConv:
            conv = nn.Conv2d(in_channels, self.channels, 3, padding=1, bias=False)
            return SpikeConv(conv, build_norm_layer(norm_cfg, self.channels)[1], neuron)

        self.scale_heads = nn.ModuleList(
            nn.ModuleList(layer(self.channels if j else channels) for j in range(max(1, ratio.bit_length() - 1)))
            for channels, ratio in zip(self.in_channels, ratios)
        )
        self.doubled = [ratio > 1 for ratio in ratios]
        self.lif = build_neuron(neuron)
        self.unrolled = False

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits (B, num_classes, H, W) at the finest level."""
        for x in inputs:
            check_filled('SpikeFPNHead', x, 'batch, channels, height, width')
        levels = self._transform_inputs(inputs)
        total = None
        for x, layers, doubled in zip(levels, self.scale_heads, self.doubled):
            for layer in layers.children():
                x = layer(x.unsqueeze(0)).squeeze(0)
                if doubled:
                    x = resize(x, scale_factor=2, mode='bilinear', align_corners=self.align_corners)
            if total is not None and x.shape != total.shape:  # sizes that are no multiple of the strides
                x = resize(x, total.shape[2:], mode='bilinear', align_corners=self.align_corners)
            total = x if total is None else total + x
        assert total is not None
        return self.cls_seg(self.lif(total.unsqueeze(0)).squeeze(0))

    def cls_seg(self, feat: Tensor) -> Tensor:
        """Classify each pixel's spikes."""
        if self.dropout is not None:
            feat = self.dropout(feat)
        steps = self.lif.max_value if self.unrolled and isinstance(self.lif, IntegerLIF) else None
        return conv_of_spikes(self.conv_seg, feat.unsqueeze(0), steps).squeeze(0)
