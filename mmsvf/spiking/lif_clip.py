"""LIF over a clip as one autograd node: nothing but the membranes is kept, and the layout is.

Eager steps under autograd keep every intermediate and, since they are stacked, lose the
channels-last layout that convolutions on CPU want (benchmarks/layout.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class LIFClip(torch.autograd.Function):
    """Spikes ``(T, ...)`` of a LIF from rest; the equations are those of :class:`mmsvf.spiking.LIF`.

    The surrogate gradient is a sigmoid of slope ``alpha``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_seq: Tensor,
        leak: float,
        decay_input: bool,
        v_threshold: float,
        v_reset: float | None,
        detach_reset: bool,
        strict: bool,
        alpha: float,
    ) -> Tensor:
        rest = v_reset or 0.0
        fires = torch.gt if strict else torch.ge
        h_seq, s_seq = torch.empty_like(x_seq), torch.empty_like(x_seq)
        v = torch.full_like(x_seq[0], rest)
        for x, h, s in zip(x_seq.unbind(0), h_seq.unbind(0), s_seq.unbind(0)):
            if decay_input:
                torch.sub(x, v, out=h)
                h.add_(rest).mul_(leak).add_(v) if rest else h.mul_(leak).add_(v)
            else:
                torch.sub(rest, v, out=h) if rest else torch.neg(v, out=h)
                h.mul_(leak).add_(v).add_(x)
            fires(h, v_threshold, out=s)
            if v_reset is None:
                v = torch.sub(h, s, alpha=v_threshold)
            else:
                v = torch.addcmul(h, h, s, value=-1)
                v = v.add_(s, alpha=rest) if rest else v
        ctx.save_for_backward(h_seq, s_seq)
        ctx.constants = leak, decay_input, v_threshold, v_reset, detach_reset, alpha
        return s_seq

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_seq: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        h_seq, s_seq = ctx.saved_tensors
        leak, decay_input, v_threshold, v_reset, detach_reset, alpha = ctx.constants
        surrogate = (h_seq - v_threshold).mul_(alpha).sigmoid_()
        surrogate = torch.addcmul(surrogate, surrogate, surrogate, value=-1).mul_(alpha)
        grad_x_seq = grad_seq * surrogate  # at first the part of dL/dh that comes through the spikes
        grad_v = None
        for t in range(len(h_seq) - 1, -1, -1):
            grad_h = grad_x_seq[t]
            if grad_v is not None:
                if v_reset is None:
                    grad_h += (
                        grad_v if detach_reset else torch.addcmul(grad_v, grad_v, surrogate[t], value=-v_threshold)
                    )
                else:
                    grad_h.add_(torch.addcmul(grad_v, grad_v, s_seq[t], value=-1))
                    if not detach_reset:
                        grad_h.add_(grad_v * (v_reset - h_seq[t]) * surrogate[t])
            grad_v = grad_h * (1.0 - leak)
        return (grad_x_seq.mul_(leak) if decay_input else grad_x_seq, *[None] * 7)
