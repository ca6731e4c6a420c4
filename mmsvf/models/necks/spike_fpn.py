"""Feature pyramid on spikes (docs/faithfulness.md, D14)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmsvf.registry import MODELS
from mmsvf.spiking import SpikeConv
from mmsvf.spiking.neuron import NeuronSpec


@MODELS.register_module()
class SpikeFPN(BaseModule):
    """FPN whose convolutions see spikes: neuron -> 1x1 -> top-down sum of membranes -> neuron -> 3x3.

    Args:
        in_channels: Channels of each scale, finest first.
        out_channels: Channels of each output.
        neuron: See :func:`mmsvf.spiking.build_neuron`; ``dict(type='IntegerLIF', max_value=4)``
            for the paper's "Integer-LIF 4", ``max_value=1`` for its "Integer-LIF 1".
        norm: Whether a BatchNorm follows each convolution; the code with LIF has none, the one
            with integer neurons has.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        neuron: NeuronSpec = 'official',
        norm: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.in_channels = tuple(in_channels)

        def layer(channels: int, kernel_size: int) -> SpikeConv:
            conv = nn.Conv2d(channels, out_channels, kernel_size, padding=kernel_size // 2)
            return SpikeConv(conv, nn.BatchNorm2d(out_channels) if norm else None, neuron)

        self.lateral = nn.ModuleList(layer(channels, 1) for channels in in_channels)
        self.output = nn.ModuleList(layer(out_channels, 3) for _ in in_channels)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Pyramid (B, out_channels, H, W) per scale, of features (B, C, H, W)."""
        widths = tuple(x.shape[1] for x in inputs)
        if widths != self.in_channels or any(x.dim() != 4 for x in inputs):
            raise ValueError(
                f'SpikeFPN(in_channels={self.in_channels}) takes a tuple of that many feature maps (batch, channels, '
                f"height, width); got {[tuple(x.shape) for x in inputs]}: set in_channels to the backbone's "
                'out_channels; a clip needs MemoryReadFuse before it'
            )
        levels = [lateral(x.unsqueeze(0)).squeeze(0) for lateral, x in zip(self.lateral, inputs)]
        for i in range(len(levels) - 1, 0, -1):
            levels[i - 1] = levels[i - 1] + F.interpolate(levels[i], levels[i - 1].shape[-2:], mode='nearest')
        return tuple(output(x.unsqueeze(0)).squeeze(0) for output, x in zip(self.output, levels))
