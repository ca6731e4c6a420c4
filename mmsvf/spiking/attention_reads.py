"""What an attention reads: which tokens meet, by which score, and the neuron that fires at it.

Letters: ``T`` time step, ``B`` batch, ``C`` channels, ``H W`` space, ``M`` heads, ``N`` tokens,
``D`` channels of a head (C = M * D).

Source: SpikeVideoFormer Sec. 3.3, App. C; defaults from the authors' code. ``block`` is STAtten's (arXiv 2409.19764).
D55 is a row of docs/faithfulness.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from mmsvf.arguments import check_heads, is_number, renamed
from mmsvf.plug_ins import check_shape, find
from mmsvf.precision import FullPrecision

from .causal import Past, causal_attention, no_past
from .hamming import dot_attention, hamming_attention
from .layers import over_images
from .neuron import FromRest, NeuronSpec, build_neuron


class Score(NamedTuple):
    """A score function, whether it takes queries and keys as -1 and 1, and the authors' scale, BatchNorm, threshold."""

    attend: Any
    signed: bool | None  # None: neither, a user's own
    scale: float | None  # None: 1 / (2 * C), C being the full width, not the head's
    norm: bool
    v_threshold: float


SCORES = {
    'hamming': Score(hamming_attention, signed=True, scale=None, norm=True, v_threshold=1.0),
    'dot': Score(dot_attention, signed=False, scale=0.125, norm=False, v_threshold=0.5),
}

# STAtten's, by the height H of the feature map and the steps b of a block: 1/H for pictures, 1/(H^2 b) for events
SIZE_SCALES: dict[Any, Callable[[int, int], float]] = {'height': lambda h, b: h, 'volume': lambda h, b: h * h * b}


def split_heads(x: Tensor, tokens: str, num_heads: int, steps: int = 1) -> Tensor:
    """Spikes TBCHW as tokens: clip BM(TN)D, frame and past TBMND, location B(HW)MTD, blocks (T/steps)BM(steps N)D."""
    x = x.permute(0, 1, 3, 4, 2).flatten(2, 3).unflatten(3, (num_heads, -1))  # T B N M D
    if tokens == 'clip':
        return x.permute(1, 3, 0, 2, 4).flatten(2, 3)
    if tokens == 'block':
        return x.unflatten(0, (-1, steps)).permute(0, 2, 4, 1, 3, 5).flatten(3, 4)
    return x.transpose(2, 3) if tokens in ('frame', 'past') else x.permute(1, 2, 3, 0, 4)


def merge_heads(x: Tensor, tokens: str, shape: tuple[int, int, int, int]) -> Tensor:
    """The inverse of :func:`split_heads`, with channels last in memory; ``shape`` is (T, B, H, W)."""
    t, b, h, w = shape
    if tokens == 'clip':
        x = x.unflatten(2, (t, h * w)).permute(2, 0, 3, 1, 4)
    elif tokens == 'block':  # blocks B M (steps N) D
        x = x.unflatten(3, (-1, h * w)).permute(0, 3, 1, 4, 2, 5).flatten(0, 1)
    else:
        x = x.transpose(2, 3) if tokens in ('frame', 'past') else x.permute(3, 0, 1, 2, 4)
    return x.reshape(t, b, h, w, -1).permute(0, 1, 4, 2, 3)


def count_keys(tokens: str, size: Sequence[int], steps: int = 1) -> int:
    """How many keys a query meets in a clip of ``size`` (T, H, W), with ``steps`` time steps per block.

    Raises:
        ValueError: ``size`` is not three positive integers, or has one frame where a memory reads the earlier ones.
    """
    whole = isinstance(size, Sequence) and len(size) == 3 and all(type(n) is int and n > 0 for n in size)
    if not whole or (tokens == 'memory' and size[0] < 2):
        raise ValueError(
            f'reference_size={size!r}; (T, H, W) of the feature map, T of a memory 2 or more, such as (4, 30, 30)'
        )
    t, h, w = size
    clip = t * h * w
    keys = dict(clip=clip, past=clip, frame=h * w, location=t, block=steps * h * w, memory=(t - 1) * h * w)
    return keys[tokens]


class AttentionRead(FullPrecision):
    """Score -> scale -> [BN] -> LIF over one kind of token; options as in :class:`SpikeAttention`.

    Scores are fp32, and so are scale, BatchNorm and membranes behind them, in a model of half precision, too; spikes
    come in the type of the queries.
    """

    @renamed(heads='num_heads', threshold='v_threshold')
    def __init__(
        self,
        channels: int,
        num_heads: int,
        tokens: str,
        score: str | Callable[..., Tensor] = 'hamming',
        scale: float | str | None = None,
        norm: bool | None = None,
        v_threshold: float | None = None,
        neuron: NeuronSpec = 'official',
        block_steps: int = 1,
        reference_tokens: int | None = None,
        window: int | None = None,
    ) -> None:
        super().__init__()
        default = find('score', score, SCORES)
        if not isinstance(default, Score):  # the function itself, a user's own or one of these
            known = {each.attend: each for each in SCORES.values()}
            default = known.get(default) or Score(default, signed=None, scale=None, norm=True, v_threshold=1.0)
        if tokens == 'past' and default.signed is None:
            raise ValueError(
                f"score={score!r}: space_time='causal' keeps sums, which those of {sorted(SCORES)} alone are"
            )
        self.attend, self.signed = default.attend, default.signed
        check_heads(num_heads, channels)
        scale = default.scale if scale is None else scale
        self.block_steps, self.window = block_steps, window
        self.shrinks: str | None = None  # the scale's part that depends on the size of the feature map
        if scale in list(SIZE_SCALES):
            self.shrinks, scale = str(scale), 1.0
        elif scale is None or scale == 'width':
            scale = 1.0 / (2 * channels)
        elif scale == 'head':
            scale = 1.0 / (2 * (channels // num_heads))
        elif not is_number(scale) or not 0 < scale < math.inf:
            raise ValueError(
                f"scale={scale!r}; a number above 0, 'width' for 1/(2C), 'head' for 1/(2D), 'height' for 1/H or "
                "'volume' for 1/(H^2 block_steps)"
            )
        if self.shrinks and reference_tokens:
            raise ValueError(f'scale={self.shrinks!r} follows the size of the feature map already: no reference_size')
        self.reference_tokens = reference_tokens
        self.num_heads, self.tokens, self.score = num_heads, tokens, score
        self.scale = float(scale)
        self.norm = nn.BatchNorm2d(channels) if (default.norm if norm is None else norm) else None
        self.lif = build_neuron(neuron, v_threshold=default.v_threshold if v_threshold is None else v_threshold)
        node: Any = self.lif
        if self.norm is not None and isinstance(node, FromRest):
            # A score above its mean fires. From a bias of zero no neuron does while queries are sparse: the score is
            # largest where the query is silent, so its distribution ends shortly above the mean. The BatchNorms of the
            # convolution that follows then see constants, and each multiplies the gradient by up to 316 (D55).
            nn.init.constant_(self.norm.bias, node.firing_input())

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Spikes as ``q``, of spikes ``q`` (Tq, B, C, H, W) and ``k``, ``v`` (Tk, B, C, H, W).

        Raises:
            ValueError: a number of time steps that ``block_steps`` does not divide, or tokens of different numbers that
                meet.
        """
        return self._read(q, k, v, None)[0]

    def advance(self, q: Tensor, k: Tensor, v: Tensor, past: Past | None) -> tuple[Tensor, Past]:
        """The reads of the frames that follow, and what those after them need of the past.

        Raises:
            ValueError: the design looks at later frames, or the past is of other frames.
        """
        self.check_causal()
        if self.tokens != 'past':
            return self._read(q, k, v, None)[0], {}
        if past is None:
            past = no_past(split_heads(q, 'past', self.num_heads), self.window)
        kept = past['products'].shape[1] if 'products' in past else None
        if kept != self.window:
            raise ValueError(f'the state has window={kept}, the attention window={self.window}: take state=None')
        x, past = self._read(q, k, v, past)
        assert past is not None
        return x, past

    def check_causal(self) -> None:
        """Raise ValueError where a frame reads later ones."""
        if self.tokens in ('clip', 'location') or (self.tokens == 'block' and self.block_steps > 1):
            raise ValueError(
                f'attention among the tokens of a {self.tokens} reads frames that are still to come: build the model '
                "with attention=dict(space_time='causal'), which has the parameters of 'joint' and loads its weights, "
                "and with reference_size=(T, H, W) of the training reads means; 'neuron' and 'spatial' can stream, too"
            )

    def _read(self, q: Tensor, k: Tensor, v: Tensor, past: Past | None) -> tuple[Tensor, Past | None]:
        t, b, _, h, w = q.shape
        if self.tokens == 'block' and t % self.block_steps:
            raise ValueError(
                f'block_steps={self.block_steps} does not divide the {t} time steps; choose a divisor of {t}'
            )
        q_, k_, v_ = (split_heads(x, self.tokens, self.num_heads, self.block_steps) for x in (q, k, v))
        scale = self.scale if self.shrinks is None else self.scale / SIZE_SCALES[self.shrinks](h, self.block_steps)
        if self.tokens == 'past':
            x, past = causal_attention(q_, k_, v_, scale, bool(self.signed), self.window, self.reference_tokens, past)
        else:
            if self.reference_tokens is not None:  # a factor of exactly 1 at the reference size
                scale = scale * (self.reference_tokens / k_.shape[-2])
            x = self.attend(q_, k_, v_, scale=scale)
            if self.signed is None:
                check_shape(f'score {self.score!r}', x, q_.shape, q_.shape)
        x = merge_heads(x, self.tokens, (t, b, h, w))
        return self.lif(x if self.norm is None else over_images(self.norm, x)).to(q.dtype), past

    def extra_repr(self) -> str:
        """What ``print`` shows: heads, tokens, score and scale."""
        reference = '' if self.reference_tokens is None else f', reference_tokens={self.reference_tokens}'
        reference += '' if self.window is None else f', window={self.window}'
        what = f'num_heads={self.num_heads}, tokens={self.tokens!r}, score={self.score!r}'
        return f'{what}, scale={self.scale:.6g}{reference}'
