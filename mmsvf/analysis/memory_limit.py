"""The longest clip and the largest frame that fit into a given GPU memory or RAM, in training and in inference.

Nothing is computed: the model runs on tensors without data while the bytes of every live one are added up, at any size.
Counted are parameters, gradients, the config's optimiser and everything autograd keeps; not counted are the workspace
of convolutions, fragmentation and what the device itself takes.
"""

from __future__ import annotations

import argparse
import re
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, init_default_scope
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .models import build_model, scores

UNITS = {'': 1, 'K': 10**3, 'M': 10**6, 'G': 10**9, 'T': 10**12, 'KI': 2**10, 'MI': 2**20, 'GI': 2**30, 'TI': 2**40}
# strides of backbones reach 32
SIDE_STEP = 32


def size(text: str) -> int:
    """Bytes of '24GB', '80GiB' or '500M'.

    Raises:
        argparse.ArgumentTypeError: not such a size.
    """
    match = re.fullmatch(r'\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*', text.upper())
    if match is None:
        raise argparse.ArgumentTypeError(f'{text!r} is no size; write 24GB, 80GiB or 500MB')
    return int(float(match[1]) * UNITS[match[2]])


class LiveMemory(TorchDispatchMode):
    """Adds up the bytes of all tensors that operations make, while they live.

    torch's own MemTracker finds the same and more, by looking at every live tensor after every operation: minutes here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[int] = set()

    def add(self, tensor: Tensor) -> None:
        """Count a tensor's bytes once, until it is freed."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen.add(storage._cdata)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._free, storage._cdata, storage.nbytes())

    def _free(self, key: int, nbytes: int) -> None:
        self._seen.discard(key)
        self.now -= nbytes

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in tree_leaves(out):
            if isinstance(value, Tensor):
                self.add(value)
        return out


def peak(cfg: Config, shape: tuple[int, ...], batch: int, training: bool) -> int:
    """Bytes of all live tensors at their peak, for a batch of inputs of a shape (C, [T,] H, W)."""
    init_default_scope(cfg.default_scope)
    with FakeTensorMode():
        model, _ = build_model(cfg)
        model.train(training)
        memory = LiveMemory()
        x = torch.empty(batch, *shape)
        for tensor in (x, *model.parameters(), *model.buffers()):
            memory.add(tensor)
        with memory, torch.set_grad_enabled(training):
            y = scores(model, x)
            if training:
                y.mean().backward()
        return memory.peak


def optimizer_state(cfg: Config) -> int:
    """Bytes that the config's optimiser keeps from one step to the next."""
    init_default_scope(cfg.default_scope)
    with FakeTensorMode():
        model, _ = build_model(cfg)
        kind = dict(cfg.optim_wrapper.optimizer)
        optimizer = OPTIMIZERS.build({**kind, 'params': list(model.parameters())})
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        states = (value for state in optimizer.state.values() for value in state.values())
        return sum(value.untyped_storage().nbytes() for value in states if isinstance(value, Tensor))


def largest(cost: Callable[[int], int], limit: int, start: int, power: int) -> int:
    """The largest n whose cost is within the limit, for a cost of about a + b * n ** power; 0 if not even 1 is."""
    cost = cache(cost)
    slope = (cost(2 * start) - cost(start)) / ((2 * start) ** power - start**power)
    room = max(0.0, limit - cost(start) + slope * start**power)
    n = max(1, int((room / slope) ** (1 / power)))
    while n and cost(n) > limit:
        n -= 1
    while cost(n + 1) <= limit:
        n += 1
    return n


class Limit(NamedTuple):
    """A mode's bytes at the given size, frames of the longest clip (None of images), side of the largest frame."""

    mode: str
    batch: int
    used: int
    frames: int | None
    side: int


def limits(cfg: Config, shape: Sequence[int], memory: int, batch: int | None = None) -> Iterator[Limit]:
    """The limits of training and of inference.

    Args:
        cfg: The config; it is built anew for each size.
        shape: Input (C, [T,] H, W).
        memory: Bytes that there are.
        batch: Clips per device in training; None is the config's. In inference it is 1.
    """
    *front, height, width = shape
    for mode, training in (('training', True), ('inference', False)):
        count = (batch or cfg.train_dataloader.batch_size) if training else 1
        state = optimizer_state(cfg) if training else 0

        def used(*candidate: int, count: int = count, training: bool = training, state: int = state) -> int:
            return state + peak(cfg, candidate, count, training)

        frames = None
        if len(shape) == 4:
            frames = largest(lambda t, used=used: used(front[0], t, height, width), memory, front[1], 1)
        side = largest(
            lambda n, used=used: used(*front, n * SIDE_STEP, n * SIDE_STEP), memory, max(1, height // SIDE_STEP), 2
        )
        yield Limit(mode, count, used(*shape), frames, side * SIDE_STEP)
