"""What a network remembers of the frames so far, as a value: it comes with the next frame and goes with its result."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, cat, nn

from mmsvf.arguments import check_count
from mmsvf.files.checkpoints import load_checkpoint, save_checkpoint

FORMAT = 'mmsvf.State 1'


@dataclass(frozen=True)
class State:
    """The state of a batch of streams; the methods return another one and leave this as it is.

    Attributes:
        frames: Frames that each stream has seen, (B,).
        parts: By the name of a module, then of a tensor: the ``membrane`` of each neuron; the ``sum`` of each causal
            attention read, with the ``frames`` in it and, with a window, its ``products``; what a model keeps of its
            last frames. The first dimension is that of the streams.
        rest: By the name of a module, what its tensors are before the first frame, where it is not 0.
        model: What :func:`fingerprint` calls the network that it is of; '' where nobody asked.
    """

    frames: Tensor
    parts: dict[str, dict[str, Tensor]]
    rest: dict[str, float] = field(default_factory=dict)
    model: str = ''

    def __len__(self) -> int:
        """Streams."""
        return len(self.frames)

    def __repr__(self) -> str:
        size = self.nbytes / 2**20
        of = f' of {self.model}' if self.model else ''
        what = f'{len(self)} streams of {self.frames.tolist()} frames, {len(self.parts)} parts, {size:.1f} MiB'
        return f'State({what}{of})'

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return self.frames.nbytes + sum(t.nbytes for part in self.parts.values() for t in part.values())

    def map(self, function: Callable[[Tensor], Tensor]) -> State:
        """The state with a function of each tensor."""
        parts = {name: {k: function(t) for k, t in part.items()} for name, part in self.parts.items()}
        return replace(self, frames=function(self.frames), parts=parts)

    def to(self, device: Any) -> State:
        """On another device."""
        return self.map(lambda t: t.to(device))

    def detach(self) -> State:
        """Cut out of the gradient, as between the chunks of truncated backpropagation through time."""
        return self.map(Tensor.detach)

    def clone(self) -> State:
        """A copy that shares no memory with this one. Steps share none, either: they leave the state they are given."""
        return self.map(Tensor.clone)

    def select(self, streams: Sequence[int] | Tensor) -> State:
        """Some of the streams, by their places in the batch and in the order given; the others leave.

        Raises:
            ValueError: no stream, or a place that is none, such as a float or the bools of a mask.
        """
        index = torch.as_tensor(self._places(streams), device=self.frames.device)
        return self.map(lambda t: t[index])

    def _places(self, streams: Any) -> list[int]:
        given = streams.flatten().tolist() if hasattr(streams, 'flatten') else streams
        given = list(given) if isinstance(given, Iterable) else [given]
        places = [i.tolist() if hasattr(i, 'tolist') else i for i in given]  # numbers of torch and NumPy
        if not places or not all(type(i) is int and 0 <= i < len(self) for i in places):
            raise ValueError(
                f'streams {places} of {len(self)}; one or more of 0 to {len(self) - 1}, integers: of a mask '
                'torch.as_tensor(mask).nonzero()'
            )
        return places

    def starting(self, streams: int = 1) -> State:
        """New streams at rest with frames of the same size, to be merged.

        Raises:
            ValueError: no whole number of streams, or none.
        """
        check_count('streams', streams)
        first = self.select([0] * streams)
        parts = {
            name: {k: torch.full_like(t, self.rest.get(name, 0.0)) for k, t in part.items()}
            for name, part in first.parts.items()
        }
        return replace(self, frames=torch.zeros_like(first.frames), parts=parts)

    def restart(self, streams: Sequence[int] | Tensor) -> State:
        """Some of the streams back at rest, for another video each.

        Raises:
            ValueError: as :meth:`select`.
        """
        again = self._places(streams)
        order = [len(self) if i in again else i for i in range(len(self))]
        return State.merge([self, self.starting()]).select(order)

    @staticmethod
    def merge(states: Sequence[State]) -> State:
        """The streams of several states as one batch, in that order.

        Raises:
            ValueError: no state, or states of different networks or frame sizes.
        """
        if not states:
            raise ValueError('no states to merge; at least one')
        for state in states:
            state.check(states[0].model)
        kinds = [{name: {k: t.shape[1:] for k, t in part.items()} for name, part in s.parts.items()} for s in states]
        for kind in kinds[1:]:
            if kind != kinds[0]:
                name = next(n for n in [*kinds[0], *kind] if kinds[0].get(n) != kind.get(n))
                raise ValueError(
                    f'states of different networks or frame sizes: {name} is {kinds[0].get(name)} in the first and '
                    f'{kind.get(name)} in another; merge states of the same form of one model, with one frame size'
                )
        parts = {
            name: {k: cat([s.parts[name][k] for s in states]) for k in part} for name, part in states[0].parts.items()
        }
        return replace(states[0], frames=cat([s.frames for s in states]), parts=parts)

    def check(self, model: str) -> None:
        """Raise ValueError where the state is of another network than the one of this fingerprint."""
        if self.model and model and self.model != model:
            raise ValueError(
                f'the state is of {self.model}, and goes with no other: this is {model}. Start with state=None, or '
                'take the config, checkpoint and form (plain, fused) that the state is of'
            )

    def save(self, path: str | os.PathLike) -> None:
        """Write the state to a file, whole or not at all."""
        state = self.detach().clone()  # a view would bring along all that it is a view of
        save_checkpoint(
            dict(format=FORMAT, frames=state.frames, parts=state.parts, rest=dict(self.rest), model=self.model), path
        )

    @staticmethod
    def load(path: str | os.PathLike, device: Any = None) -> State:
        """Read a state from a file, running nothing of it.

        Raises:
            FileNotFoundError: there is none.
            UnpicklingError: it is damaged, or holds what is no data.
            ValueError: it is no state.
        """
        found = load_checkpoint(path, map_location=device)
        try:
            assert isinstance(found, dict) and found['format'] == FORMAT
            state = State(found['frames'], found['parts'], found['rest'], found.get('model', ''))
            assert isinstance(state.model, str)
            assert state.frames.dtype == torch.int64 and state.frames.dim() == 1 and len(state) > 0
            assert (state.frames >= 0).all() and all(math.isfinite(value) for value in state.rest.values())
            tensors = [t for part in state.parts.values() for t in part.values()]
            assert all(isinstance(t, Tensor) and len(t) == len(state) for t in tensors)
        except (AssertionError, KeyError, AttributeError, TypeError) as error:
            raise ValueError(f'{path} is no state of a stream, as State.save() writes it') from error
        return state


def fingerprint(network: nn.Module) -> str:
    """A network's class, and a hash of its layers' options, parameters and buffers.

    Options are what ``print(network)`` shows; tensors count by name, shape and values, rounded to fp32. Of up to 2047
    values all count, so those of every BatchNorm do; of more, a thousand or two spread over them: what has been trained
    for a step has another one. Takes milliseconds.
    """
    named = [*network.named_parameters(), *network.named_buffers()]
    numbers = {name: value.detach() for name, value in named if value.is_floating_point()}
    # without addresses, as of a score of one's own, which no other process has
    options = [(name, re.sub(' at 0x[0-9a-f]+', '', module.extra_repr())) for name, module in network.named_modules()]
    digest = hashlib.sha256(str([options, *((name, tuple(value.shape)) for name, value in numbers.items())]).encode())
    values = [value.reshape(-1)[:: max(1, value.numel() // 1024)].float() for value in numbers.values()]
    digest.update(cat(values).cpu().numpy().tobytes() if values else b'')
    return f'{type(network).__name__} {digest.hexdigest()[:12]}'
