"""Leaky integrate-and-fire neurons.

Source: SpikeVideoFormer Sec. 3.1 (preset ``paper``) and the authors' code (preset ``official``).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from spikingjelly.activation_based import neuron as sj
from torch import Tensor

from mmsvf.arguments import is_number

from .from_rest import FromRest, check_threshold
from .surrogates import KERNELS, UNKNOWN, Surrogate, build_surrogate


class Leaky(FromRest):
    """Charge, fire and reset of the leaky neurons, with a fixed or a learnt leak."""

    operator = 'lif'

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
        if not is_number(tau) or not tau > 1.0:
            raise ValueError(f'tau={tau!r}: the membrane time constant is a number above 1 (the leak is 1/tau)')
        check_threshold(v_threshold)
        if v_reset is not None and not (is_number(v_reset) and math.isfinite(v_reset)):
            raise ValueError(f'v_reset={v_reset!r}: a number, or None to subtract the threshold')
        if tau == math.inf and decay_input:
            raise ValueError('tau=inf with decay_input=True never fires: no input enters; use decay_input=False')
        # of spikingjelly's node, the last base
        node = float(tau), decay_input, float(v_threshold), v_reset if v_reset is None else float(v_reset)
        gradient = build_surrogate(surrogate_function)
        super().__init__(*node, gradient, detach_reset, step_mode=step_mode, store_v_seq=store_v_seq)
        self.strict = strict

    @abstractmethod
    def leak(self) -> float | Tensor:
        """1/tau."""

    def extra_repr(self) -> str:
        """What ``print`` shows: spikingjelly's arguments, and those that it leaves out."""
        return f'{super().extra_repr()}, decay_input={self.decay_input}, strict={self.strict}'

    @torch.no_grad()
    def firing_input(self) -> float:
        """Threshold over rest, divided by the leak where the input passes it."""
        return (self.v_threshold - (self.v_reset or 0.0)) / (float(self.leak()) if self.decay_input else 1.0)

    def charge(self, x: Tensor, v: Tensor) -> Tensor:
        """h_t of the input ``x`` and the last membrane ``v``, by the equations of :class:`LIF`."""
        drive = (self.v_reset or 0.0) - v
        return v + (drive + x) * self.leak() if self.decay_input else v + drive * self.leak() + x

    def fire(self, h: Tensor) -> Tensor:
        """Heaviside step at the threshold, with the surrogate gradient."""
        if self.strict:  # the step at zero is 1, so 1 - step(theta - h) fires at h > theta only; NaN, no spike, is no 1
            return (~h.isnan()).to(h.dtype) - self.surrogate_function(self.v_threshold - h)
        return self.surrogate_function(h - self.v_threshold)

    def discharge(self, h: Tensor, spike: Tensor) -> Tensor:
        """Hard reset to ``v_reset``, or soft reset by the threshold."""
        spike = spike.detach() if self.detach_reset else spike
        if self.v_reset is None:
            return h - spike * self.v_threshold
        return h * (1.0 - spike) + spike * self.v_reset

    def constants(self, x_seq: Tensor) -> tuple[Any, ...] | None:
        """The kernel's arguments; None where it lacks this surrogate's gradient and one is wanted."""
        leak, gradient = self.leak(), self.surrogate_function
        kernel = KERNELS.get(type(gradient), UNKNOWN)
        # without a gradient all surrogates are the same step
        learns = torch.is_grad_enabled() and (x_seq.requires_grad or isinstance(leak, Tensor))
        if (kernel == UNKNOWN and learns) or not getattr(gradient, 'spiking', False):
            return None
        leak = leak if isinstance(leak, Tensor) else torch.full((), leak, device=x_seq.device)
        reset = self.v_threshold, self.v_reset, self.detach_reset, self.strict
        return (leak, self.decay_input, *reset, kernel, getattr(gradient, 'alpha', 1.0))


class LIF(Leaky, sj.LIFNode):
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
        surrogate_function: See :func:`mmsvf.spiking.surrogates.build_surrogate`.
        detach_reset: Whether the reset is cut out of the gradient.
        strict: Fire above the threshold only, not at it.
        step_mode: 'm' for clips from rest, 's' for single steps that carry the membrane.
        store_v_seq: Keep the membranes after reset in ``v_seq``, for monitors.

    Example:
        >>> from mmsvf.spiking import LIF
        >>> LIF(tau=2.0)(torch.full((4, 1), 1.2)).flatten().tolist()  # 4 steps: 0.6, 0.9, 1.05 fires, 0.6 again
        [0.0, 0.0, 1.0, 0.0]
    """

    def leak(self) -> float:
        """1/tau, fixed."""
        return 1.0 / self.tau


class LearnableLIF(Leaky, sj.ParametricLIFNode):
    """LIF whose leak is learnt: 1/tau = sigmoid(w), one ``w`` per layer (Fang et al., ICCV 2021).

    Arguments as in :class:`LIF`; ``tau`` is the value at the start of training.

    Example:
        >>> from mmsvf.spiking import LearnableLIF
        >>> lif = LearnableLIF(tau=2.0)
        >>> lif(torch.randn(4, 2, 64, 7, 7)).shape
        torch.Size([4, 2, 64, 7, 7])
        >>> lif.leak().item()
        0.5
    """

    def leak(self) -> Tensor:
        """sigmoid(w), learnt."""
        return self.w.sigmoid()
