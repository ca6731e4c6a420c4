"""Convolutions of spikes on CPU that add the rows of weights which spikes select, compiled by numba.

A spike of input channel c at a tap adds the row of weights (tap, c) to the outputs of a pixel. Silent neurons cost
nothing but the scan that finds them. The sums of a pixel stay in vector registers while the rows of its spikes are
added (:mod:`.vector_instructions`); no compiler is needed at installation. A tile of weights, as many outputs wide as
registers hold sums, fits the first cache and serves all pixels of a strip before the next tile comes.

The result is the dense convolution's, summed in another order. Values that are neither 0 nor 1 are factors of their
rows, so the result is right for any input, NaN included; it is fast for sparse ones.

Letters: N images of H x W pixels and C channels, O outputs. Arrays have channels last. ``lanes`` floats fill a
register, ``vectors`` registers hold sums: both are passed as tuples of that length, constants of the compiled code.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import llvmlite.binding
import numpy as np
from numba import prange

from .numba_kernels import F, both, charge, exact, fire, run_pair, threads_for
from .vector_instructions import add_rows, add_weighted_rows, address, append_events, append_weighted_events

VECTORS = 8  # sums need as many chains of additions as hide the latency of one; 8 fit every machine's registers
TILE_BYTES = 1 << 15  # of the first cache
STRIP = 256  # pixels that share a tile


@functools.lru_cache
def host_features() -> frozenset[str]:
    """What this CPU can do, by LLVM's names."""
    return frozenset(name for name, there in llvmlite.binding.get_host_cpu_features().items() if there)


def host_lanes() -> int:
    """Floats in a vector register: 16 with AVX-512, 8 with AVX2, otherwise 4 (SSE, NEON)."""
    return 16 if 'avx512f' in host_features() else 8 if 'avx2' in host_features() else 4


@exact
def _list_events(
    x: Any, first: Any, pixels: Any, width: Any, tile: Any, begins: Any, channels: Any, values: Any, lanes: Any
) -> Any:
    """Events of pixels from ``first`` on, tile by tile, with ``values`` if it has room; whether any is not 0 or 1."""
    count, others, entry, at = 0, 0, 0, first * width
    for _ in range(pixels):
        for start in range(0, width, tile):
            begins[entry] = count
            entry += 1
            size, c = min(tile, width - start), 0
            while c + len(lanes) <= size:
                if len(values):
                    found = append_weighted_events(x, at, c, channels, values, count, lanes)
                else:
                    found = append_events(x, at, c, channels, values, count, lanes)
                count += found & 0xFFFFFFFF
                others |= found >> 32
                at += len(lanes)
                c += len(lanes)
            for rest in range(c, size):
                channels[count] = rest
                if len(values):
                    values[count] = x[at]
                if x[at] != 0:
                    count += 1
                    others |= x[at] != 1
                at += 1
    begins[entry] = count
    return others


@exact
def _find(x: Any, image: Any, y0: Any, y1: Any, shape: Any, geometry: Any, lanes: Any) -> Any:
    """Events that the rows y0 to y1 of an image's result depend on, and the first and last row in which they are."""
    height, width, in_channels = shape[0], shape[1], shape[2]
    ky, sy, py, dy, tile = geometry[0], geometry[2], geometry[4], geometry[6], geometry[8]
    top = min(height, max(0, y0 * sy - py))
    bottom = max(top, min(height, (y1 - 1) * sy - py + (ky - 1) * dy + 1))
    size = (bottom - top) * width
    channels = np.empty(size * in_channels + len(lanes), np.int32)
    values = np.empty(0, np.float32)
    begins = np.empty(size * ((in_channels + tile - 1) // tile) + 1, np.int64)
    first = (image * height + top) * width
    if _list_events(x, first, size, in_channels, tile, begins, channels, values, lanes):
        values = np.empty(len(channels), np.float32)
        _list_events(x, first, size, in_channels, tile, begins, channels, values, lanes)
    return top, size, begins, channels, values


@exact
def _sum(
    events: Any, weights: Any, bias: Any, part: Any, y0: Any, y1: Any, shape: Any, geometry: Any, sums: Any,
    begin: Any, lanes: Any, vectors: Any,
) -> None:  # fmt: skip
    """The outputs of one part for the rows y0 to y1, pixel after pixel from ``begin`` on."""
    top, _, begins, channels, values = events
    height, width, in_channels, _, out_width, _ = shape
    ky, kx, sy, sx, py, px, dy, dx, tile = geometry
    block = len(lanes) * len(vectors)
    tiles = (in_channels + tile - 1) // tile
    for p in range((y1 - y0) * out_width):
        for i in range(block):
            sums[begin + p * block + i] = bias[part, i]
    for tap in range(ky * kx):
        oy, ox = tap // kx * dy - py, tap % kx * dx - px
        left = max(0, (-ox + sx - 1) // sx)
        right = min(out_width, (width - ox + sx - 1) // sx)
        for t in range(tiles):
            first = ((part * ky * kx + tap) * tiles + t) * tile * block
            for y in range(y0, y1):
                row = y * sy + oy
                if row < 0 or row >= height:
                    continue
                at = begin + ((y - y0) * out_width + left) * block
                e = ((row - top) * width + left * sx + ox) * tiles + t
                for _ in range(left, right):
                    end = begins[e + 1]
                    if len(values):
                        add_weighted_rows(channels, values, begins[e], end, weights, first, sums, at, lanes, vectors)
                    else:
                        add_rows(channels, values, begins[e], end, weights, first, sums, at, lanes, vectors)
                    at += block
                    e += sx * tiles


@exact
def _aligned_sums(size: Any, lanes: Any) -> Any:
    """Room for sums, and where in it registers are aligned: a load across two lines of the cache is two."""
    sums = np.empty(size + len(lanes), np.float32)
    return sums, -(address(sums) >> 2) & (len(lanes) - 1)


@exact
def _copy(part: Any, begin: Any, out: Any, first: Any, pixels: Any, out_channels: Any, number: Any, block: Any) -> None:
    """A part's outputs to their place among all."""
    kept = min(block, out_channels - number * block)
    at = first * out_channels + number * block
    for p in range(pixels):
        for i in range(kept):
            out[at + i] = part[begin + p * block + i]
        at += out_channels


def _convolve(
    x: Any, weights: Any, bias: Any, out: Any, images: Any, rows: Any, shape: Any, geometry: Any, lanes: Any,
    vectors: Any,
) -> Any:  # fmt: skip
    """Strips of ``rows`` rows; returns the share of values that are not 0."""
    out_height, out_width, out_channels = shape[3], shape[4], shape[5]
    block, strips = len(lanes) * len(vectors), (out_height + rows - 1) // rows
    counts = np.zeros((images * strips, 2), np.int64)  # neighbouring strips read some rows twice
    for job in prange(images * strips):
        image, y0 = job // strips, job % strips * rows
        y1 = min(out_height, y0 + rows)
        pixels = (y1 - y0) * out_width
        events = _find(x, image, y0, y1, shape, geometry, lanes)
        sums, begin = _aligned_sums(pixels * block, lanes)
        for part in range(len(bias)):
            _sum(events, weights, bias, part, y0, y1, shape, geometry, sums, begin, lanes, vectors)
            _copy(sums, begin, out, (image * out_height + y0) * out_width, pixels, out_channels, part, block)
        counts[job, 0], counts[job, 1] = events[1] * shape[2], events[2][-1]
    return counts[:, 1].sum() / max(1, counts[:, 0].sum())


def _fire_convolved(
    x: Any, weights: Any, bias: Any, out: Any, steps: Any, images: Any, rows: Any, shape: Any, geometry: Any,
    neuron: Any, lanes: Any, vectors: Any,
) -> Any:  # fmt: skip
    """As :func:`_convolve`, of clips of ``steps`` times ``images`` images, and the leaky neurons that read the result.

    ``out`` gets their spikes; membranes stay in the cache.
    """
    out_height, out_width, out_channels = shape[3], shape[4], shape[5]
    leak, decay_input, rest, fires_at, keep, after = neuron
    leak, rest, fires_at, keep, after = F(leak), F(rest), F(fires_at), F(keep), F(after)
    block, strips = len(lanes) * len(vectors), (out_height + rows - 1) // rows
    counts = np.zeros((images * strips, 2), np.int64)
    for job in prange(images * strips):
        b, y0 = job // strips, job % strips * rows
        y1 = min(out_height, y0 + rows)
        pixels = (y1 - y0) * out_width
        size = pixels * block
        sums, begin = _aligned_sums(size, lanes)
        v, h, spikes = np.full((len(bias), size), rest), np.empty(size, np.float32), np.empty(size, np.uint8)
        for t in range(steps):
            image = t * images + b
            events = _find(x, image, y0, y1, shape, geometry, lanes)
            for part in range(len(bias)):
                _sum(events, weights, bias, part, y0, y1, shape, geometry, sums, begin, lanes, vectors)
                charge(sums[begin : begin + size], v[part], h, leak, rest, decay_input, fires_at, keep, after)
                fire(h, spikes, fires_at)
                _copy(spikes, 0, out, (image * out_height + y0) * out_width, pixels, out_channels, part, block)
            counts[job, 0] += events[1] * shape[2]
            counts[job, 1] += events[2][-1]
    return counts[:, 1].sum() / max(1, counts[:, 0].sum())


CONVOLVE, FIRE_CONVOLVED = both(_convolve), both(_fire_convolved)


class Rows:
    """Weights of a convolution as rows of outputs: (parts of the outputs, taps, tiles, channels of a tile, outputs).

    Args:
        weight: (O, C, height, width).
        bias: (O,) or None.
        lanes: Floats of a register; None: this machine's.
    """

    def __init__(self, weight: np.ndarray, bias: np.ndarray | None, lanes: int | None = None) -> None:
        lanes = host_lanes() if lanes is None else lanes
        (out_channels, in_channels), taps = weight.shape[:2], math.prod(weight.shape[2:])
        vectors = next(n for n in (1, 2, 4, VECTORS) if n == VECTORS or n * lanes >= out_channels)
        block = lanes * vectors
        self.lanes, self.vectors = (0,) * lanes, (0,) * vectors
        self.tile = min(in_channels, TILE_BYTES // (4 * block))
        parts, tiles = -(-out_channels // block), -(-in_channels // self.tile)
        whole = np.zeros((parts * block, tiles * self.tile, taps), np.float32)
        whole[:out_channels, :in_channels] = weight.reshape(out_channels, in_channels, taps)
        whole = whole.reshape(parts, block, tiles, self.tile, taps).transpose(0, 4, 2, 3, 1)
        self.weights = _aligned(whole.size)
        self.weights[:] = whole.reshape(-1)
        self.bias = np.zeros((parts, block), np.float32)
        if bias is not None:
            self.bias.reshape(-1)[:out_channels] = bias

    def convolve(
        self, x: np.ndarray, out: np.ndarray, geometry: tuple[int, ...], neuron: tuple[Any, ...] | None = None
    ) -> float:
        """Write the convolution of ``x`` (N, H, W, C), floats or bytes, to ``out`` (N, H, W, O).

        With a ``neuron``, the constants of a leaky one's kernel, ``x`` is a clip (T, B, H, W, C) and ``out``, bytes,
        gets the spikes (T, B, H, W, O). ``geometry``: height and width of the kernel, of stride, padding and dilation.

        Returns the share of values that are not 0.
        """
        images, height, width, in_channels = x.shape[-4:]
        out_height, out_width, out_channels = out.shape[-3:]
        if geometry == (1, 1, 1, 1, 0, 0, 1, 1):  # all pixels alike: as one image a pixel wide
            images, height, width = 1, images * height * width, 1
            out_height, out_width = height, 1
        enough = -(-out_height * images // threads_for(x.size))
        rows = max(1, min(STRIP // out_width, enough, out_height))
        arrays = x.reshape(-1), self.weights, self.bias, out.reshape(-1)
        options = rows, (height, width, in_channels, out_height, out_width, out_channels), (*geometry, self.tile)
        if neuron is None:
            return run_pair(CONVOLVE, *arrays, images, *options, self.lanes, self.vectors)
        return run_pair(FIRE_CONVOLVED, *arrays, len(x), images, *options, neuron, self.lanes, self.vectors)


def _aligned(size: int) -> np.ndarray:
    """Floats that begin where a line of the cache does."""
    line = 64
    memory = np.empty(4 * size + line, np.uint8)
    begin = -memory.ctypes.data % line
    return memory[begin : begin + 4 * size].view(np.float32)
