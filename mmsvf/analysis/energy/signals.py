"""What a tensor carries: spikes, integers or real numbers, told by its values alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# integer spikes above this are taken for real numbers: an image of bytes is no spike train
LARGEST_SPIKE = 32


@dataclass(frozen=True)
class Signal:
    """Kind and density of a tensor.

    Attributes:
        kind: 'binary' (0 and 1), 'sign' (-1 and 1), 'integer' (0 to 32, as IntegerLIF fires),
            'signed' (other integers) or 'real'.
        rate: Mean value of 'binary' and 'integer', 1 otherwise.
        rates: The same of each time step, where the first dimension has time first; else None.
    """

    kind: str
    rate: float = 1.0
    rates: tuple[float, ...] | None = None

    @property
    def spikes(self) -> bool:
        """Whether it is 0, 1, 2, ...: a synapse adds its weight that many times."""
        return self.kind in ('binary', 'integer')


REAL = Signal('real')


CHUNK = 2**18  # numbers that fit a processor's cache with what is made of them


def _dense(x: Tensor) -> Tensor:
    """The numbers of a tensor as (first dimension, rest), in the order of memory where that is possible."""
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        x = x.permute(0, 2, 3, 1)
    elif x.dim() == 5 and x.is_contiguous(memory_format=torch.channels_last_3d):
        x = x.permute(0, 2, 3, 4, 1)
    return x.reshape(-1, 1) if x.dim() < 2 else x.reshape(x.shape[0], -1)


def _all_zero(x: Tensor, residual: Callable[[Tensor], Tensor]) -> bool:
    """Whether ``residual`` of every number is zero."""
    for chunk in x.reshape(-1).split(CHUNK):
        low, high = torch.aminmax(residual(chunk))
        if low != 0 or high != 0:
            return False
    return True


def _from_binary(x: Tensor) -> Tensor:
    """x^2 - x, zero for 0 and 1 alone."""
    return torch.mul(x, x).sub_(x)


def _from_whole(x: Tensor) -> Tensor:
    """Distance to the nearest integer, zero for integers alone."""
    return x.round().sub_(x)


def look(x: Tensor, time_steps: int | None = None) -> Signal:
    """The signal of a tensor, in three passes over it, or less for real numbers.

    Args:
        x: Any tensor.
        time_steps: Time steps T; rates by time step are those of the first dimension cut into T parts.
    """
    if x.numel() == 0:
        return REAL
    x = _dense(x if x.dtype.is_floating_point else x.float())
    if not _all_zero(x[:8, :1024], _from_whole):
        return REAL
    low, high = (float(v) for v in torch.aminmax(x))
    if not (low >= 0 and high <= LARGEST_SPIKE):
        if low == -1 and high in (-1, 1) and _all_zero(x.abs(), _from_binary) and bool((x != 0).all()):
            return Signal('sign')
        return Signal('signed') if abs(low) + abs(high) < float('inf') and _all_zero(x, _from_whole) else REAL
    if high <= 1 and _all_zero(x, _from_binary):
        kind = 'binary'
    elif _all_zero(x, _from_whole):
        kind = 'integer'
    else:
        return REAL
    # single precision counts exactly up to 2 ** 24
    means = x.sum(1, dtype=torch.float32 if x.shape[1] * high < 2**24 else torch.float64).double() / x.shape[1]
    rates = None
    if time_steps and len(means) % time_steps == 0:
        rates = tuple(means.view(time_steps, -1).mean(1).tolist())
    return Signal(kind, float(means.mean()), rates)
