"""Neurons that fire integers, and integer spikes as binary sub-steps."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mmsvf.arguments import is_number

from .from_rest import FromRest, check_threshold
from .surrogates import build_surrogate


class IntegerLIF(FromRest):
    """Integer LIF: fires round(clamp(h / v_threshold, 0, max_value)) (Luo et al., ECCV 2024).

    h_t = decay * v_{t-1} + x_t, reset by what was fired; the gradient passes straight through
    inside [0, max_value] and is zero outside. ``max_value=1`` fires {0, 1}, ``max_value=4``
    fires {0, 1, 2, 3, 4}. :func:`unroll_integer_spikes` writes the output as binary sub-steps.

    Args:
        max_value: Largest integer fired in one step, at least 1.
        decay: What is left of the membrane after a step, in [0, 1].
        v_threshold: Membrane per fired unit.
        step_mode: As in :class:`LIF`.
        store_v_seq: As in :class:`LIF`.

    Example:
        >>> from mmsvf.spiking import IntegerLIF
        >>> IntegerLIF(max_value=4)(torch.tensor([[0.4], [2.3], [9.0]])).flatten().tolist()
        [0.0, 2.0, 4.0]
    """

    operator = 'integer_lif'

    def __init__(
        self,
        max_value: int = 4,
        decay: float = 0.25,
        v_threshold: float = 1.0,
        step_mode: str = 'm',
        store_v_seq: bool = False,
    ) -> None:
        if not is_number(max_value) or not 1 <= max_value < math.inf or max_value != int(max_value):
            raise ValueError(f'max_value={max_value!r}: an integer of at least 1 (1 fires {{0, 1}})')
        if not is_number(decay) or not 0.0 <= decay <= 1.0:
            raise ValueError(f'decay={decay!r}: what is left of the membrane after a step, from 0 to 1')
        check_threshold(v_threshold)
        super().__init__(
            float(v_threshold), None, build_surrogate(None), True, step_mode=step_mode, store_v_seq=store_v_seq
        )
        self.max_value = int(max_value)
        self.decay = float(decay)

    def constants(self, x_seq: Tensor) -> tuple[Any, ...]:
        """Decay, threshold and largest value: the kernel's arguments."""
        return self.decay, self.v_threshold, self.max_value

    def firing_input(self) -> float:
        """Half the threshold, from which on it rounds up to 1."""
        return self.v_threshold / 2  # it rounds

    def charge(self, x: Tensor, v: Tensor) -> Tensor:
        """decay * v + x."""
        return self.decay * v + x

    def fire(self, h: Tensor) -> Tensor:
        """round(clamp(h / v_threshold, 0, max_value)), with the gradient of the clamp."""
        u = (h / self.v_threshold).clamp(0, self.max_value)
        return u + (u.round() - u).detach()

    def discharge(self, h: Tensor, spike: Tensor) -> Tensor:
        """Membrane less what was fired."""
        return h - spike.detach() * self.v_threshold

    def extra_repr(self) -> str:
        """What ``print`` shows: the arguments."""
        return f'max_value={self.max_value}, decay={self.decay}, v_threshold={self.v_threshold}'


def unroll_integer_spikes(spikes: Tensor, max_value: int) -> Tensor:
    """Integer spikes ``(T, ...)`` as binary sub-steps ``(T * max_value, ...)``.

    Sub-step d of a time step fires where the integer exceeds d, so the sum over a time step's
    sub-steps is the integer, and so is every sum of synaptic input downstream (a bias counts
    once per time step). :func:`sum_sub_steps` is the inverse.

    Raises:
        ValueError: a value is not an integer from 0 to ``max_value``.

    Example:
        >>> from mmsvf.spiking import unroll_integer_spikes
        >>> unroll_integer_spikes(torch.tensor([[2.0], [0.0]]), max_value=3).flatten().tolist()
        [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    if not bool(((spikes >= 0) & (spikes <= max_value) & (spikes == spikes.round())).all()):
        raise ValueError(f'integer spikes are 0, 1, ..., {max_value}; got values from {spikes.min()} to {spikes.max()}')
    levels = torch.arange(max_value, device=spikes.device).view(1, -1, *[1] * (spikes.dim() - 1))
    return (spikes.unsqueeze(1) > levels).to(spikes.dtype).flatten(0, 1)


def sum_sub_steps(x: Tensor, max_value: int) -> Tensor:
    """Sum groups of ``max_value`` sub-steps: ``(T * max_value, ...)`` to ``(T, ...)``."""
    return x.unflatten(0, (-1, max_value)).sum(1)
