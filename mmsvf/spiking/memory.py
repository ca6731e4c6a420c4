"""Reading the memory of earlier frames into the last one, by spike-driven cross-attention.

Letters as in :mod:`mmsvf.spiking.layers`. Source: SpikeVideoFormer App. I; what it leaves open is in
docs/faithfulness.md, D15.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mmsvf.arguments import check_filled, renamed

from .attention import SpikeProjection
from .attention_reads import AttentionRead, count_keys
from .layers import RepConv
from .neuron import NeuronSpec, build_neuron


class MemoryRead(nn.Module):
    """Cross-attention from the last frame (query) to the earlier ones (key, value), added to the last frame.

    LIF along the clip -> q of the last frame, k and v of the earlier ones (RepConv -> BN -> LIF)
    -> score -> LIF -> RepConv -> BN, whose scale starts at zero: at first the last frame passes
    through unchanged. Linear in the number of frames.

    Args:
        channels: Width C, a multiple of ``num_heads``.
        num_heads: Attention heads.
        score: 'hamming' or 'dot'.
        neuron: See :func:`mmsvf.spiking.build_neuron`.
        scale: Factor of the score, as in :class:`SpikeAttention`.
        norm: BatchNorm between score and neuron, as there.
        v_threshold: Threshold of the neuron after the score, as there.
        reference_size: (T, H, W) of the feature map in training, the last frame counted, as there; the keys are
            those of the T - 1 earlier frames.

    Raises:
        ValueError: an unknown score, scale or size, or heads that do not divide the width.

    Example:
        >>> from mmsvf.spiking import MemoryRead
        >>> x = torch.randn(4, 2, 64, 7, 7)  # T B C H W
        >>> y = MemoryRead(64, num_heads=8)(x)
        >>> y.shape, torch.equal(y, x[-1:])  # before training
        (torch.Size([1, 2, 64, 7, 7]), True)
    """

    @renamed(heads='num_heads', threshold='v_threshold')
    def __init__(
        self,
        channels: int,
        num_heads: int = 8,
        score: str = 'hamming',
        neuron: NeuronSpec = 'official',
        scale: float | str | None = None,
        norm: bool | None = None,
        v_threshold: float | None = None,
        reference_size: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.lif = build_neuron(neuron)
        reference = None if reference_size is None else count_keys('memory', reference_size)
        read = AttentionRead(
            channels, num_heads, 'clip', score, scale, norm, v_threshold, neuron, reference_tokens=reference
        )
        self.q, self.k, self.v = (SpikeProjection(channels, neuron, signed=read.signed) for _ in range(3))
        self.read = read
        self.proj = RepConv(channels, channels)
        self.start_at_zero()

    def start_at_zero(self) -> None:
        """Have the last frame pass through unchanged, as before training."""
        nn.init.zeros_(self.proj.norm3.weight)
        nn.init.zeros_(self.proj.norm3.bias)

    def project(self, spikes: Tensor) -> Sequence[Tensor]:
        """Queries of the last frame, keys and values of the earlier ones."""
        memory = spikes[:-1]
        return self.q(spikes[-1:]), self.k(memory), self.v(memory)

    def forward(self, x: Tensor) -> Tensor:
        """Membranes TBCHW to the last frame's, 1BCHW. Without an earlier frame it passes through."""
        check_filled('MemoryRead', x, 'time, batch, channels, height, width')
        last = x[-1:]
        if len(x) == 1:
            return last
        return last + self.proj(self.read(*self.project(self.lif(x))))
