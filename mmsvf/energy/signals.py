"""What a tensor carries: spikes, integers or real numbers. Looked at, not assumed."""

from __future__ import annotations

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


def _whole(x: Tensor) -> bool:
    return bool((x == x.round()).all())


def look(x: Tensor, steps: int | None = None) -> Signal:
    """The signal of a tensor, in at most four passes over it and one for real numbers.

    Args:
        x: Any tensor.
        steps: Time steps T; rates by time step are those of the first dimension cut into T parts.
    """
    if x.numel() == 0:
        return REAL
    x = x if x.dtype.is_floating_point else x.float()
    x = x.reshape(-1, 1) if x.dim() < 2 else x
    first = x[tuple(slice(0, 8) for _ in range(x.dim()))]
    if not _whole(first):
        return REAL
    low, high = (float(v) for v in torch.aminmax(x))
    if low < 0:
        if low == -1 and high == 1 and bool((x.abs() == 1).all()):
            return Signal('sign')
        return Signal('signed') if _whole(x) else REAL
    if not high <= LARGEST_SPIKE:
        return Signal('signed') if high < float('inf') and _whole(x) else REAL
    # a sum over a first dimension counts exactly: less than 2 ** 24 spikes
    sums = x.sum(tuple(range(1, x.dim())), dtype=torch.float32 if x[0].numel() < 2**19 else torch.float64)
    # of numbers from 0 to 1, the sum is as large as the number of those above 0 only if these are all 1
    if high <= 1 and float(sums.double().sum()) == float(torch.count_nonzero(x)):
        kind = 'binary'
    elif _whole(x):
        kind = 'integer'
    else:
        return REAL
    means = sums.double() / x[0].numel()
    rates = None
    if steps and len(means) % steps == 0:
        rates = tuple(means.view(steps, -1).mean(1).tolist())
    return Signal(kind, float(means.mean()), rates)
