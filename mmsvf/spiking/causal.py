"""Attention of each frame to the frames so far: products of keys and values, summed frame by frame.

    S_t = sum over the frames i <= t of (2 K_i - 1)^T V_i,   read_t = scale * (2 Q_t - 1) S_t

(the dot product without the 2 x - 1). For a whole clip, time and RAM are linear in T; frame by frame they are constant
per frame: S_t is all that a later frame needs. Its entries are integers, so both ways give the same bits. With a window
of w frames the product of frame t - w leaves the sum when that of frame t enters it.

Letters: ``T`` time step, ``B`` batch, ``M`` heads, ``N`` tokens of a frame, ``D`` channels of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, cat

from mmsvf.precision import full_precision

from .hamming import check_exact

Past = dict[str, Tensor]


def no_past(q: Tensor, window: int | None = None) -> Past:
    """What is known of the past before the first of the frames q (T, B, M, N, D), streams first.

    ``sum`` (B, M, D, D), in fp64, which counts to 2^53; ``frames`` (B,) seen; with a window ``products``
    (B, w, M, D, D) of the last w frames.
    """
    _, b, m, _, d = q.shape
    past = dict(
        sum=q.new_zeros(b, m, d, d, dtype=torch.float64),
        frames=q.new_zeros(b, dtype=torch.int64),
    )
    if window is not None:
        past['products'] = q.new_zeros(b, window, m, d, d, dtype=torch.promote_types(q.dtype, torch.float32))
    return past


def causal_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float,
    signed: bool,
    window: int | None = None,
    reference: int | None = None,
    past: Past | None = None,
) -> tuple[Tensor, Past | None]:
    """Spike-driven attention to the frames so far, without its neuron, and the past of the frames that follow.

    Args:
        q: Query spikes (T, B, M, N, D).
        k: Key spikes of the same shape.
        v: Value spikes of the same shape.
        scale: Factor of the result.
        signed: Whether queries and keys count as -1 and 1 (Hamming), not as 0 and 1 (dot product).
        window: How many frames are seen, the present one included; None: all.
        reference: A read is the mean over the keys seen times this number; None: their sum.
        past: What came before these frames (:func:`no_past`, or what the last call returned); it is left as it is.
            None: nothing did, and nothing is returned.

    Returns:
        (T, B, M, N, D) in fp32 (fp64 for fp64 spikes), and the past.

    Raises:
        ValueError: so many keys that their sums would leave the range that the floating-point type holds exactly.
    """
    dtype = torch.float64 if q.dtype == torch.float64 else torch.float32
    t, _, _, n, d = q.shape
    with full_precision(q):
        q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
        if signed:
            q, k = 2 * q - 1, 2 * k - 1
        products = k.transpose(-2, -1) @ v
        change = products if past is None else products.to(past['sum'].dtype)
        _check(t, n, d, window, past, change.dtype if reference else dtype)
        recent = products
        if window is not None:
            before = products.new_zeros(window, *products.shape[1:])
            recent = cat([before if past is None else past['products'].transpose(0, 1), products])
            change = change - recent[:t]  # of what is summed up no part is larger than what a window holds
        sums = change.cumsum(0) if past is None else past['sum'] + change.cumsum(0)
        read = (q.to(sums.dtype) @ sums).to(dtype)
        if reference is not None:
            first = 0 if past is None else past['frames']
            frames = torch.arange(1, t + 1, device=q.device).unsqueeze(1) + first  # (T, B) or (T, 1)
            keys = n * (frames if window is None else frames.clamp(max=window))
            read = read * (scale * (reference / keys.double())).to(dtype).view(t, -1, 1, 1, 1)
        elif scale != 1:
            read = read * scale
    if past is None:
        return read, None
    after = dict(sum=sums[-1], frames=past['frames'] + t)
    if window is not None:
        after['products'] = recent[-window:].transpose(0, 1)
    return read, after


def _check(t: int, n: int, d: int, window: int | None, past: Past | None, dtype: torch.dtype) -> None:
    frames = t
    if past is not None and (window is None or frames < window):
        frames += int(past['frames'].max())
    frames = frames if window is None else min(frames, window)
    check_exact(
        frames * n,
        d,
        dtype,
        f'after {frames} frames; see fewer with attention=dict(window=...), or in a stream read means with '
        'attention=dict(reference_size=(T, H, W)), whose sums are exact for years',
    )
