"""Memory Read-and-Fuse neck for video segmentation (App. I; docs/faithfulness.md, D15)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmsvf.arguments import check_arguments, check_filled, renamed
from mmsvf.registry import MODELS
from mmsvf.spiking import MemoryRead


@MODELS.register_module()
class MemoryReadFuse(BaseModule):
    """Reads the earlier frames' features into the last frame's, on each scale.

    A tuple of clips BCTHW becomes a tuple of images BCHW, so that any image decoder can follow.
    With one frame, or on images, it passes through.

    Args:
        in_channels: Channels of each scale, the backbone's ``out_channels``.
        num_heads: Attention heads; they divide each width.
        read: False takes the last frame as it is: the network without its memory.
        reference_size: (T, H, W) of each scale's feature map in training, finest first, for other sizes in use:
            ``[(4, 240, 240), (4, 120, 120), (4, 60, 60), (4, 30, 30)]`` for clips of 4 frames of 480 x 480 at strides
            2, 4, 8, 16; see :class:`mmsvf.spiking.SpikeAttention`. None: sums over the keys.
        init_cfg: MMEngine's initialisation config.
        **options: Options of each :class:`mmsvf.spiking.MemoryRead`: score, scale, norm, v_threshold, neuron.

    Raises:
        ValueError: an unknown option or value, heads that do not divide a width, not one ``reference_size`` per scale,
            or other feature maps.

    Example:
        >>> from mmsvf.models import MemoryReadFuse
        >>> scales = torch.randn(1, 32, 4, 16, 16), torch.randn(1, 64, 4, 8, 8)  # B C T H W
        >>> [tuple(x.shape) for x in MemoryReadFuse(in_channels=(32, 64))(scales)]
        [(1, 32, 16, 16), (1, 64, 8, 8)]
    """

    @renamed(heads='num_heads', threshold='v_threshold')
    def __init__(
        self,
        in_channels: Sequence[int],
        num_heads: int = 8,
        read: bool = True,
        reference_size: Sequence[Sequence[int]] | None = None,
        init_cfg: dict | list | None = None,
        **options: Any,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_arguments(MemoryRead, options, 'MemoryReadFuse')
        sizes = [None] * len(in_channels) if reference_size is None else reference_size
        if not isinstance(sizes, Sequence) or len(sizes) != len(in_channels) or isinstance(sizes[0], int):
            raise ValueError(
                f'reference_size={reference_size!r} for in_channels={list(in_channels)}: one (T, H, W) per scale, '
                'such as [(4, 240, 240), (4, 120, 120), (4, 60, 60), (4, 30, 30)]'
            )
        self.in_channels = tuple(in_channels)
        self.reads = None
        if read:
            self.reads = nn.ModuleList(
                MemoryRead(c, num_heads, reference_size=size, **options) for c, size in zip(in_channels, sizes)
            )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The last frame's features, (B, C, H, W) per scale."""
        widths = tuple(x.shape[1] for x in inputs)
        if widths != self.in_channels or any(x.dim() not in (4, 5) for x in inputs):
            raise ValueError(
                f'MemoryReadFuse(in_channels={self.in_channels}) takes a tuple of that many clips (batch, channels, '
                f"time, height, width); got {[tuple(x.shape) for x in inputs]}: set in_channels to the backbone's "
                "out_channels and backbone.output='tuple'"
            )
        for x in inputs:
            check_filled('MemoryReadFuse', x, 'batch, channels, time of a clip, height, width')
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
