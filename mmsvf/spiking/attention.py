"""Spike-driven self-attention: eight space-time designs.

Letters as in :mod:`mmsvf.spiking.attention_reads`. Source: SpikeVideoFormer Sec. 3.4, Table 1 and App. C.
D22 is a row of docs/faithfulness.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, cat, nn

from mmsvf.arguments import check_count, check_filled, renamed
from mmsvf.plug_ins import build, find

from .attention_reads import AttentionRead, count_keys, merge_heads, split_heads  # noqa: F401
from .layers import PointwiseConv, RepConv, over_images
from .neuron import IntegerLIF, NeuronSpec, Rectifier, build_neuron

# tokens that attend to each other, one entry per attention read
SPACE_TIME = {
    'joint': ('clip',),
    'causal': ('past',),
    'hierarchical': ('frame', 'location'),
    'factorized': ('frame', 'location'),
    'neuron': ('frame',),
    'spatial': ('frame',),
    'temporal': ('location',),
    'block': ('block',),
}

PROJECTIONS: dict[str, Any] = {'rep': RepConv, 'pointwise': PointwiseConv}


class SpikeProjection(nn.Module):
    """RepConv (or 1x1) -> BN -> LIF: the query, key or value spikes of a clip."""

    folds = (('conv', None, 'lif'),)

    def __init__(self, channels: int, neuron: NeuronSpec, projection: str = 'rep', signed: bool | None = None) -> None:
        super().__init__()
        self.conv = _projection(projection, channels, channels)
        self.lif = build_neuron(neuron)
        if neuron is None or (isinstance(self.lif, IntegerLIF) and self.lif.max_value > 1):
            made_by = 'neuron=None' if neuron is None else f'IntegerLIF(max_value={self.lif.max_value})'
            raise ValueError(
                f'{made_by} cannot make attention spikes: queries, keys and values are 0/1; give the attention another '
                'neuron, as in attention=dict(neuron="official")'
            )
        if signed and isinstance(self.lif, Rectifier):
            raise ValueError(
                'Rectifier cannot make the spikes of score="hamming": its queries, keys and values are 0/1; give the '
                'attention another neuron, as in attention=dict(neuron="official"), or another score, as in '
                'attention=dict(score="dot")'
            )

    def forward(self, x: Tensor) -> Tensor:
        """Spikes TBCHW to spikes of the same shape."""
        return self.lif(self.conv(x))


def _projection(projection: str, in_channels: int, out_channels: int, **options: Any) -> nn.Module:
    kind = find('projection', projection, PROJECTIONS)
    return build(f'projection {projection!r}', kind, in_channels, out_channels, channels=out_channels, **options)


def _output(in_channels: int, out_channels: int, projection: str) -> nn.Module:
    """The convolution behind the reads."""
    return _projection(projection, in_channels, out_channels, **(dict(bias=True) if projection == 'pointwise' else {}))


class _Unit(nn.Module):
    """LIF -> q, k, v -> read -> output: 4 C^2 weights of 1x1 convolutions, 8 C^2 of RepConvs (D22)."""

    def __init__(
        self, channels: int, read: AttentionRead, neuron: NeuronSpec, projection: str = 'rep', pool: bool = False
    ) -> None:
        super().__init__()
        self.lif = build_neuron(neuron)
        self.q, self.k, self.v = (SpikeProjection(channels, neuron, projection, read.signed) for _ in range(3))
        self.pool = nn.MaxPool2d(3, 1, 1) if pool else None
        self.read = read
        self.proj = _output(channels, channels, projection)

    def project(self, x: Tensor) -> Sequence[Tensor]:
        """Queries, keys and values of spikes."""
        return self.q(x), self.k(x), self.v(x)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lif(x)
        q, k, v = self.project(x)
        if self.pool is None:
            return self.proj(self.read(q, k, v))
        x, q, k, v = (over_images(self.pool, spikes) for spikes in (x, q, k, v))
        return self.proj(self.read(q, k, v) * x + x)


class _FactorizedUnit(nn.Module):
    """LIF -> shared q, a k and v for each read -> reads side by side -> output: 7 C^2, of RepConvs 16 C^2 (D22)."""

    def __init__(self, channels: int, reads: list[AttentionRead], neuron: NeuronSpec, projection: str = 'rep') -> None:
        super().__init__()
        self.lif = build_neuron(neuron)
        signed = reads[0].signed
        self.q = SpikeProjection(channels, neuron, projection, signed)
        self.k = nn.ModuleList([SpikeProjection(channels, neuron, projection, signed) for _ in reads])
        self.v = nn.ModuleList([SpikeProjection(channels, neuron, projection, signed) for _ in reads])
        self.reads = nn.ModuleList(reads)
        self.proj = _output(len(reads) * channels, channels, projection)

    def project(self, x: Tensor) -> Sequence[Tensor]:
        """Queries, the keys of each read and the values of each."""
        return [projection(x) for projection in (self.q, *self.k, *self.v)]

    def forward(self, x: Tensor) -> Tensor:
        q, *others = self.project(self.lif(x))
        n = len(self.reads)
        keys, values = others[:n], others[n:]
        return self.proj(cat([read(q, k, v) for read, k, v in zip(self.reads, keys, values)], dim=2))


class SpikeAttention(nn.Module):
    """Spike-driven self-attention on membranes TBCHW; the residual is the block's.

    Args:
        channels: Width C, a multiple of ``num_heads``.
        num_heads: Attention heads M.
        score: 'hamming' (SDHA, Eq. 9), 'dot' (Meta-SpikeFormer's, Eq. 3) or one's own function of queries, keys, values
            (..., N, D) and ``scale``, as :func:`mmsvf.spiking.hamming_attention`; see :mod:`mmsvf.plug_ins`. 'causal'
            takes the first two.
        space_time: Which tokens meet (App. C). 'joint': all of a clip. 'causal': those of a frame and of all before it,
            with the parameters of 'joint'; it can look at a video frame by frame (docs/live.md). 'hierarchical': those
            of a frame, then those of a location over time, each with its own projections. 'factorized': both at once,
            with a shared query, concatenated. 'neuron': those of a frame; only membranes carry time. 'spatial': those
            of a frame, and membranes restart at each step, so nothing carries time. 'temporal': those of a location
            over time. 'block' (STAtten): those of ``block_steps`` consecutive frames; with as many as there are it is
            'joint'. A backbone also takes a list of designs, in turn for its blocks.
        scale: Factor of the score: a number, 'width' for 1/(2C), 'head' for 1/(2D), or STAtten's
            'height' for 1/H and 'volume' for 1/(H^2 block_steps), H being the height of the
            feature map. None is the authors' choice: 1/(2C) for 'hamming', 0.125 for 'dot'.
        norm: BatchNorm between score and neuron. None is the authors' choice: with 'hamming', not with 'dot'. False
            gives the paper's equation; since a LIF at rest 0 that sees ``scale * x`` with threshold u fires as one that
            sees ``x`` with threshold u / scale, the scale is then part of the threshold.
        v_threshold: Threshold of the neuron after the score. None: 1.0 for 'hamming', 0.5 for 'dot'.
        block_steps: Time steps of a block; they divide the number of steps. For 'block' alone.
        window: How many frames a read of 'causal' sees, the present one included; None: all so far. For it alone.
        projection: Convolutions of queries, keys, values and output: 'rep' (:class:`RepConv`) or 'pointwise' (1x1, as
            in Spikformer and STAtten; the output's has a bias). Parameters are those of Table 1 with 'pointwise': 4 C^2
            of one read, 8 C^2 'hierarchical', 7 C^2 'factorized'; 'rep' has 8, 16 and 16 C^2, and 36, 72 and 63 C^2
            once merged into 3x3 convolutions. Or one's own module of (in_channels, out_channels).
        pool: STAtten's for events: 3x3 max-pooling of queries, keys, values and input; the pooled input x gates what
            is read: y * x + x. What the output's convolution sees is then 0, 1 or 2. Not for 'factorized'.
        neuron: See :func:`mmsvf.spiking.neuron.build_neuron`; it fires 0 or 1, which queries, keys and values are.
            Neither None nor an IntegerLIF of more is taken, and no Rectifier with 'hamming'.
            :mod:`mmsvf.spiking.hamming` says how to have them checked.
        reference_size: (T, H, W) of the feature map in training, for other sizes in use. None: a read is a sum over its
            keys, as the authors', which grows with their number. A size: it is their mean times their number at that
            size, where it equals the sum bit for bit. Not with scale 'height' or 'volume'. Of 'causal' it is the mean
            over the keys seen so far times T H W, which does not grow with the frames seen.

    Raises:
        ValueError: an unknown score, design, projection, scale or size, or a width that the heads do not divide.

    Example:
        >>> from mmsvf.spiking import SpikeAttention
        >>> attention = SpikeAttention(64, num_heads=8, score='hamming', space_time='joint')
        >>> attention(torch.randn(4, 2, 64, 7, 7)).shape  # T B C H W
        torch.Size([4, 2, 64, 7, 7])
    """

    per_frame = False  # whether every membrane restarts at each step

    @renamed(heads='num_heads', threshold='v_threshold')
    def __init__(
        self,
        channels: int,
        num_heads: int = 8,
        score: str = 'hamming',
        space_time: str = 'joint',
        scale: float | str | None = None,
        norm: bool | None = None,
        v_threshold: float | None = None,
        neuron: NeuronSpec = 'official',
        block_steps: int = 2,
        projection: str = 'rep',
        pool: bool = False,
        reference_size: Sequence[int] | None = None,
        window: int | None = None,
    ) -> None:
        super().__init__()
        if pool and space_time == 'factorized':
            raise ValueError("pool=True is not defined for space_time='factorized'; choose another design")
        check_count('block_steps', block_steps)
        if window is not None:
            check_count('window', window, ', or None to see all frames so far')
            if space_time != 'causal':
                raise ValueError(f"window={window} is of space_time='causal', not {space_time!r}; set window=None")
        if space_time not in list(SPACE_TIME):
            raise ValueError(f'space_time={space_time!r}; choose one of {sorted(SPACE_TIME)}')
        self.space_time, self.per_frame = space_time, space_time == 'spatial'
        reads = SPACE_TIME[space_time]

        def read(tokens: str) -> AttentionRead:
            reference = None if reference_size is None else count_keys(tokens, reference_size, block_steps)
            return AttentionRead(
                channels, num_heads, tokens, score, scale, norm, v_threshold, neuron, block_steps, reference, window
            )

        self.units: nn.ModuleList
        if space_time == 'factorized':
            self.units = nn.ModuleList([_FactorizedUnit(channels, [read(t) for t in reads], neuron, projection)])
        else:
            self.units = nn.ModuleList([_Unit(channels, read(t), neuron, projection, pool) for t in reads])

    @property
    def last_norm(self) -> nn.BatchNorm2d | None:
        """The BatchNorm that the branch ends with; None where a user's own projection has none."""
        unit: Any = self.units[-1]
        return getattr(unit.proj, 'last_norm', None)

    def forward(self, x: Tensor) -> Tensor:
        """Membranes TBCHW to membranes of the same shape.

        Raises:
            ValueError: an empty input, or a number of time steps that ``block_steps`` does not divide.
        """
        check_filled('SpikeAttention', x, 'time, batch, channels, height, width')
        t = x.shape[0]
        restarts = self.per_frame and t > 1  # no view of a single image (to_steps of from_rest.py)
        if restarts:
            x = x.reshape(1, -1, *x.shape[2:])
        for unit in self.units:
            x = unit(x)
        return x.reshape(t, -1, *x.shape[2:]) if restarts else x
