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
import threading
from functools import partial
from typing import Any

import numba
import numpy as np
import torch
from numba import prange
from torch import Tensor

from .kernel_cache import compiled
from .surrogates import ATAN, SIGMOID

BLOCK = 4096
F = numba.float32
I32 = numba.int32
# no reordering where a membrane is charged: spikes depend on every bit
exact = partial(compiled, nogil=True, error_model='numpy')
# gradients may use fused multiply-adds
contracted = partial(exact, fastmath={'contract'})


def both(function: Any) -> tuple[Any, Any]:
    """A kernel for one thread, and for several: numba's parallel region costs more than a small clip."""
    return exact(function), exact(function, parallel=True)


@contracted
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


@exact
def charge(
    x: Any, v: Any, h: Any, leak: Any, rest: Any, decay_input: Any, fires_at: Any, keep: Any, after: Any
) -> None:
    """Membranes of a step: ``h`` before the spike, ``v`` after it, ``keep * h + after`` where there is one."""
    if decay_input:  # two loops, since a condition inside would not be vectorised
        for i in range(len(x)):
            h[i] = v[i] + ((rest - v[i]) + x[i]) * leak
            v[i] = h[i] * keep + after if h[i] >= fires_at else h[i]
    else:
        for i in range(len(x)):
            h[i] = v[i] + (rest - v[i]) * leak + x[i]
            v[i] = h[i] * keep + after if h[i] >= fires_at else h[i]


@exact
def fire(h: Any, s: Any, fires_at: Any) -> None:
    """Spikes of a step, of the membranes before them."""
    for i in range(len(h)):
        s[i] = F(1.0) if h[i] >= fires_at else F(0.0)


def _lif(
    x: Any, s: Any, carried: Any, leak: Any, decay_input: Any, rest: Any, fires_at: Any, keep: Any, after: Any
) -> None:
    """``carried`` has the membranes before the clip and then those after it, or is empty: from rest."""
    leak, rest, fires_at, keep, after = F(leak), F(rest), F(fires_at), F(keep), F(after)
    size = x.shape[1]
    for k in prange((size + BLOCK - 1) // BLOCK):
        b, e = k * BLOCK, min(size, (k + 1) * BLOCK)
        h, v = np.empty(e - b, np.float32), carried[b:e] if len(carried) else np.full(e - b, rest)
        for t in range(len(x)):  # spikes may take the place of the clip: a step is read before it is written
            charge(x[t, b:e], v, h, leak, rest, decay_input, fires_at, keep, after)
            fire(h, s[t, b:e], fires_at)


@contracted
def _derivatives(h: Any, d: Any, theta: Any, alpha: Any, surrogate: Any) -> None:
    """What stands for the derivative of the spike, by the membrane's distance from the threshold."""
    if surrogate == SIGMOID:  # the derivative of sigmoid(alpha * u)
        for i in range(len(h)):
            e = _exp_minus(abs(h[i] - theta) * alpha)
            d[i] = alpha * e / ((F(1.0) + e) * (F(1.0) + e))
    elif surrogate == ATAN:  # of atan(pi / 2 * alpha * u) / pi
        for i in range(len(h)):
            u = F(np.pi / 2) * alpha * (h[i] - theta)
            d[i] = F(0.5) * alpha / (F(1.0) + u * u)
    else:  # a window of width 1 / alpha and area 1
        for i in range(len(h)):
            d[i] = alpha if abs(h[i] - theta) < F(0.5) / alpha else F(0.0)


@contracted
def _lif_gradient(
    h: Any, d: Any, g: Any, gv: Any, gx: Any, retain: Any, gain: Any,
    fires_at: Any, keep: Any, after: Any, through_reset: Any,
) -> None:  # fmt: skip
    """One step back: the gradient at ``h`` replaces ``h``, that of the last membrane replaces ``gv``."""
    if through_reset:
        for i in range(len(h)):
            reset = (keep if h[i] >= fires_at else F(1.0)) + (after - (F(1.0) - keep) * h[i]) * d[i]
            h[i] = g[i] * d[i] + gv[i] * reset
            gx[i] = h[i] * gain
            gv[i] = h[i] * retain
    else:
        for i in range(len(h)):
            h[i] = g[i] * d[i] + gv[i] * (keep if h[i] >= fires_at else F(1.0))
            gx[i] = h[i] * gain
            gv[i] = h[i] * retain


@contracted
def _leak_gradient(
    x: Any, last: Any, gh: Any, total: Any, rest: Any, decays: Any, fires_at: Any, keep: Any, after: Any
) -> None:
    """Adds what a step gives; ``last`` is the last step's membrane before its spike."""
    for i in range(len(x)):
        v = last[i] * keep + after if last[i] >= fires_at else last[i]
        total[i] += gh[i] * (rest - v + decays * x[i])


def _lif_backward(
    x: Any, g: Any, gx: Any, past: Any, carried: Any, leak: Any, decay_input: Any, rest: Any, fires_at: Any, keep: Any,
    after: Any, theta: Any, through_reset: Any, surrogate: Any, alpha: Any, leak_parts: Any,
) -> None:  # fmt: skip
    """``carried`` has the gradient at the membranes after the clip and then that at ``past``; empty: from rest."""
    leak, rest, theta, alpha = F(leak), F(rest), F(theta), F(alpha)
    fires_at, keep, after = F(fires_at), F(keep), F(after)
    steps, size = x.shape
    gain = leak if decay_input else F(1.0)
    for k in prange((size + BLOCK - 1) // BLOCK):
        b, e = k * BLOCK, min(size, (k + 1) * BLOCK)
        h, d = np.empty((steps, e - b), np.float32), np.empty(e - b, np.float32)
        v = past[b:e].copy() if len(past) else np.full(e - b, rest)
        for t in range(steps):
            charge(x[t, b:e], v, h[t], leak, rest, decay_input, fires_at, keep, after)
        total, at_rest = np.zeros(e - b, np.float32), np.full(e - b, rest)
        v[:] = carried[b:e] if len(past) else np.zeros(e - b, np.float32)  # from here on its gradient
        for t in range(steps - 1, -1, -1):
            _derivatives(h[t], d, theta, alpha, surrogate)
            gh, retain = gx[t, b:e], F(1.0) - leak
            _lif_gradient(h[t], d, g[t, b:e], v, gh, retain, gain, fires_at, keep, after, through_reset)
            if len(leak_parts):  # of a learnt leak; h[t] is a gradient now, h[t - 1] still a membrane
                last, decays = h[t - 1] if t else at_rest, F(1.0) if decay_input else F(0.0)
                _leak_gradient(x[t, b:e], last, h[t], total, rest, decays, fires_at, keep, after)
        if len(leak_parts):
            leak_parts[k] = total.sum()
        if len(past):
            carried[b:e] = v


@exact
def _integer_step(x: Any, v: Any, h: Any, s: Any, decay: Any, theta: Any, most: Any) -> None:
    """Integer spikes of a step; the membrane before they are taken off stays in ``h``."""
    for i in range(len(x)):
        h[i] = decay * v[i] + x[i]
    for i in range(len(x)):
        s[i] = np.rint(min(max(h[i] / theta, F(0.0)), most))
        v[i] = h[i] - s[i] * theta


@contracted
def _integer_gradient(h: Any, g: Any, gv: Any, gx: Any, decay: Any, theta: Any, most: Any) -> None:
    for i in range(len(h)):
        u = h[i] / theta
        gx[i] = gv[i] + (g[i] / theta if (F(0.0) <= u) & (u <= most) else F(0.0))
        gv[i] = gx[i] * decay


def _integer_lif(x: Any, s: Any, carried: Any, decay: Any, theta: Any, most: Any) -> None:
    decay, theta, most = F(decay), F(theta), F(most)
    size = x.shape[1]
    for k in prange((size + BLOCK - 1) // BLOCK):
        b, e = k * BLOCK, min(size, (k + 1) * BLOCK)
        h, v = np.empty(e - b, np.float32), carried[b:e] if len(carried) else np.zeros(e - b, np.float32)
        for t in range(len(x)):
            _integer_step(x[t, b:e], v, h, s[t, b:e], decay, theta, most)


def _integer_lif_backward(x: Any, g: Any, gx: Any, past: Any, carried: Any, decay: Any, theta: Any, most: Any) -> None:
    decay, theta, most = F(decay), F(theta), F(most)
    steps, size = x.shape
    for k in prange((size + BLOCK - 1) // BLOCK):
        b, e = k * BLOCK, min(size, (k + 1) * BLOCK)
        h, s = np.empty((steps, e - b), np.float32), np.empty(e - b, np.float32)
        v = past[b:e].copy() if len(past) else np.zeros(e - b, np.float32)
        for t in range(steps):
            _integer_step(x[t, b:e], v, h[t], s, decay, theta, most)
        v[:] = carried[b:e] if len(past) else np.zeros(e - b, np.float32)
        for t in range(steps - 1, -1, -1):
            _integer_gradient(h[t], g[t, b:e], v, gx[t, b:e], decay, theta, most)
        if len(past):
            carried[b:e] = v


LIF, LIF_BACKWARD = both(_lif), both(_lif_backward)
INTEGER_LIF, INTEGER_LIF_BACKWARD = both(_integer_lif), both(_integer_lif_backward)

FROM_REST = np.zeros(0, np.float32)

# numba's fallback for machines without OpenMP must not be entered twice
_ONE_AT_A_TIME = threading.Lock()
# below this, starting a second thread costs more than it saves
SMALL = 1 << 16
_THREADS: int = vars(numba.config)['NUMBA_NUM_THREADS']


def threads_for(size: int) -> int:
    """As many as torch uses for a clip of so many values; one (as in a data loader's worker) starts none."""
    return 1 if size < SMALL else min(torch.get_num_threads(), _THREADS)


def run_pair(pair: tuple[Any, Any], *arguments: Any) -> Any:
    """Run a kernel in as many threads as its first argument deserves."""
    threads = threads_for(arguments[0].size)
    one, several = pair
    if threads == 1:
        return one(*arguments)
    with _ONE_AT_A_TIME:
        numba.set_num_threads(threads)
        return several(*arguments)


def _matrix(x: Tensor) -> np.ndarray:
    """(T, M) over the memory of a dense clip."""
    steps, size = x.shape[0], x.numel() // x.shape[0]
    return x.detach().as_strided((steps, size), (size, 1)).numpy()


def lif(x: Tensor, spikes: Tensor, leak: Tensor, *constants: Any) -> None:
    """Spikes of a clip; the constants are those that :mod:`mmsvf.spiking.clip_ops` prepares."""
    run_pair(LIF, _matrix(x), _matrix(spikes), FROM_REST, leak.item(), *constants[:5])


def lif_advance(x: Tensor, spikes: Tensor, membranes: Tensor, leak: Tensor, *constants: Any) -> None:
    """Spikes of a clip from membranes of the same layout, which become those after it."""
    run_pair(LIF, _matrix(x), _matrix(spikes), _matrix(membranes[None])[0], leak.item(), *constants[:5])


def lif_backward(grad: Tensor, x: Tensor, grad_x: Tensor, learn: bool, leak: Tensor, *constants: Any) -> Tensor:
    """Writes the gradient of the clip; returns that of the leak, block by block, if it learns."""
    arrays = _matrix(x), _matrix(grad), _matrix(grad_x)
    leak_parts = np.zeros(math.ceil(arrays[0].shape[1] / BLOCK) if learn else 0)
    run_pair(LIF_BACKWARD, *arrays, FROM_REST, FROM_REST, leak.item(), *constants, leak_parts)
    return torch.from_numpy(leak_parts)


def integer_lif(x: Tensor, spikes: Tensor, *constants: Any) -> None:
    """Integer spikes of a clip."""
    run_pair(INTEGER_LIF, _matrix(x), _matrix(spikes), FROM_REST, *constants)


def integer_lif_advance(x: Tensor, spikes: Tensor, membranes: Tensor, *constants: Any) -> None:
    """Integer spikes of a clip from membranes of the same layout, which become those after it."""
    run_pair(INTEGER_LIF, _matrix(x), _matrix(spikes), _matrix(membranes[None])[0], *constants)


def integer_lif_backward(grad: Tensor, x: Tensor, grad_x: Tensor, learn: bool, *constants: Any) -> Tensor:
    """Writes the gradient of the clip; nothing learns."""
    run_pair(INTEGER_LIF_BACKWARD, _matrix(x), _matrix(grad), _matrix(grad_x), FROM_REST, FROM_REST, *constants)
    return torch.zeros(0)


def advance_backward(name: str, clips: tuple[Tensor, ...], steps: tuple[Tensor, ...], *constants: Any) -> None:
    """Writes the gradient of a clip: ``clips`` are x, that at the spikes, that of x; ``steps`` past and carried."""
    arrays = [*map(_matrix, clips), *(_matrix(step[None])[0] for step in steps)]
    if name == 'lif':
        run_pair(LIF_BACKWARD, *arrays, constants[0].item(), *constants[1:], np.zeros(0))
    else:
        run_pair(INTEGER_LIF_BACKWARD, *arrays, *constants)


def compile_backward(size: int, operator: str) -> None:
    """Compile an operator's backward pass for a clip of ``size`` values."""
    clip, step, number, count, switch = F[:, ::1], F[::1], numba.float64, numba.int64, numba.boolean
    constants: tuple[Any, ...] = (number, number, count)
    pair = INTEGER_LIF_BACKWARD
    if operator == 'lif':
        pair = LIF_BACKWARD
        constants = (number, switch, number, number, number, number, number, switch, count, number, number[::1])
    kernel = pair[threads_for(size) > 1]
    if not kernel.signatures:
        kernel.compile((clip, clip, clip, step, step, *constants))
