"""Attention of one query token over a clip, without the matrix of all pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mmsvf.spiking.attention import AttentionRead, split_heads
from mmsvf.spiking.hamming import hamming_similarity_bilinear


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
    model: nn.Module, run: Callable[[], Any], layer: str, query: tuple[int, int, int], head: int | None = None
) -> Tensor:
    """Scores of one query token with all tokens of the clip, in [0, 1].

    Args:
        model: A model with :class:`mmsvf.spiking.SpikeAttention`.
        run: Runs the model on a batch of one clip.
        layer: Name of an attention, of :func:`attention_reads`.
        query: Time step, row and column of the query token, on the layer's grid.
        head: Attention head; None is the mean of all.

    Returns:
        (T, H, W): the normalised Hamming similarity; with score 'dot' the share of channels in which both
        spike. Tokens that the design does not let meet are NaN.

    Raises:
        ValueError: unknown layer, or a query or head outside its range.
    """
    reads = attention_reads(model)
    if layer not in reads:
        raise ValueError(f'layer={layer!r}; choose one of {list(reads)}')
    read, seen = reads[layer], []
    handle = read.register_forward_pre_hook(lambda _, args: seen.append(args[:2]))
    try:
        run()
    finally:
        handle.remove()
    q, k = seen[0]
    steps, _, _, height, width = q.shape
    if any(not 0 <= value < size for value, size in zip(query, (steps, height, width))):
        raise ValueError(f'query={query}; the grid of {layer} has {steps} time steps, {height} rows, {width} columns')
    if head is not None and not 0 <= head < read.heads:
        raise ValueError(f'head={head}; {layer} has {read.heads} heads')
    one = slice(0, 1)
    tokens = [split_heads(x[:, one], 'clip', read.heads)[0] for x in (q, k)]  # M (T N) D
    index = (query[0] * height + query[1]) * width + query[2]
    row_of = tokens[0][:, index : index + 1]
    if read.score == 'hamming':
        scores = hamming_similarity_bilinear(row_of, tokens[1])[:, 0]
    else:
        scores = (row_of @ tokens[1].transpose(-2, -1))[:, 0] / tokens[1].shape[-1]
    row = (scores.mean(0) if head is None else scores[head]).view(steps, height, width)
    met = torch.ones_like(row, dtype=torch.bool)
    if read.tokens == 'frame':
        met[:] = False
        met[query[0]] = True
    elif read.tokens == 'location':
        met[:] = False
        met[:, query[1], query[2]] = True
    return row.masked_fill(~met, float('nan'))
