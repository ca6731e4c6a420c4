"""What all neurons share: spikingjelly nodes that start every clip from rest.

With ``step_mode='m'`` (the default here) the input is a whole clip, time first: the membrane starts at rest and nothing
is left behind, so no caller ever needs ``reset_net``. With ``step_mode='s'`` the input is one time step and the
membrane is carried to the next call, as in spikingjelly; ``spikingjelly.activation_based.functional.reset_net`` clears
it, which another shape of the input needs. :meth:`FromRest.advance` takes the membranes and returns them: it hides
none.

Surrogate gradients are those of backward mode; forward mode (``torch.func.jvp``) is refused.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from spikingjelly.activation_based import neuron as sj
from torch import Tensor
from torch.autograd import forward_ad

from mmsvf.arguments import is_number

from . import clip_ops


def check_threshold(v_threshold: float) -> None:
    """Raise ValueError where a threshold is not a number above 0."""
    if not is_number(v_threshold) or not 0.0 < v_threshold < math.inf:
        raise ValueError(f'v_threshold={v_threshold!r}: the firing threshold is a number above 0')


# Of a single image with channels last, stack() and the gradient of unbind() are views with strides (C, 1, W * C, C).
# torch takes these for channels first and for dense at once, and the backward pass of BatchNorm on CPU mixes up pixels.
def to_steps(x_seq: Tensor) -> Sequence[Tensor]:
    """The steps of a clip ``(T, ...)``."""
    return x_seq.unbind(0) if len(x_seq) > 1 else [x_seq.squeeze(0)]


def to_clip(steps: list[Tensor]) -> Tensor:
    """The clip ``(T, ...)`` of steps."""
    return torch.stack(steps) if len(steps) > 1 else steps[0].unsqueeze(0)


class FromRest(sj.BaseNode, ABC):
    """One explicit step, looped over a clip from rest, and an operator that is the same in one pass over memory.

    A subclass gives ``charge``, ``fire`` and ``discharge``; the membrane is an argument, not hidden state.

    Attributes:
        operator: Name of the operator in :mod:`mmsvf.spiking.clip_ops`, whose arguments are ``constants``.
        has_operator: Whether the operator is for this class: not for one that changes a step and not ``constants``.
    """

    operator: str
    has_operator = True
    v: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__dict__.keys() & {'charge', 'fire', 'discharge', 'step', 'rest', 'explicit_steps'}:
            cls.has_operator = 'constants' in cls.__dict__

    @abstractmethod
    def charge(self, x: Tensor, v: Tensor) -> Tensor:
        """Membrane before firing, from the input ``x`` and the last membrane ``v``."""

    @abstractmethod
    def fire(self, h: Tensor) -> Tensor:
        """Spikes emitted at membrane ``h``."""

    @abstractmethod
    def discharge(self, h: Tensor, spike: Tensor) -> Tensor:
        """Membrane after firing."""

    @abstractmethod
    def firing_input(self) -> float:
        """The input of one step above which a neuron at rest fires."""

    @abstractmethod
    def constants(self, x_seq: Tensor) -> tuple[Any, ...] | None:
        """The operator's arguments behind the clip; None where it lacks the gradient that is wanted."""

    def step(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """One time step: ``(spike, membrane after reset)``, both shaped as ``x``."""
        h = self.charge(x, v)
        spike = self.fire(h)
        return spike.to(x.dtype), self.discharge(h, spike)

    def rest(self, x: Tensor) -> Tensor:
        """The membrane at rest, shaped as the step ``x``; of at least fp32, since spikes depend on every bit."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        return torch.full_like(x, self.v_reset or 0.0, dtype=dtype, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """A clip, or a step with ``step_mode='s'``.

        Raises:
            NotImplementedError: in forward-mode differentiation, whose result would be zero without a word.
        """
        # the level and not the tangents, which another transform of torch.func may hide
        if getattr(forward_ad, '_current_level', -1) >= 0:
            raise NotImplementedError(
                f'{type(self).__name__} has a surrogate gradient in backward mode alone: use backward() or '
                'torch.autograd.grad in place of torch.func.jvp, jacfwd, hessian or torch.autograd.forward_ad'
            )
        return self.multi_step_forward(x) if self.step_mode == 'm' else self.single_step_forward(x)

    def single_step_forward(self, x: Tensor) -> Tensor:
        """One time step, carrying the membrane from the last call.

        Raises:
            ValueError: the membrane is not one of such a step.
        """
        v = self.v if isinstance(self.v, Tensor) else self.rest(x)
        dtype = torch.promote_types(x.dtype, torch.float32)
        if v.shape != x.shape or v.dtype != dtype or v.device != x.device:
            raise ValueError(
                f'a step {tuple(x.shape)} with membranes in {dtype} on {x.device}, but the last step left membranes '
                f'{tuple(v.shape)} in {v.dtype} on {v.device}: clear them before another clip with '
                'spikingjelly.activation_based.functional.reset_net(model)'
            )
        spike, self.v = self.step(x, v)
        return spike

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        """A clip of shape ``(T, ...)`` from rest: one pass over memory where there is one, otherwise its steps."""
        if self.has_operator and clip_ops.has_kernel(x_seq) and not self.store_v_seq:
            constants = self.constants(x_seq)
            if constants is not None:
                try:
                    return getattr(clip_ops, self.operator)(x_seq, *constants)
                except clip_ops.KernelError:  # nothing has been written
                    pass
        return self.explicit_steps(x_seq)

    def advance(self, x_seq: Tensor, past: dict[str, Tensor] | None) -> tuple[Tensor, dict[str, Tensor]]:
        """A clip of shape ``(T, ...)`` that follows another, and the membranes it leaves; nothing is kept here.

        Args:
            x_seq: The clip.
            past: ``membrane``, shaped as a step: what the clip before left, which stays as it is; None: rest.

        Raises:
            ValueError: the membranes are not those of such a clip.
        """
        x = x_seq[0]
        v = self.rest(x) if past is None else past['membrane']
        dtype = torch.promote_types(x.dtype, torch.float32)
        if v.shape != x.shape or v.dtype != dtype or v.device != x.device:
            raise ValueError(
                f'frames of which a neuron sees {tuple(x.shape)} in {dtype} on {x.device}, but a state with membranes '
                f'{tuple(v.shape)} in {v.dtype} on {v.device}: start with state=None for frames of another size or '
                'type, select(), merge() or starting() for other streams, to(device) for another device'
            )
        if self.has_operator and clip_ops.advances(x_seq):
            constants = self.constants(x_seq)
            if constants is not None and not (
                torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters())
            ):
                try:
                    spikes, v = clip_ops.advance(self.operator, x_seq, v, *constants)
                    return spikes, dict(membrane=v)
                except clip_ops.KernelError:  # nothing has been written
                    pass
        spikes_list = []
        for x in to_steps(x_seq):
            spike, v = self.step(x, v)
            spikes_list.append(spike)
        return to_clip(spikes_list), dict(membrane=v)

    def explicit_steps(self, x_seq: Tensor) -> Tensor:
        """A clip of shape ``(T, ...)`` from rest, step by step; leaves no membrane behind."""
        v = self.rest(x_seq[0])
        spikes, membranes = [], []
        for x in to_steps(x_seq):
            spike, v = self.step(x, v)
            spikes.append(spike)
            membranes.append(v)
        self.reset()
        if self.store_v_seq:
            self.v_seq = to_clip(membranes)
        return to_clip(spikes)
