"""Neurons over a clip on GPU: one pass over memory, forward and backward, compiled by Triton.

A program keeps a block of neurons in registers through all time steps. The backward pass reads the clip again and
recomputes the membranes, up to ``CHUNK`` steps at a time from the last to the first; of a longer clip it first writes
down the membranes at which the chunks start. Membranes are fp32 whatever the type of the clip, and they are charged
without fused multiply-adds, operation by operation as in :mod:`mmsvf.spiking.neuron`: spikes are equal bit for bit.

The functions at the end are those of :mod:`mmsvf.spiking.numba_kernels`, for dense clips, one step after the other.
With ``TRITON_INTERPRET=1`` they run on CPU, for tests.
"""

# mypy: disable-error-code="assignment,var-annotated"
from __future__ import annotations

import logging
import math
import os
from functools import cache
from pathlib import Path
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import surrogates

SIGMOID, ATAN, RECT = (tl.constexpr(kernel) for kernel in (surrogates.SIGMOID, surrogates.ATAN, surrogates.RECT))
BLOCK = 256  # neurons of a program
CHUNK = 8  # steps whose membranes stay in registers: 64 to 96 of them, and a second to compile
# no multiply-adds, in which a product is not rounded: spikes depend on every bit
OPTIONS: dict[str, Any] = dict(BLOCK=BLOCK, enable_fp_fusion=False)


@triton.jit
def _charge(x, v, leak, rest, DECAY_INPUT: tl.constexpr):
    if DECAY_INPUT:
        h = v + ((rest - v) + x) * leak
    else:
        h = v + (rest - v) * leak + x
    return h


@triton.jit
def _read(clip, step, steps, size, i):
    """A step of a clip in fp32, zero beyond its end."""
    return tl.load(clip + step * size + i, i < tl.where(step < steps, size, 0), other=0.0).to(tl.float32)


@triton.jit
def _start(carried, size, i, otherwise, CARRIED: tl.constexpr, BLOCK: tl.constexpr):
    """What a clip starts with: the values that are handed in, or one for all."""
    start = tl.zeros((BLOCK,), tl.float32) + otherwise
    if CARRIED:
        start = tl.load(carried + i, i < size, other=0.0)
    return start


@triton.jit
def _surrogate(u, alpha, SURROGATE: tl.constexpr):
    """Surrogate of the spike's derivative, ``u`` above the threshold."""
    if SURROGATE == SIGMOID:
        e = tl.exp(-tl.abs(u) * alpha)
        derivative = alpha * e / ((1.0 + e) * (1.0 + e))
    elif SURROGATE == ATAN:
        u = 1.5707963267948966 * alpha * u
        derivative = 0.5 * alpha / (1.0 + u * u)
    else:
        tl.static_assert(SURROGATE == RECT)
        derivative = tl.where(tl.abs(u) < 0.5 / alpha, alpha, 0.0)
    return derivative


@triton.jit
def _lif(
    x, spikes, carried, leak, steps, size, rest, fires_at, keep, after,
    DECAY_INPUT: tl.constexpr, CARRIED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    leak = tl.load(leak).to(tl.float32)
    v = _start(carried, size, i, rest, CARRIED, BLOCK)
    for step in range(steps):
        t = tl.cast(step, tl.int64)  # large clips have more than 2^31 values
        h = _charge(_read(x, t, steps, size, i), v, leak, rest, DECAY_INPUT)
        tl.store(spikes + t * size + i, tl.where(h >= fires_at, 1.0, 0.0), i < size)
        v = tl.where(h >= fires_at, h * keep + after, h)
    if CARRIED:
        tl.store(carried + i, v, i < size)


@triton.jit
def _lif_backward(
    x, grad, grad_x, starts, past, carried, leak_parts, leak, steps, size, rest, theta, alpha, fires_at, keep, after,
    SURROGATE: tl.constexpr, THROUGH_RESET: tl.constexpr, LEARN: tl.constexpr, DECAY_INPUT: tl.constexpr,
    CHUNK: tl.constexpr, CARRIED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    i = program.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    leak = tl.load(leak).to(tl.float32)
    chunks = tl.cdiv(steps, CHUNK)
    first = _start(past, size, i, rest, CARRIED, BLOCK)
    v = first
    for step in range((chunks - 1) * CHUNK):
        t = tl.cast(step, tl.int64)
        h = _charge(_read(x, t, steps, size, i), v, leak, rest, DECAY_INPUT)
        v = tl.where(h >= fires_at, h * keep + after, h)
        tl.store(starts + (t // CHUNK) * size + i, v, i < tl.where(t % CHUNK == CHUNK - 1, size, 0))
    tl.debug_barrier()  # a thread may read what another one wrote
    gv = _start(carried, size, i, 0.0, CARRIED, BLOCK)  # gradient of the membrane
    total = tl.zeros((BLOCK,), tl.float32)  # of the leak
    for k in range(chunks):
        chunk = tl.cast(chunks - 1 - k, tl.int64)
        begin = tl.load(starts + (chunk - 1) * size + i, i < tl.where(chunk > 0, size, 0), other=0.0)
        begin = tl.where(chunk > 0, begin, first)
        v, membranes = begin, ()
        for s in tl.static_range(CHUNK):
            h = _charge(_read(x, chunk * CHUNK + s, steps, size, i), v, leak, rest, DECAY_INPUT)
            v = tl.where(h >= fires_at, h * keep + after, h)
            membranes = membranes + (h,)
        for back in tl.static_range(CHUNK):
            t = chunk * CHUNK + CHUNK - 1 - back
            h = membranes[CHUNK - 1 - back]
            surrogate = _surrogate(h - theta, alpha, SURROGATE)
            reset = tl.where(h >= fires_at, keep, 1.0)
            if THROUGH_RESET:
                reset += (after - (1.0 - keep) * h) * surrogate
            gh = _read(grad, t, steps, size, i) * surrogate + gv * reset
            gh = tl.where(t < steps, gh, 0.0)
            gv = tl.where(t < steps, gh * (1.0 - leak), gv)
            if LEARN:
                if CHUNK - 1 - back > 0:
                    last = membranes[CHUNK - 2 - back]
                    v = tl.where(last >= fires_at, last * keep + after, last)
                else:
                    v = begin
                if DECAY_INPUT:
                    total += gh * ((rest - v) + _read(x, t, steps, size, i))
                else:
                    total += gh * (rest - v)
            if DECAY_INPUT:
                gh = gh * leak
            tl.store(grad_x + t * size + i, gh, i < tl.where(t < steps, size, 0))
    if LEARN:
        tl.store(leak_parts + program, tl.sum(tl.where(i < size, total, 0.0)))
    if CARRIED:
        tl.store(carried + i, gv, i < size)


@triton.jit
def _fire_integers(h, theta, most):
    """round(clamp(h / theta, 0, most)), halves to even: adding 1.5 * 2^23 leaves no digits after the point."""
    u = tl.minimum(tl.maximum(tl.div_rn(h, theta), 0.0), most)
    return (u + 12582912.0) - 12582912.0


@triton.jit
def _integer_lif(
    x, spikes, carried, steps, size, decay, theta, most, CARRIED: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    theta = tl.zeros((BLOCK,), tl.float32) + theta
    v = _start(carried, size, i, 0.0, CARRIED, BLOCK)
    for step in range(steps):
        t = tl.cast(step, tl.int64)  # large clips have more than 2^31 values
        h = decay * v + _read(x, t, steps, size, i)
        fired = _fire_integers(h, theta, most)
        tl.store(spikes + t * size + i, fired, i < size)
        v = h - fired * theta
    if CARRIED:
        tl.store(carried + i, v, i < size)


@triton.jit
def _integer_lif_backward(
    x, grad, grad_x, starts, past, carried, steps, size, decay, theta, most,
    CHUNK: tl.constexpr, CARRIED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    theta = tl.zeros((BLOCK,), tl.float32) + theta
    chunks = tl.cdiv(steps, CHUNK)
    first = _start(past, size, i, 0.0, CARRIED, BLOCK)
    v = first
    for step in range((chunks - 1) * CHUNK):
        t = tl.cast(step, tl.int64)
        h = decay * v + _read(x, t, steps, size, i)
        v = h - _fire_integers(h, theta, most) * theta
        tl.store(starts + (t // CHUNK) * size + i, v, i < tl.where(t % CHUNK == CHUNK - 1, size, 0))
    tl.debug_barrier()
    gv = _start(carried, size, i, 0.0, CARRIED, BLOCK)
    for k in range(chunks):
        chunk = tl.cast(chunks - 1 - k, tl.int64)
        v = tl.load(starts + (chunk - 1) * size + i, i < tl.where(chunk > 0, size, 0), other=0.0)
        v = tl.where(chunk > 0, v, first)
        passes = ()  # where the gradient passes straight through
        for s in tl.static_range(CHUNK):
            h = decay * v + _read(x, chunk * CHUNK + s, steps, size, i)
            v = h - _fire_integers(h, theta, most) * theta
            u = tl.div_rn(h, theta)
            passes = passes + ((u >= 0.0) & (u <= most),)
        for back in tl.static_range(CHUNK):
            t = chunk * CHUNK + CHUNK - 1 - back
            g = tl.div_rn(_read(grad, t, steps, size, i), theta)
            gh = gv + tl.where(passes[CHUNK - 1 - back], g, 0.0)
            tl.store(grad_x + t * size + i, gh, i < tl.where(t < steps, size, 0))
            gv = tl.where(t < steps, gh * decay, gv)
    if CARRIED:
        tl.store(carried + i, gv, i < size)


@cache
def tell_of_compiling() -> None:
    """Say once per process that kernels are compiled now, if Triton's cache has none of them."""
    home = os.environ.get('TRITON_HOME', '').strip() or Path.home()
    folder = Path(os.environ.get('TRITON_CACHE_DIR', '').strip() or Path(home, '.triton', 'cache'))
    if os.environ.get('TRITON_INTERPRET') != '1' and not any(folder.glob('*/*_lif*.json')):
        message = "compiling the neurons' kernels for GPU, once on this machine; they are kept in %s"
        logging.getLogger(__name__).info(message, folder)


def _sizes(x: Tensor) -> tuple[int, int, tuple[int]]:
    tell_of_compiling()
    size = x[0].numel()
    return len(x), size, (triton.cdiv(size, BLOCK),)


def _chunked(x: Tensor) -> tuple[int, Tensor]:
    """Steps of a chunk, and room for the membranes at which all chunks but the first start."""
    chunks = math.ceil(len(x) / CHUNK)
    return math.ceil(len(x) / chunks), torch.empty(max(chunks - 1, 1), *x.shape[1:], device=x.device)


def _run(kernel: Any, clips: tuple[Tensor, ...], ends: tuple[Tensor | None, ...], *arguments: Any) -> None:
    """A kernel whose ``ends`` are those of the membranes, or None: from rest, where it takes no look at them."""
    steps, size, grid = _sizes(clips[0])
    given = (clips[0] if end is None else end for end in ends)
    tensors = [value for value in arguments if isinstance(value, Tensor)]
    others = [value for value in arguments if not isinstance(value, Tensor)]
    with torch.cuda.device_of(clips[0]):
        kernel[grid](*clips, *given, *tensors, steps, size, *others, CARRIED=ends[0] is not None, **OPTIONS)


def lif(x: Tensor, spikes: Tensor, *constants: Any) -> None:
    """Spikes of a clip; the constants are those that :mod:`mmsvf.spiking.clip_ops` prepares."""
    lif_advance(x, spikes, None, *constants)


def lif_advance(x: Tensor, spikes: Tensor, carried: Tensor | None, leak: Tensor, decay: bool, *constants: Any) -> None:
    """Spikes of a clip from membranes of the same layout, which become those after it; None: from rest."""
    _run(_lif, (x, spikes), (carried,), leak, *constants[:4], decay)


def lif_backward(grad: Tensor, x: Tensor, grad_x: Tensor, learn: bool, leak: Tensor, *constants: Any) -> Tensor:
    """Writes the gradient of the clip; returns that of the leak, block by block, if it learns."""
    return _lif_gradients((x, grad, grad_x), (None, None), learn, leak, *constants)


def _lif_gradients(
    clips: tuple[Tensor, ...], ends: tuple[Tensor | None, ...], learn: bool, leak: Tensor, decay_input: bool,
    rest: float, fires_at: float, keep: float, after: float, theta: float, through_reset: bool, surrogate: int,
    alpha: float,
) -> Tensor:  # fmt: skip
    x = clips[0]
    chunk, starts = _chunked(x)
    leak_parts = torch.zeros(_sizes(x)[2] if learn else 1, device=x.device)
    numbers = rest, theta, alpha, fires_at, keep, after, surrogate, through_reset, learn, decay_input, chunk
    _run(_lif_backward, (*clips, starts), ends, leak_parts, leak, *numbers)
    return leak_parts


def integer_lif(x: Tensor, spikes: Tensor, *constants: Any) -> None:
    """Integer spikes of a clip."""
    integer_lif_advance(x, spikes, None, *constants)


def integer_lif_advance(
    x: Tensor, spikes: Tensor, carried: Tensor | None, decay: float, theta: float, most: int
) -> None:
    """Integer spikes of a clip from membranes of the same layout, which become those after it; None: from rest."""
    _run(_integer_lif, (x, spikes), (carried,), decay, theta, float(most))


def integer_lif_backward(grad: Tensor, x: Tensor, grad_x: Tensor, learn: bool, *constants: Any) -> Tensor:
    """Writes the gradient of the clip; nothing learns."""
    advance_backward('integer_lif', (x, grad, grad_x), (None, None), *constants)
    return torch.zeros(0, device=x.device)


def advance_backward(name: str, clips: tuple[Tensor, ...], steps: tuple[Tensor | None, ...], *constants: Any) -> None:
    """Writes the gradient of a clip: ``clips`` are x, that at the spikes, that of x; ``steps`` past and carried."""
    if name == 'lif':
        _lif_gradients(clips, steps, False, *constants)
        return
    (decay, theta, most), (chunk, starts) = constants, _chunked(clips[0])
    _run(_integer_lif_backward, (*clips, starts), steps, decay, theta, float(most), chunk)


def compile_backward(size: int, operator: str) -> None:
    """Nothing: Triton compiles when a kernel runs."""
