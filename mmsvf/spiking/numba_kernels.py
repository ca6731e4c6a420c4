"""Neurons over a clip on CPU: one pass over memory, forward and backward, compiled by numba.

A block of neurons stays in cache through all its time steps, so the clip is read once and the spikes are written once.
The backward pass reads the clip again and recomputes the membranes rather than storing them. The arithmetic of a
membrane is, operation by operation, that of the explicit steps in :mod:`mmsvf.spiking.neuron`, so spikes are equal bit
for bit. Compiled on first use, in a second or two; the result is cached on disk where that is possible.

The kernels' arrays are (T, M): time, and all neurons of a step in any order. The functions at the end, called by
:mod:`mmsvf.spiking.clip_ops`, take fp32 clips that are dense, one step after the other.
"""

from __future__ import annotations

import math
import os
import threading
import warnings
from contextlib import suppress
from types import FunctionType
from typing import Any, Callable

import numba
import numpy as np
import torch
from numba import njit, prange
from numba.core.caching import FunctionCache
from torch import Tensor

BLOCK = 4096
F = numba.float32
I32 = numba.int32
# no reordering where a membrane is charged: spikes depend on every bit
EXACT: dict[str, Any] = dict(nogil=True, error_model='numpy')
# gradients may use fused multiply-adds
FUSED: dict[str, Any] = dict(EXACT, fastmath={'contract'})


class OptionalCache(FunctionCache):
    """numba's cache on disk, without which a kernel is compiled in memory.

    Its files are pickles, which run code when they are read. They lie in NUMBA_CACHE_DIR, beside this file or in the
    user's cache folder: whoever can write there can change this file or the user's others as well. NUMBA_CACHE_DIR
    must therefore be a folder that nobody else can write, like PYTHONPYCACHEPREFIX.
    """

    warned = False

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # a damaged pickle may raise anything
            self._give_up(error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        # an index that is damaged, or whose data were not written, would be in the way for good: the next save, here or
        # in another process, begins a new one
        with suppress(OSError):
            os.unlink(self._cache_file._index_path)
        warn_of_cache(error)


def warn_of_cache(error: Exception) -> None:
    """Say once a process that kernels are compiled in memory, and why."""
    if not OptionalCache.warned:
        OptionalCache.warned = True
        warnings.warn(
            f"numba's cache of compiled kernels cannot be used ({type(error).__name__}: {error}): they are compiled in "
            'memory, which takes some seconds in each process. Set NUMBA_CACHE_DIR to a folder with free space that '
            'this user, and nobody else, can write',
            stacklevel=2,
        )


def compiled(**options: Any) -> Callable[[Any], Any]:
    """``numba.njit(cache=True, **options)`` with an :class:`OptionalCache`."""

    def decorate(function: Any) -> Any:
        kernel = njit(**options)(function)
        try:
            kernel._cache = OptionalCache(function)
        except Exception as error:  # there is nowhere to write
            warn_of_cache(error)
        return kernel

    return decorate


def variant(function: Any, suffix: str, **calls: Any) -> Any:
    """A function that calls others, under a name of its own, by which numba's cache on disk tells it apart."""
    other = FunctionType(function.__code__, {**function.__globals__, **calls}, f'{function.__name__}_{suffix}')
    other.__qualname__ = other.__name__
    return other


def both(function: Any) -> tuple[Any, Any]:
    """A kernel for one thread, and for several: numba's parallel region costs more than a small clip."""
    return compiled(**EXACT)(function), compiled(**EXACT, parallel=True)(variant(function, 'parallel'))


@compiled(**FUSED)
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


@compiled(**EXACT)
def _charge(x: Any, v: Any, leak: Any, rest: Any) -> Any:
    return v + ((rest - v) + x) * leak


@compiled(**EXACT)
def _charge_undecayed(x: Any, v: Any, leak: Any, rest: Any) -> Any:
    return v + (rest - v) * leak + x


@compiled(**EXACT)
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


@compiled(**EXACT)
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


@compiled(**FUSED)
def _sigmoid(h: Any, theta: Any, alpha: Any) -> Any:
    """Derivative of sigmoid(alpha * (h - theta)), a surrogate of the spike's."""
    e = _exp_minus(abs(h - theta) * alpha)
    return alpha * e / ((F(1.0) + e) * (F(1.0) + e))


@compiled(**FUSED)
def _atan(h: Any, theta: Any, alpha: Any) -> Any:
    """Derivative of atan(pi / 2 * alpha * (h - theta)) / pi."""
    u = F(np.pi / 2) * alpha * (h - theta)
    return F(0.5) * alpha / (F(1.0) + u * u)


@compiled(**FUSED)
def _rect(h: Any, theta: Any, alpha: Any) -> Any:
    """A window of width 1 / alpha and area 1."""
    return alpha if abs(h - theta) < F(0.5) / alpha else F(0.0)


_surrogate = _sigmoid  # the one that a variant puts in its place


def _lif_gradient(
    h: Any, g: Any, gv: Any, gx: Any, retain: Any, gain: Any, theta: Any, alpha: Any,
    fires_at: Any, keep: Any, after: Any, through_reset: Any,
) -> None:  # fmt: skip
    """One step back: the gradient at ``h`` replaces ``h``, that of the last membrane replaces ``gv``."""
    if through_reset:
        for i in range(len(h)):
            surrogate = _surrogate(h[i], theta, alpha)
            reset = (keep if h[i] >= fires_at else F(1.0)) + (after - (F(1.0) - keep) * h[i]) * surrogate
            h[i] = g[i] * surrogate + gv[i] * reset
            gx[i] = h[i] * gain
            gv[i] = h[i] * retain
    else:
        for i in range(len(h)):
            h[i] = g[i] * _surrogate(h[i], theta, alpha) + gv[i] * (keep if h[i] >= fires_at else F(1.0))
            gx[i] = h[i] * gain
            gv[i] = h[i] * retain


@compiled(**FUSED)
def _leak_gradient(
    x: Any, last: Any, gh: Any, total: Any, rest: Any, decays: Any, fires_at: Any, keep: Any, after: Any
) -> None:
    """Adds what a step gives; ``last`` is the last step's membrane before its spike."""
    for i in range(len(x)):
        v = last[i] * keep + after if last[i] >= fires_at else last[i]
        total[i] += gh[i] * (rest - v + decays * x[i])


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
        total, at_rest = np.zeros(e - b, np.float32), np.full(e - b, rest)
        v[:] = F(0.0)  # from here on the gradient of the membrane
        for t in range(steps - 1, -1, -1):
            _lif_gradient(
                h[t], g[t, b:e], v, gx[t, b:e], F(1.0) - leak, gain, theta, alpha, fires_at, keep, after, through_reset
            )
            if len(leak_parts):  # of a learnt leak; h[t] is a gradient now, h[t - 1] still a membrane
                last, decays = h[t - 1] if t else at_rest, F(1.0) if decay_input else F(0.0)
                _leak_gradient(x[t, b:e], last, h[t], total, rest, decays, fires_at, keep, after)
        if len(leak_parts):
            leak_parts[k] = total.sum()


@compiled(**EXACT)
def _integer_step(x: Any, v: Any, h: Any, s: Any, decay: Any, theta: Any, most: Any) -> None:
    """Integer spikes of a step; the membrane before they are taken off stays in ``h``."""
    for i in range(len(x)):
        h[i] = decay * v[i] + x[i]
        s[i] = np.rint(min(max(h[i] / theta, F(0.0)), most))
        v[i] = h[i] - s[i] * theta


@compiled(**FUSED)
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


LIF = both(_lif)
LIF_BACKWARD = {}
for _name, _derivative in dict(Sigmoid=_sigmoid, ATan=_atan, Rect=_rect).items():
    _gradient = compiled(**FUSED)(variant(_lif_gradient, _name, _surrogate=_derivative))
    LIF_BACKWARD[_name] = both(variant(_lif_backward, _name, _lif_gradient=_gradient))
INTEGER_LIF, INTEGER_LIF_BACKWARD = both(_integer_lif), both(_integer_lif_backward)

# numba's fallback for machines without OpenMP must not be entered twice
_ONE_AT_A_TIME = threading.Lock()
# below this, starting a second thread costs more than it saves
SMALL = 1 << 16
_THREADS: int = vars(numba.config)['NUMBA_NUM_THREADS']


def _threads(size: int) -> int:
    """As many as torch uses for a clip of so many values; one (as in a data loader's worker) starts none."""
    return 1 if size < SMALL else min(torch.get_num_threads(), _THREADS)


def _run(pair: tuple[Any, Any], clip: np.ndarray, *arguments: Any) -> None:
    threads = _threads(clip.size)
    one, several = pair
    if threads == 1:
        one(clip, *arguments)
        return
    with _ONE_AT_A_TIME:
        numba.set_num_threads(threads)
        several(clip, *arguments)


def _matrix(x: Tensor) -> np.ndarray:
    """(T, M) over the memory of a dense clip."""
    steps, size = x.shape[0], x.numel() // x.shape[0]
    return x.detach().as_strided((steps, size), (size, 1)).numpy()


def _f(*values: Any) -> tuple[Any, ...]:
    return tuple(map(np.float32, values))


def lif(x: Tensor, spikes: Tensor, leak: Tensor, decay_input: bool, rest: float, reset: Any) -> None:
    """Spikes of a clip; ``reset`` is (fires_at, keep, after): the membrane after a spike is ``keep * h + after``."""
    _run(LIF, _matrix(x), _matrix(spikes), *_f(leak.item(), rest), decay_input, *_f(*reset))


def lif_backward(
    grad: Tensor, x: Tensor, grad_x: Tensor, leak: Tensor, learn: bool, decay_input: bool, rest: float, theta: float,
    surrogate: str, alpha: float, reset: Any, through_reset: bool,
) -> Tensor:  # fmt: skip
    """Writes the gradient of the clip; returns that of the leak, block by block, if it learns."""
    arrays = _matrix(x), _matrix(grad), _matrix(grad_x)
    leak_parts = np.zeros(math.ceil(arrays[0].shape[1] / BLOCK) if learn else 0)
    constants = *_f(leak.item(), rest), decay_input, *_f(theta, alpha, *reset), through_reset
    _run(LIF_BACKWARD[surrogate], *arrays, *constants, leak_parts)
    return torch.from_numpy(leak_parts)


def integer_lif(x: Tensor, spikes: Tensor, decay: float, theta: float, most: int) -> None:
    """Integer spikes of a clip."""
    _run(INTEGER_LIF, _matrix(x), _matrix(spikes), *_f(decay, theta, most))


def integer_lif_backward(grad: Tensor, x: Tensor, grad_x: Tensor, decay: float, theta: float, most: int) -> None:
    """Writes the gradient of the clip."""
    _run(INTEGER_LIF_BACKWARD, _matrix(x), _matrix(grad), _matrix(grad_x), *_f(decay, theta, most))


def compile_backward(size: int, surrogate: str | None = None) -> None:
    """Compile the backward pass for a clip of ``size`` values: of a LIF with a surrogate, or of an integer LIF."""
    pair = INTEGER_LIF_BACKWARD if surrogate is None else LIF_BACKWARD[surrogate]
    kernel = pair[_threads(size) > 1]
    if kernel.signatures:
        return
    clip, constant, switch = F[:, ::1], F, numba.boolean
    signature: list[Any] = [clip] * 3 + [constant] * 3
    if surrogate is not None:
        signature = [clip] * 3 + [constant] * 2 + [switch] + [constant] * 5 + [switch, numba.float64[::1]]
    kernel.compile(tuple(signature))
