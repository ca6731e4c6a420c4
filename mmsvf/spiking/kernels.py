"""Neurons over a clip on CPU: one pass over memory, forward and backward, compiled by numba.

A block of neurons stays in cache through all its time steps, so the clip is read once and the spikes are written once.
The backward pass reads the clip again and recomputes the membranes rather than storing them. The arithmetic of a
membrane is, operation by operation, that of the explicit steps in :mod:`mmsvf.spiking.neuron`, so spikes are equal bit
for bit. Compiled on first use, in a second or two; the result is cached on disk.

Arrays are (T, M): time, and all neurons of a step in any order.
"""

from __future__ import annotations

import math
from types import FunctionType
from typing import Any

import numba
import numpy as np
from numba import njit, prange

BLOCK = 1024
F = numba.float32
I32 = numba.int32
# no reordering where a membrane is charged: spikes depend on every bit
EXACT: dict[str, Any] = dict(nogil=True, error_model='numpy', cache=True)
# gradients may use fused multiply-adds
FUSED: dict[str, Any] = dict(EXACT, fastmath={'contract'})


def both(function: Any) -> tuple[Any, Any]:
    """A kernel for one thread, and for several: numba's parallel region costs more than a small clip."""
    # under a name of its own, since numba's cache on disk does not tell the two apart otherwise
    several = FunctionType(function.__code__, function.__globals__, f'{function.__name__}_parallel')
    several.__qualname__ = several.__name__
    return njit(**EXACT)(function), njit(**EXACT, parallel=True)(several)


@njit(**FUSED)
def _exp_minus(distance: Any) -> Any:
    """exp(-distance) for 0 <= distance, to 2e-7 of it: in plain operations, so that it is vectorised (Cephes' expf)."""
    a = min(distance, F(87.0))
    n = np.int32(a * F(1.44269504) + F(0.5))
    r = F(n) * F(0.693359375) - a - F(n) * F(2.12194440e-4)
    p = F(1.9875691500e-4)
    p = p * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    p = p * r * r + r + F(1.0)
    return p * np.int32((I32(127) - n) << I32(23)).view(np.float32)


@njit(**EXACT)
def _charge(x: Any, v: Any, leak: Any, rest: Any) -> Any:
    return v + ((rest - v) + x) * leak


@njit(**EXACT)
def _charge_undecayed(x: Any, v: Any, leak: Any, rest: Any) -> Any:
    return v + (rest - v) * leak + x


@njit(**EXACT)
def _lif_step(
    x: Any, v: Any, s: Any, leak: Any, rest: Any, decay_input: Any, fires_at: Any, keep: Any, after: Any
) -> None:
    """Spikes of a step, and the membrane: ``keep * h + after`` where there is one."""
    if decay_input:  # two loops, since a condition inside would not be vectorised
        for i in range(len(x)):
            h = _charge(x[i], v[i], leak, rest)
            s[i] = F(1.0) if h >= fires_at else F(0.0)
            v[i] = h * keep + after if h >= fires_at else h
    else:
        for i in range(len(x)):
            h = _charge_undecayed(x[i], v[i], leak, rest)
            s[i] = F(1.0) if h >= fires_at else F(0.0)
            v[i] = h * keep + after if h >= fires_at else h


@njit(**EXACT)
def _membranes(
    x: Any, v: Any, h: Any, leak: Any, rest: Any, decay_input: Any, fires_at: Any, keep: Any, after: Any
) -> None:
    """As :func:`_lif_step`, but what is written is the membrane before the spike."""
    if decay_input:
        for i in range(len(x)):
            h[i] = _charge(x[i], v[i], leak, rest)
            v[i] = h[i] * keep + after if h[i] >= fires_at else h[i]
    else:
        for i in range(len(x)):
            h[i] = _charge_undecayed(x[i], v[i], leak, rest)
            v[i] = h[i] * keep + after if h[i] >= fires_at else h[i]


def _lif(x: Any, s: Any, leak: Any, rest: Any, decay_input: Any, fires_at: Any, keep: Any, after: Any) -> None:
    size, in_place = x.shape[1], x.ctypes.data == s.ctypes.data
    for k in prange((size + BLOCK - 1) // BLOCK):
        b, e = k * BLOCK, min(size, (k + 1) * BLOCK)
        v, row = np.full(e - b, rest), np.empty(e - b, np.float32)
        for t in range(len(x)):
            if in_place:  # what overlaps would not be vectorised
                row[:] = x[t, b:e]
                _lif_step(row, v, s[t, b:e], leak, rest, decay_input, fires_at, keep, after)
            else:
                _lif_step(x[t, b:e], v, s[t, b:e], leak, rest, decay_input, fires_at, keep, after)


@njit(**FUSED)
def _lif_gradient(
    h: Any, g: Any, gv: Any, gx: Any, retain: Any, gain: Any, theta: Any, alpha: Any,
    fires_at: Any, keep: Any, after: Any, through_reset: Any,
) -> None:  # fmt: skip
    """One step back: the gradient at ``h`` replaces ``h``, that of the last membrane replaces ``gv``."""
    for i in range(len(h)):
        e = _exp_minus(abs(h[i] - theta) * alpha)
        surrogate = alpha * e / ((F(1.0) + e) * (F(1.0) + e))
        reset = keep if h[i] >= fires_at else F(1.0)
        reset += through_reset * (after - (F(1.0) - keep) * h[i]) * surrogate
        gh = g[i] * surrogate + gv[i] * reset
        gx[i] = gh * gain
        gv[i] = gh * retain
        h[i] = gh


@njit(**EXACT)
def _reset(h: Any, v: Any, fires_at: Any, keep: Any, after: Any) -> None:
    for i in range(len(h)):
        v[i] = h[i] * keep + after if h[i] >= fires_at else h[i]


@njit(**FUSED)
def _leak_gradient(x: Any, v: Any, gh: Any, total: Any, rest: Any, decays: Any) -> None:
    for i in range(len(x)):
        total[i] += gh[i] * (rest - v[i] + decays * x[i])


def _lif_backward(
    x: Any, g: Any, gx: Any, leak: Any, rest: Any, decay_input: Any, theta: Any, alpha: Any,
    fires_at: Any, keep: Any, after: Any, through_reset: Any, leak_parts: Any,
) -> None:  # fmt: skip
    steps, size = x.shape
    gain = leak if decay_input else F(1.0)
    for k in prange((size + BLOCK - 1) // BLOCK):
        b, e = k * BLOCK, min(size, (k + 1) * BLOCK)
        h, v = np.empty((steps, e - b), np.float32), np.full(e - b, rest)
        for t in range(steps):
            _membranes(x[t, b:e], v, h[t], leak, rest, decay_input, fires_at, keep, after)
        total, last = np.zeros(e - b, np.float32), np.empty(e - b, np.float32)
        v[:] = F(0.0)  # from here on the gradient of the membrane
        for t in range(steps - 1, -1, -1):
            _lif_gradient(
                h[t], g[t, b:e], v, gx[t, b:e], F(1.0) - leak, gain, theta, alpha, fires_at, keep, after, through_reset
            )
            if len(leak_parts):  # of a learnt leak; h[t] is a gradient now, h[t - 1] still a membrane
                if t:
                    _reset(h[t - 1], last, fires_at, keep, after)
                else:
                    last[:] = rest
                _leak_gradient(x[t, b:e], last, h[t], total, rest, F(1.0) if decay_input else F(0.0))
        if len(leak_parts):
            leak_parts[k] = total.sum()


@njit(**EXACT)
def _integer_step(x: Any, v: Any, h: Any, s: Any, decay: Any, theta: Any, most: Any) -> None:
    """Integer spikes of a step; the membrane before they are taken off stays in ``h``."""
    for i in range(len(x)):
        h[i] = decay * v[i] + x[i]
        s[i] = np.rint(min(max(h[i] / theta, F(0.0)), most))
        v[i] = h[i] - s[i] * theta


@njit(**FUSED)
def _integer_gradient(h: Any, g: Any, gv: Any, gx: Any, decay: Any, theta: Any, most: Any) -> None:
    for i in range(len(h)):
        u = h[i] / theta
        gx[i] = gv[i] + (g[i] / theta if (F(0.0) <= u) & (u <= most) else F(0.0))
        gv[i] = gx[i] * decay


def _integer_lif(x: Any, s: Any, decay: Any, theta: Any, most: Any) -> None:
    size, in_place = x.shape[1], x.ctypes.data == s.ctypes.data
    for k in prange((size + BLOCK - 1) // BLOCK):
        b, e = k * BLOCK, min(size, (k + 1) * BLOCK)
        h, v, row = np.empty(e - b, np.float32), np.zeros(e - b, np.float32), np.empty(e - b, np.float32)
        for t in range(len(x)):
            if in_place:
                row[:] = x[t, b:e]
                _integer_step(row, v, h, s[t, b:e], decay, theta, most)
            else:
                _integer_step(x[t, b:e], v, h, s[t, b:e], decay, theta, most)


def _integer_lif_backward(x: Any, g: Any, gx: Any, decay: Any, theta: Any, most: Any) -> None:
    steps, size = x.shape
    for k in prange((size + BLOCK - 1) // BLOCK):
        b, e = k * BLOCK, min(size, (k + 1) * BLOCK)
        h, v, s = np.empty((steps, e - b), np.float32), np.zeros(e - b, np.float32), np.empty(e - b, np.float32)
        for t in range(steps):
            _integer_step(x[t, b:e], v, h[t], s, decay, theta, most)
        v[:] = F(0.0)
        for t in range(steps - 1, -1, -1):
            _integer_gradient(h[t], g[t, b:e], v, gx[t, b:e], decay, theta, most)


LIF, LIF_BACKWARD = both(_lif), both(_lif_backward)
INTEGER_LIF, INTEGER_LIF_BACKWARD = both(_integer_lif), both(_integer_lif_backward)


def blocks(size: int) -> int:
    """Number of blocks that ``size`` neurons are worked on in."""
    return math.ceil(size / BLOCK)
