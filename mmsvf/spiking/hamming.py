"""Hamming similarity and the attentions built on it, as pure functions of spikes.

Letters: ``N`` tokens (``Nq`` queries, ``Nk`` keys), ``D`` channels of a head, ``Dv`` channels
of the values; leading dimensions (batch, heads, ...) are shared. Spikes are 0/1 floats. Other numbers
pass, with results that mean nothing; in Python's development mode (``python -X dev`` or ``PYTHONDEVMODE=1``, or with
``mmsvf.spiking.hamming.CHECKED = True``) they are refused, for which each call waits for the GPU.

Source: SpikeVideoFormer Eq. 6 and 8 (similarity), Eq. 3 (dot product), Eq. 9 and 10 (SDHA).
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from mmsvf.precision import full_precision

CHECKED = sys.flags.dev_mode  # whether to look at the values
ORDERS = ('auto', 'linear', 'quadratic')


def hamming_similarity(q: Tensor, k: Tensor) -> Tensor:
    """Eq. 6, by counting: ``1 - mean(q != k)`` for spikes ``(..., Nq, D)`` and ``(..., Nk, D)``.

    Returns ``(..., Nq, Nk)`` in [0, 1]. No gradient; :func:`hamming_similarity_bilinear` has one.

    Example:
        >>> from mmsvf.spiking import hamming_similarity
        >>> q = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
        >>> k = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
        >>> hamming_similarity(q, k).tolist()
        [[0.75, 0.0]]
    """
    return 1.0 - (q.unsqueeze(-2) != k.unsqueeze(-3)).to(q.dtype).mean(-1)


def hamming_similarity_bilinear(q: Tensor, k: Tensor) -> Tensor:
    """Eq. 8, the differentiable form: ``1/2 + (2q-1)(2k-1)^T / (2D)``; shapes as in Eq. 6."""
    return 0.5 + (2 * q - 1) @ (2 * k - 1).transpose(-2, -1) / (2 * q.shape[-1])


def hamming_attention(
    q: Tensor, k: Tensor, v: Tensor, scale: float | Tensor | None = None, order: str = 'auto'
) -> Tensor:
    """Spike-driven Hamming attention without its neuron: ``scale * (2q-1) [(2k-1)^T v]``.

    Args:
        q: Query spikes ``(..., Nq, D)``.
        k: Key spikes ``(..., Nk, D)``.
        v: Value spikes ``(..., Nk, Dv)``.
        scale: Factor of the result, or factors that broadcast to it; None is Eq. 9's ``1 / (2D)``.
        order: 'linear' multiplies keys with values first (linear in the tokens, Eq. 10), 'quadratic' queries with keys
            first (Eq. 9), 'auto' whichever multiplies less. The products are sums of small integers, exact in fp32, so
            the orders agree bit for bit; they are computed in fp32 also under autocast.

    Returns:
        ``(..., Nq, Dv)``, fp32 (fp64 for fp64 spikes).

    Raises:
        ValueError: a wrong shape or order, or so many tokens that the integers would leave the range that the
            floating-point type holds exactly; in Python's development mode also values that are not 0 or 1.

    Example:
        >>> from mmsvf.spiking import hamming_attention
        >>> q, k, v = (torch.randint(0, 2, (2, 8, n, 16)).float() for n in (49, 98, 98))  # B M N D
        >>> hamming_attention(q, k, v).shape
        torch.Size([2, 8, 49, 16])
        >>> torch.equal(hamming_attention(q, k, v, order='linear'), hamming_attention(q, k, v, order='quadratic'))
        True
    """
    scale = 1.0 / (2 * q.shape[-1]) if scale is None else scale
    return _attention(q, k, v, scale, order, signed=True)


def dot_attention(q: Tensor, k: Tensor, v: Tensor, scale: float | Tensor = 0.125, order: str = 'auto') -> Tensor:
    """Spike-driven dot-product attention without its neuron (Eq. 3): ``scale * q [k^T v]``.

    Arguments, result and errors as in :func:`hamming_attention`.

    Example:
        >>> from mmsvf.spiking import dot_attention
        >>> q, k, v = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 1.0], [1.0, 0.0]]), torch.ones(2, 1)
        >>> dot_attention(q, k, v, scale=0.125).item()  # (2 + 1) / 8
        0.375
    """
    return _attention(q, k, v, scale, order, signed=False)


def _attention(q: Tensor, k: Tensor, v: Tensor, scale: float | Tensor, order: str, signed: bool) -> Tensor:
    if order not in ORDERS:
        raise ValueError(f'order={order!r}; choose one of {ORDERS}')
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError(
            f'q (..., Nq, D), k (..., Nk, D), v (..., Nk, Dv) expected; got {tuple(q.shape)}, '
            f'{tuple(k.shape)}, {tuple(v.shape)}'
        )
    if CHECKED:
        for name, x in dict(q=q, k=k, v=v).items():
            _check_spikes(name, x)
    dtype = torch.float64 if q.dtype == torch.float64 else torch.float32
    (n_q, d), (n_k, d_v) = q.shape[-2:], v.shape[-2:]
    check_exact(n_k, d, dtype)
    if order == 'auto':
        order = 'quadratic' if n_q * n_k * (d + d_v) < (n_q + n_k) * d * d_v else 'linear'
    with full_precision(q):
        q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
        if signed:
            q, k = 2 * q - 1, 2 * k - 1
        product = (q @ k.transpose(-2, -1)) @ v if order == 'quadratic' else q @ (k.transpose(-2, -1) @ v)
        return product if not isinstance(scale, Tensor) and scale == 1 else product * scale


def _check_spikes(name: str, x: Tensor) -> None:
    if not x.is_meta and not bool(((x == 0) | (x == 1)).all()):
        raise ValueError(
            f'{name} has values from {x.min()} to {x.max()} that are not 0 or 1: queries, keys and values are spikes; '
            'put a neuron before them'
        )


def check_exact(
    tokens: int,
    channels: int,
    dtype: torch.dtype,
    advice: str = 'use fewer frames or smaller ones, more heads, or float64 spikes',
) -> None:
    """Raise ValueError where sums leave what a type counts: partial ones are integers up to ``tokens * channels``."""
    limit = round(2 / torch.finfo(dtype).eps)
    if tokens * channels > limit:
        raise ValueError(
            f'{tokens} key tokens x {channels} channels per head can sum to {tokens * channels}, beyond the {limit} '
            f'up to which {dtype} counts exactly: {advice}'
        )
