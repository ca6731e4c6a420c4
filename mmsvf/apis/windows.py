"""Windows over a stream of any length, blended into one: what is kept is as long as a window, not as the stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar('T')


class _Cell(Generic[T]):
    """An item of the stream with the weighted sums of what the windows over it say."""

    def __init__(self, item: T) -> None:
        self.item, self.weight = item, 0.0
        self.sums: dict[str, Tensor] = {}

    def add(self, values: dict[str, Tensor], weight: float) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums[name] + weight * value if name in self.sums else weight * value
        self.weight += weight

    def mean(self) -> tuple[T, dict[str, Tensor]]:
        return self.item, {name: value / self.weight for name, value in self.sums.items()}


def blended(
    items: Iterable[T], window: int, overlap: float, run: Callable[[list[T]], dict[str, Tensor]]
) -> Iterator[tuple[T, dict[str, Tensor]]]:
    """Run a model on overlapping windows, and give each item the weighted mean of what the windows over it say.

    Windows have all the same length, the last one ends with the stream; a shorter stream is one window. Weights grow
    from a window's ends to its middle, 1, 2, ..., 2, 1. An item is given out as soon as no window to come has it: at
    most two windows after it came.

    Args:
        items: The stream.
        window: Items of a window.
        overlap: Share of a window that the next one sees again.
        run: From the items of a window to values (T, ...) by name, a row an item.

    Raises:
        ValueError: no item in a window, or an overlap of all of it.
    """
    if window < 1 or not 0 <= overlap < 1:
        raise ValueError(f'window={window}, overlap={overlap}; at least 1 step, and an overlap from 0 to below 1')
    stride = max(1, round(window * (1 - overlap)))
    held: deque[_Cell[T]] = deque()
    count = seen = 0  # items so far, and how many of them windows have seen

    def look(length: int) -> None:
        cells = [held[i] for i in range(len(held) - length, len(held))]
        values = run([cell.item for cell in cells])
        ramp = torch.arange(1.0, length + 1)
        for i, weight in enumerate(torch.minimum(ramp, ramp.flip(0)).tolist()):
            cells[i].add({name: value[i] for name, value in values.items()}, weight)

    for item in items:
        held.append(_Cell(item))
        count += 1
        if count >= window and (count - window) % stride == 0:
            while len(held) > window:  # before the begin of this window, and of any later one
                yield held.popleft().mean()
            look(window)
            seen = count
    if count > seen:
        look(min(window, count))
    while held:
        yield held.popleft().mean()
