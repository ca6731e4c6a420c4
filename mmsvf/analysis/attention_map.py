"""Attention of one query token over a clip, without the matrix of all pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmsvf.spiking.attention import AttentionRead, split_heads
from mmsvf.spiking.hamming import hamming_similarity_bilinear


class AttentionRow(NamedTuple):
    """What one query token attends to.

    Attributes:
        scores: (T, H, W), 0 to 1: the normalised Hamming similarity; with score 'dot' the share of channels in which
            both spike. Tokens that the design does not let meet are NaN.
        query: Time step, row and column of the query on the layer's grid. In a memory the query is of the last frame
            (its time step is 0), and the scores are those of the T - 1 earlier ones.
        query_rate: Share of the query's channels that spike.
        key_rate: Share of the channels of all keys it meets that spike.
    """

    scores: Tensor
    query: tuple[int, int, int]
    query_rate: float
    key_rate: float

    def remark(self) -> str:
        """What a map of these scores cannot show, in words; empty where there is nothing of the kind."""
        low, high = (float(bound) for bound in self.scores[~self.scores.isnan()].aminmax())
        if not self.query_rate and not self.key_rate:
            return 'no spikes: neither the query nor any key fires here'
        silent = '' if self.query_rate else 'the query has no spikes'
        even = f'every token has the score {low:.3f}' if low == high else ''
        return '; '.join(filter(None, (silent, even)))


def attention_reads(model: nn.Module) -> dict[str, AttentionRead]:
    """The attentions of a model by name, in its order.

    Raises:
        ValueError: it has none.
    """
    reads = {name: module for name, module in model.named_modules() if isinstance(module, AttentionRead)}
    if not reads:
        raise ValueError(f'{type(model).__name__} has no spiking attention (mmsvf.spiking.SpikeAttention)')
    return reads


@torch.no_grad()
def attention_row(
    model: nn.Module, run: Callable[[], Any], layer: str, query: Sequence[float] | None, head: int | None = None
) -> AttentionRow:
    """Scores of one query token with all tokens of the clip, in [0, 1].

    Args:
        model: A model with :class:`mmsvf.spiking.SpikeAttention`.
        run: Runs the model on a batch of one clip.
        layer: Name of an attention, of :func:`attention_reads`.
        query, head: See :func:`row_of`.

    Raises:
        ValueError: unknown layer, or a query or head outside its range.
    """
    q, k = queries_and_keys(model, run, layer)
    return row_of(attention_reads(model)[layer], q, k, query, head)


@torch.no_grad()
def queries_and_keys(model: nn.Module, run: Callable[[], Any], layer: str) -> tuple[Tensor, Tensor]:
    """Queries and keys TBCHW that an attention reads while a model runs; see :func:`attention_row`.

    Raises:
        ValueError: unknown layer, or one that does not run on this input.
    """
    reads, seen = attention_reads(model), []
    if layer not in reads:
        raise ValueError(f'layer={layer!r}; choose one of {list(reads)}')
    handle = reads[layer].register_forward_pre_hook(lambda _, args: seen.append(args[:2]))
    try:
        run()
    finally:
        handle.remove()
    if not seen:
        raise ValueError(
            f'{layer} does not run on this input; a memory reads earlier frames, and a single one has none'
        )
    return seen[0]


@torch.no_grad()
def row_of(
    read: AttentionRead, q: Tensor, k: Tensor, query: Sequence[float] | None, head: int | None = None
) -> AttentionRow:
    """Scores of one query token with all tokens, in [0, 1].

    Args:
        read: The attention.
        q, k: Its queries and keys TBCHW; of a batch the first clip is taken.
        query: Time, row and column of the query token, as shares of the clip from 0 to 1; None takes the one with
            the most spikes of the middle step.
        head: Attention head; None is the mean of all.

    Raises:
        ValueError: a query or head outside its range.
    """
    steps, _, _, height, width = q.shape
    if query is not None and (len(query) != 3 or any(not 0 <= share <= 1 for share in query)):
        raise ValueError(f'query={query}; time, row and column as shares of the clip, each from 0 to 1')
    if head is not None and not 0 <= head < read.num_heads:
        raise ValueError(f'head={head}; there are {read.num_heads} heads')
    heads = slice(None) if head is None else slice(head, head + 1)
    tokens = [split_heads(spikes[:, :1], 'clip', read.num_heads)[0][heads] for spikes in (q, k)]  # M (T N) D
    if query is None:
        t = steps // 2
        y, x = divmod(int(tokens[0].ne(0).float().mean((0, 2)).view(steps, -1)[t].argmax()), width)
    else:
        t, y, x = (min(int(share * size), size - 1) for share, size in zip(query, (steps, height, width)))
    index = (t * height + y) * width + x
    row = tokens[0][:, index : index + 1]
    if read.score == 'hamming':
        scores = hamming_similarity_bilinear(row, tokens[1])[:, 0]
    else:
        scores = (row @ tokens[1].transpose(-2, -1))[:, 0] / tokens[1].shape[-1]
    scores = scores.mean(0).view(-1, height, width)
    met = _met(read, scores, t, y, x)
    query_rate, key_rates = row.ne(0).float().mean(), tokens[1].ne(0).float().mean((0, 2)).view_as(scores)
    return AttentionRow(
        scores.masked_fill(~met, float('nan')), (t, y, x), float(query_rate), float(key_rates[met].mean())
    )


def _met(read: AttentionRead, row: Tensor, t: int, y: int, x: int) -> Tensor:
    """Which tokens (T, H, W) the query meets."""
    met = torch.zeros_like(row, dtype=torch.bool)
    if read.tokens == 'location':
        met[:, y, x] = True
        return met
    first, last = 0, len(row)
    if read.tokens == 'frame':
        first, last = t, t + 1
    elif read.tokens == 'past':
        first, last = max(0, t + 1 - (read.window or t + 1)), t + 1
    elif read.tokens == 'block':
        first = t - t % read.block_steps
        last = first + read.block_steps
    met[first:last] = True
    return met
