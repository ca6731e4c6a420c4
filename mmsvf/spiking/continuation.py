"""A network that goes on where it stopped: the same modules, with a state that is handed in and out.

What remembers is a module with a pure function ``advance(*inputs, past) -> (output, past)`` beside its ``forward``,
which starts from nothing: neurons and causal attention reads. A network, plain or fused, goes on in a copy of its
modules that lives for one call, shares all weights, and has those modules call ``advance``; the network itself is left
as it is, so that any number of threads can use it.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import torch
from spikingjelly.activation_based import base
from torch import Tensor, nn

from .state import State

# what carries something from step to step in ways of its own
FOREIGN = base.MemoryModule, nn.RNNBase


@cache
def _advancing(kind: Any) -> type:
    """A class as another, whose ``forward`` goes on in the continuation that the module is part of."""

    def forward(self: Any, *inputs: Tensor) -> Tensor:
        return self._continuation._advance(self, *inputs)

    return type(kind.__name__, (kind,), dict(forward=forward, __module__=kind.__module__))


class Continuation:
    """One call of a network that goes on from a state::

        run = Continuation(state)
        y = run.of(network)(x)
        return y, run.state(streams, frames)  # before a backward pass

    Args:
        state: Of the frames before; None: there were none.
    """

    def __init__(self, state: State | None) -> None:
        if state is not None and not isinstance(state, State):
            raise TypeError(f'state is a {type(state).__name__}; None before the first frame, then what step returned')
        self.before = state
        self.parts: dict[str, dict[str, Tensor]] = {}
        self.rest: dict[str, float] = {}
        self.given = False  # its state: what is computed after that is computed again

    def of(self, module: nn.Module, name: str = '') -> Any:
        """The module as part of this continuation; ``name`` is what the state calls it.

        Raises:
            ValueError: it remembers in a way that cannot be carried, or reads frames to come.
        """
        kind: Any = type(module)  # asked in place of the module, which is slow to say that it lacks something
        if hasattr(kind, 'per_frame') and module.per_frame:
            return module  # its membranes restart at each step
        if hasattr(kind, 'check_causal'):
            kind.check_causal(module)
        advances = hasattr(module, 'advance')
        own = name.rpartition('.')[2].startswith('lif') and not isinstance(module, (nn.Identity, nn.ModuleList))
        if (own or isinstance(module, FOREIGN)) and not advances:  # layers call their neurons so
            raise ValueError(
                f'{name or "the network"} is a {type(module).__name__}, whose memory is its own: what can be streamed '
                'are subclasses of mmsvf.spiking.neuron.FromRest and other modules with `advance`'
            )
        if not (advances or module._modules):
            return module
        children = {k: child and self.of(child, f'{name}.{k}' if name else k) for k, child in module._modules.items()}
        if not advances and all(children[k] is child for k, child in module._modules.items()):
            return module  # nothing in it remembers
        part = copy.copy(module)
        vars(part).update(_modules=children)
        if advances:
            vars(part).update(_continuation=self, _part=name)
            part.__class__ = _advancing(kind)
        return part

    def past(self, name: str) -> dict[str, Tensor] | None:
        """What the state has of a module; None: nothing, it is at rest.

        Raises:
            ValueError: a state of another network.
        """
        if self.before is None:
            return None
        if name not in self.before.parts:
            raise ValueError(
                f'the state has no part {name!r}; it has {len(self.before.parts)} of another network: start with '
                'state=None, and go on with the form (plain, fused) that the state is of'
            )
        return self.before.parts[name]

    def keep(self, name: str, tensors: dict[str, Tensor], rest: float = 0.0) -> None:
        """Have the next call find these tensors, streams first; ``rest`` is what they are before the first frame.

        Raises:
            ValueError: there are some already, of the same frames.
        """
        # with_cp computes a part again in the backward pass, from the same past, which is never written
        if name in self.parts and not self.given:
            raise ValueError(
                f'{name or "the network"} is called twice for the same frames, and remembers those of one call: give '
                'each call a module of its own (recomputed in a backward pass: take state() before it)'
            )
        self.parts[name] = tensors
        if rest:
            self.rest[name] = rest

    def _advance(self, module: Any, *inputs: Tensor) -> Tensor:
        output, after = module.advance(*inputs, self.past(module._part) or None)
        self.keep(module._part, after, float(getattr(module, 'v_reset', None) or 0.0))
        return output

    def seen(self, like: Tensor) -> Tensor:
        """Frames before these, of each of the streams that come first in a tensor.

        Raises:
            ValueError: the state has another number of streams.
        """
        if self.before is not None and len(self.before) != len(like):
            raise ValueError(
                f'frames of {len(like)} streams, and a state of {len(self.before)}: State.select, merge and starting '
                'give one of as many, in the order of the frames'
            )
        return like.new_zeros(len(like), dtype=torch.int64) if self.before is None else self.before.frames

    def state(self, like: Tensor, frames: int) -> State:
        """The state after so many more frames of the streams that come first in a tensor: the end of the call."""
        self.given = True
        return State(
            self.seen(like) + frames, dict(self.parts), dict(self.rest), self.before.model if self.before else ''
        )
