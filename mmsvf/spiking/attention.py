"""Spike-driven attention: two scores, seven space-time designs.

Letters: ``T`` time step, ``B`` batch, ``C`` channels, ``H W`` space, ``M`` heads, ``N`` tokens,
``D`` channels of a head (C = M * D).

Source: SpikeVideoFormer Sec. 3.3, 3.4, Table 1 and App. C; defaults from the authors' code. ``block`` is STAtten's
(arXiv 2409.19764).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor, cat, nn

from mmsvf.precision import FullPrecision

from .arguments import check_count, check_filled, check_heads
from .hamming import dot_attention, hamming_attention
from .layers import PointwiseConv, RepConv, over_images
from .neuron import IntegerLIF, NeuronSpec, build_neuron


class Score(NamedTuple):
    """The authors' defaults of a score function: scale, BatchNorm after it, threshold of its neuron."""

    attend: Any
    scale: float | None  # None: 1 / (2 * C), C being the full width, not the head's
    norm: bool
    threshold: float


SCORES = {
    'hamming': Score(hamming_attention, scale=None, norm=True, threshold=1.0),
    'dot': Score(dot_attention, scale=0.125, norm=False, threshold=0.5),
}

# STAtten's, by the height H of the feature map and the steps b of a block: 1/H for pictures, 1/(H^2 b) for events
SIZE_SCALES: dict[Any, Callable[[int, int], float]] = {'height': lambda h, b: h, 'volume': lambda h, b: h * h * b}

# tokens that attend to each other, one entry an attention read
SPACE_TIME = {
    'joint': ('clip',),
    'hierarchical': ('frame', 'location'),
    'factorized': ('frame', 'location'),
    'neuron': ('frame',),
    'spatial': ('frame',),
    'temporal': ('location',),
    'block': ('block',),
}


def split_heads(x: Tensor, tokens: str, heads: int, steps: int = 1) -> Tensor:
    """Spikes TBCHW as tokens: clip BM(TN)D, frame TBMND, location B(HW)MTD, blocks of steps (T/steps)BM(steps N)D."""
    x = x.permute(0, 1, 3, 4, 2).flatten(2, 3).unflatten(3, (heads, -1))  # T B N M D
    if tokens == 'clip':
        return x.permute(1, 3, 0, 2, 4).flatten(2, 3)
    if tokens == 'block':
        return x.unflatten(0, (-1, steps)).permute(0, 2, 4, 1, 3, 5).flatten(3, 4)
    return x.transpose(2, 3) if tokens == 'frame' else x.permute(1, 2, 3, 0, 4)


def merge_heads(x: Tensor, tokens: str, shape: tuple[int, int, int, int]) -> Tensor:
    """The inverse of :func:`split_heads`, with channels last in memory; ``shape`` is (T, B, H, W)."""
    t, b, h, w = shape
    if tokens == 'clip':
        x = x.unflatten(2, (t, h * w)).permute(2, 0, 3, 1, 4)
    elif tokens == 'block':  # blocks B M (steps N) D
        x = x.unflatten(3, (-1, h * w)).permute(0, 3, 1, 4, 2, 5).flatten(0, 1)
    else:
        x = x.transpose(2, 3) if tokens == 'frame' else x.permute(3, 0, 1, 2, 4)
    return x.reshape(t, b, h, w, -1).permute(0, 1, 4, 2, 3)


def count_keys(tokens: str, size: Sequence[int], steps: int = 1) -> int:
    """How many keys a query meets in a clip of ``size`` (T, H, W), with ``steps`` time steps a block.

    Raises:
        ValueError: ``size`` is not three positive integers, or one frame where a memory reads those before.
    """
    whole = isinstance(size, Sequence) and len(size) == 3 and all(type(n) is int and n > 0 for n in size)
    if not whole or (tokens == 'memory' and size[0] < 2):
        raise ValueError(
            f'reference_size={size!r}; (T, H, W) of the feature map, T of a memory 2 or more, such as (4, 30, 30)'
        )
    t, h, w = size
    return {'clip': t * h * w, 'frame': h * w, 'location': t, 'block': steps * h * w, 'memory': (t - 1) * h * w}[tokens]


PROJECTIONS: dict[str, Any] = {'rep': RepConv, 'pointwise': PointwiseConv}


class SpikeProjection(nn.Module):
    """RepConv (or 1x1) -> BN -> LIF: the query, key or value spikes of a clip."""

    def __init__(self, channels: int, neuron: NeuronSpec, projection: str = 'rep') -> None:
        super().__init__()
        self.conv = PROJECTIONS[projection](channels, channels)
        self.lif = build_neuron(neuron)
        if neuron is None or (isinstance(self.lif, IntegerLIF) and self.lif.max_value > 1):
            made_by = 'neuron=None' if neuron is None else f'IntegerLIF(max_value={self.lif.max_value})'
            raise ValueError(
                f'{made_by} cannot make attention spikes: queries, keys and values are 0/1; give the attention another '
                'neuron, as in attention=dict(neuron="official")'
            )

    def forward(self, x: Tensor) -> Tensor:
        return self.lif(self.conv(x))


class AttentionRead(FullPrecision):
    """Score -> scale -> [BN] -> LIF over one kind of token; options as in :class:`SpikeAttention`.

    Scores are fp32, and so are scale, BatchNorm and membranes behind them, in a model of half precision, too; spikes
    come in the type of the queries.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        tokens: str,
        score: str = 'hamming',
        scale: float | str | None = None,
        norm: bool | None = None,
        threshold: float | None = None,
        neuron: NeuronSpec = 'official',
        block_steps: int = 1,
        reference_tokens: int | None = None,
    ) -> None:
        super().__init__()
        if score not in SCORES:
            raise ValueError(f'score={score!r}; choose one of {sorted(SCORES)}')
        check_heads(heads, channels)
        default = SCORES[score]
        scale = default.scale if scale is None else scale
        self.block_steps = block_steps
        self.shrinks: str | None = None  # the scale's part that depends on the size of the feature map
        if scale in SIZE_SCALES:
            self.shrinks, scale = str(scale), 1.0
        elif scale is None or scale == 'width':
            scale = 1.0 / (2 * channels)
        elif scale == 'head':
            scale = 1.0 / (2 * (channels // heads))
        elif isinstance(scale, str) or not 0 < scale < math.inf:
            raise ValueError(
                f"scale={scale!r}; a number above 0, 'width' for 1/(2C), 'head' for 1/(2D), 'height' for 1/H or "
                "'volume' for 1/(H^2 block_steps)"
            )
        if self.shrinks and reference_tokens:
            raise ValueError(f'scale={self.shrinks!r} follows the size of the feature map already: no reference_size')
        self.reference_tokens = reference_tokens
        self.heads, self.tokens, self.score = heads, tokens, score
        self.scale: float | Tensor = float(scale)
        self.shift: Tensor | None = None  # of a fused model, with a scale a channel
        self.norm = nn.BatchNorm2d(channels) if (default.norm if norm is None else norm) else None
        self.lif = build_neuron(neuron, v_threshold=default.threshold if threshold is None else threshold)
        if self.norm is not None and neuron is not None:  # without one the projections refuse
            node: Any = self.lif
            # A score above its mean fires. From a bias of zero no neuron does while queries are sparse: the score is
            # largest where the query is silent, so its distribution ends shortly above the mean. The BatchNorms of the
            # convolution that follows then see constants, and each multiplies the gradient by up to 316 (D55).
            nn.init.constant_(self.norm.bias, node.firing_input())

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        t, b, _, h, w = q.shape
        if self.tokens == 'block' and t % self.block_steps:
            raise ValueError(
                f'block_steps={self.block_steps} does not divide the {t} time steps; choose a divisor of {t}'
            )
        tokens = [split_heads(x, self.tokens, self.heads, self.block_steps) for x in (q, k, v)]
        scale = self.scale if self.shrinks is None else self.scale / SIZE_SCALES[self.shrinks](h, self.block_steps)
        if self.reference_tokens is not None:  # a factor of exactly 1 at the reference size
            scale = scale * (self.reference_tokens / tokens[1].shape[-2])
        x = SCORES[self.score].attend(*tokens, scale=scale)
        x = merge_heads(x if self.shift is None else x.add_(self.shift), self.tokens, (t, b, h, w))
        return self.lif(x if self.norm is None else over_images(self.norm, x)).to(q.dtype)

    def extra_repr(self) -> str:
        scale = f'{self.scale:.6g}' if isinstance(self.scale, float) else 'a channel'
        reference = '' if self.reference_tokens is None else f', reference_tokens={self.reference_tokens}'
        return f'heads={self.heads}, tokens={self.tokens!r}, score={self.score!r}, scale={scale}{reference}'


class SpikeAttention(nn.Module):
    """Spike-driven self-attention on membranes TBCHW; the residual is the block's.

    Args:
        channels: Width C, a multiple of ``heads``.
        heads: Attention heads M.
        score: 'hamming' (SDHA, Eq. 9) or 'dot' (Meta-SpikeFormer's, Eq. 3).
        space_time: Which tokens meet (App. C). 'joint': all of a clip. 'hierarchical': those of
            a frame, then those of a location over time, each with its own projections.
            'factorized': both at once, with a shared query, concatenated. 'neuron': those of a
            frame; only membranes carry time. 'spatial': those of a frame, and membranes
            restart at each step, so nothing carries time. 'temporal': those of a location over
            time. 'block' (STAtten): those of ``block_steps`` consecutive frames; with as many as
            there are it is 'joint'. A backbone also takes a list of designs, in turn for its blocks.
        scale: Factor of the score: a number, 'width' for 1/(2C), 'head' for 1/(2D), or STAtten's
            'height' for 1/H and 'volume' for 1/(H^2 block_steps), H being the height of the
            feature map. None is the authors' choice: 1/(2C) for 'hamming', 0.125 for 'dot'.
        norm: BatchNorm between score and neuron. None is the authors' choice: with 'hamming',
            not with 'dot'. False gives the paper's equation; since a LIF at rest 0 that sees
            ``scale * x`` with threshold u fires as one that sees ``x`` with threshold
            u / scale, the scale is then part of the threshold.
        threshold: Threshold of the neuron after the score. None: 1.0 for 'hamming', 0.5 for 'dot'.
        block_steps: Time steps of a block; they divide the number of steps. For 'block' alone.
        projection: Convolutions of queries, keys, values and output: 'rep' (:class:`RepConv`) or 'pointwise' (1x1, as
            in Spikformer and STAtten; the output's has a bias). Parameters are those of Table 1 with 'pointwise': 4 C^2
            of one read, 8 C^2 'hierarchical', 7 C^2 'factorized'; 'rep' has 8, 16 and 16 C^2, and 36, 72 and 63 C^2
            once merged into 3x3 convolutions.
        pool: STAtten's for events: 3x3 max-pooling of queries, keys, values and input; the pooled input x gates what
            is read: y * x + x. What the output's convolution sees is then 0, 1 or 2. Not for 'factorized'.
        neuron: See :func:`mmsvf.spiking.neuron.build_neuron`; it fires 0 or 1, which queries, keys and values are.
            Neither None nor an IntegerLIF of more is taken. :mod:`mmsvf.spiking.hamming` says how to have them checked.
        reference_size: (T, H, W) of the feature map in training, for other sizes in use. None: a read is a sum over its
            keys, as the authors', which grows with their number. A size: it is their mean times their number at that
            size, where it equals the sum bit for bit. Not with scale 'height' or 'volume'.

    Raises:
        ValueError: an unknown score, design, projection, scale or size, or a width that the heads do not divide.
    """

    def __init__(
        self,
        channels: int,
        heads: int = 8,
        score: str = 'hamming',
        space_time: str = 'joint',
        scale: float | str | None = None,
        norm: bool | None = None,
        threshold: float | None = None,
        neuron: NeuronSpec = 'official',
        block_steps: int = 2,
        projection: str = 'rep',
        pool: bool = False,
        reference_size: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if projection not in PROJECTIONS:
            raise ValueError(f'projection={projection!r}; choose one of {sorted(PROJECTIONS)}')
        if pool and space_time == 'factorized':
            raise ValueError("pool=True is not defined for space_time='factorized'; choose another design")
        check_count('block_steps', block_steps)
        if space_time not in SPACE_TIME:
            raise ValueError(f'space_time={space_time!r}; choose one of {sorted(SPACE_TIME)}')
        self.space_time = space_time
        reads = SPACE_TIME[space_time]

        def read(tokens: str) -> AttentionRead:
            reference = None if reference_size is None else count_keys(tokens, reference_size, block_steps)
            return AttentionRead(channels, heads, tokens, score, scale, norm, threshold, neuron, block_steps, reference)

        self.units: nn.ModuleList
        if space_time == 'factorized':
            self.units = nn.ModuleList([_FactorizedUnit(channels, [read(t) for t in reads], neuron, projection)])
        else:
            self.units = nn.ModuleList([_Unit(channels, read(t), neuron, projection, pool) for t in reads])

    def forward(self, x: Tensor) -> Tensor:
        check_filled('SpikeAttention', x, 'time, batch, channels, height, width')
        t = x.shape[0]
        if self.space_time == 'spatial':
            x = x.reshape(1, -1, *x.shape[2:])
        for unit in self.units:
            x = unit(x)
        return x.reshape(t, -1, *x.shape[2:])


class _Unit(nn.Module):
    """LIF -> q, k, v -> read -> output: 4 C^2 weights of 1x1 convolutions, 8 C^2 of RepConvs (D22)."""

    def __init__(
        self, channels: int, read: AttentionRead, neuron: NeuronSpec, projection: str = 'rep', pool: bool = False
    ) -> None:
        super().__init__()
        self.lif = build_neuron(neuron)
        self.q, self.k, self.v = (SpikeProjection(channels, neuron, projection) for _ in range(3))
        self.joint: nn.Module | None = None  # of a fused model
        self.pool = nn.MaxPool2d(3, 1, 1) if pool else None
        self.read = read
        self.proj = _output(channels, channels, projection)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lif(x)
        q, k, v = (self.q(x), self.k(x), self.v(x)) if self.joint is None else self.joint(x)
        if self.pool is None:
            return self.proj(self.read(q, k, v))
        x, q, k, v = (over_images(self.pool, spikes) for spikes in (x, q, k, v))
        return self.proj(self.read(q, k, v) * x + x)


def _output(in_channels: int, out_channels: int, projection: str) -> nn.Module:
    """The convolution behind the reads."""
    return PROJECTIONS[projection](in_channels, out_channels, **(dict(bias=True) if projection == 'pointwise' else {}))


class _FactorizedUnit(nn.Module):
    """LIF -> shared q, a k and v for each read -> reads side by side -> output: 7 C^2, of RepConvs 16 C^2 (D22)."""

    def __init__(self, channels: int, reads: list[AttentionRead], neuron: NeuronSpec, projection: str = 'rep') -> None:
        super().__init__()
        self.lif = build_neuron(neuron)
        self.q = SpikeProjection(channels, neuron, projection)
        self.k = nn.ModuleList([SpikeProjection(channels, neuron, projection) for _ in reads])
        self.v = nn.ModuleList([SpikeProjection(channels, neuron, projection) for _ in reads])
        self.joint: nn.Module | None = None  # of a fused model
        self.reads = nn.ModuleList(reads)
        self.proj = _output(len(reads) * channels, channels, projection)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lif(x)
        n = len(self.reads)
        parts = [p(x) for p in (self.q, *self.k, *self.v)] if self.joint is None else self.joint(x)
        q, keys, values = parts[0], parts[1 : n + 1], parts[n + 1 :]
        return self.proj(cat([read(q, k, v) for read, k, v in zip(self.reads, keys, values)], dim=2))
