"""Spiking neurons: spikingjelly nodes that start every clip from rest.

With ``step_mode='m'`` (the default here) the input is a whole clip, time first: the membrane
starts at rest and nothing is left behind, so no caller ever needs ``reset_net``. With
``step_mode='s'`` the input is one time step and the membrane is carried to the next call, as
in spikingjelly; ``spikingjelly.activation_based.functional.reset_net`` clears it, which another
shape of the input needs.

Surrogate gradients are those of backward mode; forward mode (``torch.func.jvp``) is refused.

Source: SpikeVideoFormer Sec. 3.1 (preset ``paper``) and the authors' code (preset ``official``).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Callable, Union

import torch
from spikingjelly.activation_based import neuron as sj
from spikingjelly.activation_based import surrogate
from torch import Tensor, nn
from torch.autograd import forward_ad

from .arguments import check_arguments

try:  # before torch 2.4 the explicit steps below do without it
    from . import clip_ops
except AttributeError:
    clip_ops = None  # type: ignore[assignment]

Surrogate = Union[dict, Callable[[Tensor], Tensor], None]
NeuronSpec = Union[str, dict]


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


def one_pass(neuron: Any, x_seq: Tensor) -> bool:
    """Whether the operators of :mod:`mmsvf.spiking.clip_ops` take this clip."""
    return clip_ops is not None and not neuron.store_v_seq and clip_ops.takes(x_seq)


class FromRest(ABC):
    """What all neurons here share: one explicit step, looped over a clip from rest.

    A subclass gives ``charge``, ``fire`` and ``discharge``; the membrane is an argument, not
    hidden state.

    Attributes:
        inplace: Whether the spikes of a clip may take the place of its input where no gradient is wanted.
    """

    inplace = False

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

    def write(self, operators: tuple[Any, Any], x_seq: Tensor, *arguments: Any) -> Tensor:
        """Spikes by an operator, or by the second one in place; by explicit steps if its kernel cannot be compiled."""
        try:
            if self.inplace and not torch.is_grad_enabled():
                operators[1](x_seq, *arguments)
                return x_seq
            return operators[0](x_seq, *arguments)
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


class _Leaky(FromRest):
    """Charge, fire and reset of the leaky neurons, with a fixed or a learnt leak."""

    strict: bool

    @abstractmethod
    def leak(self) -> float | Tensor:
        """1/tau."""

    def firing_input(self: Any) -> float:
        return (self.v_threshold - (self.v_reset or 0.0)) / (float(self.leak()) if self.decay_input else 1.0)

    def charge(self: Any, x: Tensor, v: Tensor) -> Tensor:
        drive = (self.v_reset or 0.0) - v
        return v + (drive + x) * self.leak() if self.decay_input else v + drive * self.leak() + x

    def fire(self: Any, h: Tensor) -> Tensor:
        if self.strict:  # the step at zero is 1, so 1 - step(theta - h) fires at h > theta only
            return 1.0 - self.surrogate_function(self.v_threshold - h)
        return self.surrogate_function(h - self.v_threshold)

    def discharge(self: Any, h: Tensor, spike: Tensor) -> Tensor:
        spike = spike.detach() if self.detach_reset else spike
        if self.v_reset is None:
            return h - spike * self.v_threshold
        return h * (1.0 - spike) + spike * self.v_reset

    def multi_step_forward(self: Any, x_seq: Tensor) -> Tensor:
        """One pass over memory where there is one, otherwise the explicit steps."""
        leak, gradient = self.leak(), self.surrogate_function
        if not (one_pass(self, x_seq) and getattr(gradient, 'spiking', False)):
            return FromRest.multi_step_forward(self, x_seq)
        name, alpha = type(gradient).__name__, getattr(gradient, 'alpha', 1.0)
        if name not in clip_ops.SURROGATES or type(gradient) is not getattr(surrogate, name, None):
            if torch.is_grad_enabled() and (x_seq.requires_grad or isinstance(leak, Tensor)):
                return FromRest.multi_step_forward(self, x_seq)
            name, alpha = 'Sigmoid', 1.0  # forward all surrogates are the same step
        return self.write(
            (clip_ops.lif, clip_ops.lif_),
            x_seq,
            leak if isinstance(leak, Tensor) else torch.full((), leak, device=x_seq.device),
            self.decay_input,
            self.v_threshold,
            self.v_reset,
            self.detach_reset,
            self.strict,
            name,
            alpha,
        )


def _membrane_arguments(tau: float, v_threshold: float, v_reset: float | None) -> tuple[float, float, float | None]:
    if not tau > 1.0:
        raise ValueError(f'tau={tau!r}: the membrane time constant is a number above 1 (the leak is 1/tau)')
    if not 0.0 < v_threshold < math.inf:
        raise ValueError(f'v_threshold={v_threshold!r}: the firing threshold is a number above 0')
    if v_reset is not None and not math.isfinite(v_reset):
        raise ValueError(f'v_reset={v_reset!r}: a number, or None to subtract the threshold')
    return float(tau), float(v_threshold), None if v_reset is None else float(v_reset)


class LIF(_Leaky, sj.LIFNode):
    """Leaky integrate-and-fire neuron.

    h_t = v_{t-1} + (x_t - (v_{t-1} - v_reset)) / tau   if ``decay_input``,
    h_t = v_{t-1} - (v_{t-1} - v_reset) / tau + x_t     otherwise (beta = 1 - 1/tau);
    a spike where h_t >= v_threshold (h_t > v_threshold if ``strict``); then a reset to
    ``v_reset``, or by subtraction of the threshold if ``v_reset`` is None.

    Args:
        tau: Membrane time constant in time steps, above 1.
        decay_input: Whether the input passes the leak too.
        v_threshold: Firing threshold.
        v_reset: Membrane after a spike (hard reset); None subtracts the threshold (soft reset).
        surrogate_function: See :func:`build_surrogate`.
        detach_reset: Whether the reset is cut out of the gradient.
        strict: Fire above the threshold only, not at it.
        step_mode: 'm' for clips from rest, 's' for single steps that carry the membrane.
        store_v_seq: Keep the membranes after reset in ``v_seq``, for monitors.
    """

    def __init__(
        self,
        tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Surrogate = None,
        detach_reset: bool = True,
        strict: bool = False,
        step_mode: str = 'm',
        store_v_seq: bool = False,
    ) -> None:
        tau, v_threshold, v_reset = _membrane_arguments(tau, v_threshold, v_reset)
        if tau == math.inf and decay_input:
            raise ValueError('tau=inf with decay_input=True never fires: no input enters; use decay_input=False')
        sj.LIFNode.__init__(
            self,
            tau,
            decay_input,
            v_threshold,
            v_reset,
            build_surrogate(surrogate_function),
            detach_reset,
            step_mode=step_mode,
            store_v_seq=store_v_seq,
        )
        self.strict = strict

    def leak(self) -> float:
        return 1.0 / self.tau


class LearnableLIF(_Leaky, sj.ParametricLIFNode):
    """LIF whose leak is learnt: 1/tau = sigmoid(w), one ``w`` a layer (Fang et al., ICCV 2021).

    Arguments as in :class:`LIF`; ``tau`` is the value at the start of training.
    """

    def __init__(
        self,
        tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Surrogate = None,
        detach_reset: bool = True,
        strict: bool = False,
        step_mode: str = 'm',
        store_v_seq: bool = False,
    ) -> None:
        tau, v_threshold, v_reset = _membrane_arguments(tau, v_threshold, v_reset)
        sj.ParametricLIFNode.__init__(
            self,
            tau,
            decay_input,
            v_threshold,
            v_reset,
            build_surrogate(surrogate_function),
            detach_reset,
            step_mode=step_mode,
            store_v_seq=store_v_seq,
        )
        self.strict = strict

    def leak(self) -> Tensor:
        return self.w.sigmoid()


class IntegerLIF(FromRest, sj.BaseNode):
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
    """

    def __init__(
        self,
        max_value: int = 4,
        decay: float = 0.25,
        v_threshold: float = 1.0,
        step_mode: str = 'm',
        store_v_seq: bool = False,
    ) -> None:
        if not 1 <= max_value < math.inf or max_value != int(max_value):
            raise ValueError(f'max_value={max_value!r}: an integer of at least 1 (1 fires {{0, 1}})')
        if not 0.0 <= decay <= 1.0:
            raise ValueError(f'decay={decay!r}: what is left of the membrane after a step, from 0 to 1')
        _, v_threshold, _ = _membrane_arguments(2.0, v_threshold, None)
        sj.BaseNode.__init__(
            self, v_threshold, None, build_surrogate(None), True, step_mode=step_mode, store_v_seq=store_v_seq
        )
        self.max_value = int(max_value)
        self.decay = float(decay)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        if one_pass(self, x_seq):
            operators = clip_ops.integer_lif, clip_ops.integer_lif_
            return self.write(operators, x_seq, self.decay, self.v_threshold, self.max_value)
        return FromRest.multi_step_forward(self, x_seq)

    def firing_input(self) -> float:
        return self.v_threshold / 2  # it rounds

    def charge(self, x: Tensor, v: Tensor) -> Tensor:
        return self.decay * v + x

    def fire(self, h: Tensor) -> Tensor:
        u = (h / self.v_threshold).clamp(0, self.max_value)
        return u + (u.round() - u).detach()

    def discharge(self, h: Tensor, spike: Tensor) -> Tensor:
        return h - spike.detach() * self.v_threshold

    def extra_repr(self) -> str:
        return f'max_value={self.max_value}, decay={self.decay}, v_threshold={self.v_threshold}'


def unroll_integer_spikes(spikes: Tensor, max_value: int) -> Tensor:
    """Integer spikes ``(T, ...)`` as binary sub-steps ``(T * max_value, ...)``.

    Sub-step d of a time step fires where the integer exceeds d, so the sum over a time step's
    sub-steps is the integer, and so is every sum of synaptic input downstream (a bias counts
    once a time step). :func:`sum_sub_steps` is the inverse.

    Raises:
        ValueError: a value is not an integer from 0 to ``max_value``.
    """
    if not bool(((spikes >= 0) & (spikes <= max_value) & (spikes == spikes.round())).all()):
        raise ValueError(f'integer spikes are 0, 1, ..., {max_value}; got values from {spikes.min()} to {spikes.max()}')
    levels = torch.arange(max_value, device=spikes.device).view(1, -1, *[1] * (spikes.dim() - 1))
    return (spikes.unsqueeze(1) > levels).to(spikes.dtype).flatten(0, 1)


def sum_sub_steps(x: Tensor, max_value: int) -> Tensor:
    """Sum groups of ``max_value`` sub-steps: ``(T * max_value, ...)`` to ``(T, ...)``."""
    return x.unflatten(0, (-1, max_value)).sum(1)


NEURONS: dict[str, Any] = {'LIF': LIF, 'LearnableLIF': LearnableLIF, 'IntegerLIF': IntegerLIF}

PRESETS: dict[str, dict[str, Any]] = {
    # the authors' code, which their checkpoints need
    'official': dict(type='LIF', tau=2.0, decay_input=True, v_reset=0.0, detach_reset=True, strict=False),
    # the equations of Sec. 3.1; the paper gives no beta, 1 - 1/tau = 0.5 is the code's
    'paper': dict(type='LIF', tau=2.0, decay_input=False, v_reset=None, detach_reset=True, strict=True),
    # integrate-and-fire: no leak
    'IF': dict(type='LIF', tau=math.inf, decay_input=False, v_reset=0.0, detach_reset=True, strict=False),
}


def build_neuron(spec: NeuronSpec | None = 'official', **overrides: Any) -> nn.Module:
    """A neuron from a preset's name or from ``dict(type=..., **arguments)``.

    ``type`` is a class ('LIF', 'LearnableLIF', 'IntegerLIF') or a preset ('official', 'paper', 'IF')
    whose values the other arguments replace. ``overrides`` replace both: a layer's own
    threshold, for example. None is no neuron: values pass as they are.

    Raises:
        ValueError: unknown type or argument.
    """
    if spec is None:
        return nn.Identity()
    arguments = dict(type=spec) if isinstance(spec, str) else dict(spec)
    name = arguments.pop('type', 'official')
    preset = dict(PRESETS.get(name, {}))
    kind = preset.pop('type', name)
    if kind not in NEURONS:
        raise ValueError(f'unknown neuron {name!r}; choose a preset {sorted(PRESETS)} or a type {sorted(NEURONS)}')
    arguments = {**preset, **arguments, **overrides}
    check_arguments(NEURONS[kind], arguments, f'neuron {name!r}')
    return NEURONS[kind](**arguments)
