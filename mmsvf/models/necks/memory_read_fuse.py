"""Memory Read-and-Fuse neck for video segmentation (App. I, D15)."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmsvf.registry import MODELS
from mmsvf.spiking import MemoryRead
from mmsvf.spiking.neuron import NeuronSpec


@MODELS.register_module()
class MemoryReadFuse(BaseModule):
    """Reads the earlier frames' features into the last frame's, on each scale.

    A tuple of clips BCTHW becomes a tuple of images BCHW, so that any image decoder can follow.
    With one frame, or on images, it passes through.

    Args:
        in_channels: Channels of each scale, the backbone's ``out_channels``.
        heads: Attention heads; they divide each width.
        score: 'hamming' or 'dot'.
        neuron: See :func:`mmsvf.spiking.build_neuron`.
        read: False takes the last frame as it is: the network without its memory.
        init_cfg: MMEngine's initialisation config.

    Raises:
        ValueError: an unknown score, heads that do not divide a width, or other feature maps.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        heads: int = 8,
        score: str = 'hamming',
        neuron: NeuronSpec = 'official',
        read: bool = True,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        for channels in in_channels:
            if channels % heads:
                raise ValueError(f'heads={heads} does not divide the width {channels} of in_channels={in_channels}')
        self.in_channels = tuple(in_channels)
        self.reads = nn.ModuleList(MemoryRead(c, heads, score, neuron) for c in in_channels) if read else None

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The last frame's features, (B, C, H, W) a scale."""
        widths = tuple(x.shape[1] for x in inputs)
        if widths != self.in_channels or any(x.dim() not in (4, 5) for x in inputs):
            raise ValueError(
                f'MemoryReadFuse(in_channels={self.in_channels}) takes a tuple of that many clips (batch, channels, '
                f"time, height, width); got {[tuple(x.shape) for x in inputs]}: set in_channels to the backbone's "
                "out_channels and backbone.output='tuple'"
            )
        if inputs[0].dim() == 4:
            return tuple(inputs)
        if self.reads is None:
            return tuple(x[:, :, -1] for x in inputs)
        return tuple(read(x.permute(2, 0, 1, 3, 4)).squeeze(0) for read, x in zip(self.reads, inputs))

    def init_weights(self) -> None:
        """As ``BaseModule``'s; the last BatchNorm of each read stays at zero."""
        super().init_weights()
        for module in self.modules():
            if isinstance(module, MemoryRead):
                module.start_at_zero()
