"""What all neurons here share: a clip from rest, by explicit steps or by one pass over memory; surrogate gradients."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Callable, Union

import torch
from spikingjelly.activation_based import surrogate
from torch import Tensor
from torch.autograd import forward_ad

try:  # before torch 2.4 the explicit steps below do without it
    from . import clip_ops
except AttributeError:
    clip_ops = None  # type: ignore[assignment]

Surrogate = Union[dict, Callable[[Tensor], Tensor], None]


def build_surrogate(spec: Surrogate) -> Callable[[Tensor], Tensor]:
    """The surrogate gradient of the spike: a callable, or ``dict(type='ATan', alpha=2.0)``.

    ``type`` names a class of ``spikingjelly.activation_based.surrogate``. ``None`` is the
    authors' choice, a sigmoid of slope 4.
    """
    if spec is None:
        return surrogate.Sigmoid(alpha=4.0)
    if not isinstance(spec, dict):
        return spec
    arguments = dict(spec)
    name = arguments.pop('type', None)
    base = surrogate.SurrogateFunctionBase
    known = {k: v for k, v in vars(surrogate).items() if isinstance(v, type) and issubclass(v, base) and v is not base}
    if name not in known:
        raise ValueError(f'unknown surrogate type={name!r}; choose one of {sorted(known)}')
    return known[name](**arguments)


def has_kernel(neuron: Any, x_seq: Tensor) -> bool:
    """Whether the operators of :mod:`mmsvf.spiking.clip_ops` take this clip."""
    return clip_ops is not None and not neuron.store_v_seq and clip_ops.has_kernel(x_seq)


class FromRest(ABC):
    """What all neurons here share: one explicit step, looped over a clip from rest.

    A subclass gives ``charge``, ``fire`` and ``discharge``; the membrane is an argument, not
    hidden state.
    """

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

    def step(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """One time step: ``(spike, membrane after reset)``, both shaped as ``x``."""
        h = self.charge(x, v)
        spike = self.fire(h)
        return spike.to(x.dtype), self.discharge(h, spike)

    def rest(self, x: Tensor) -> Tensor:
        """The membrane at rest, shaped as the step ``x``; of at least fp32, since spikes depend on every bit."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        return torch.full_like(x, self.v_reset or 0.0, dtype=dtype, requires_grad=False)  # type: ignore[attr-defined]

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
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
        return super().forward(*args, **kwargs)  # type: ignore[misc]

    def run_kernel(self, kernel: str, x_seq: Tensor, *arguments: Any) -> Tensor:
        """Spikes of a clip by an operator; by explicit steps if its kernel cannot be compiled."""
        try:
            return getattr(clip_ops, kernel)(x_seq, *arguments)
        except clip_ops.KernelError:
            return FromRest.multi_step_forward(self, x_seq)

    def single_step_forward(self: Any, x: Tensor) -> Tensor:
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

    def multi_step_forward(self: Any, x_seq: Tensor) -> Tensor:
        """A clip of shape ``(T, ...)`` from rest; leaves no membrane behind."""
        v = self.rest(x_seq[0])
        spikes, membranes = [], []
        for x in x_seq.unbind(0):
            spike, v = self.step(x, v)
            spikes.append(spike)
            membranes.append(v)
        self.reset()
        if self.store_v_seq:
            self.v_seq = torch.stack(membranes)
        return torch.stack(spikes)


def membrane_arguments(tau: float, v_threshold: float, v_reset: float | None) -> tuple[float, float, float | None]:
    if not tau > 1.0:
        raise ValueError(f'tau={tau!r}: the membrane time constant is a number above 1 (the leak is 1/tau)')
    if not 0.0 < v_threshold < math.inf:
        raise ValueError(f'v_threshold={v_threshold!r}: the firing threshold is a number above 0')
    if v_reset is not None and not math.isfinite(v_reset):
        raise ValueError(f'v_reset={v_reset!r}: a number, or None to subtract the threshold')
    return float(tau), float(v_threshold), None if v_reset is None else float(v_reset)
