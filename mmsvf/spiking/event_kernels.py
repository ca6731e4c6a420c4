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
POINTWISE = 1, 1, 1, 1, 0, 0, 1, 1  # kernel, stride, padding and dilation of a convolution without neighbours
POINTWISE_BYTES = 1 << 18  # of the second: with one tap, fewer visits to a pixel count for more
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
def _room(rows: Any, shape: Any, geometry: Any, lanes: Any, vectors: Any) -> Any:
    """Memory for strips of ``rows`` rows: where events begin, their channels, sums, and where in these lines begin."""
    width, in_channels, out_width = shape[1], shape[2], shape[4]
    ky, sy, dy, tile = geometry[0], geometry[2], geometry[6], geometry[8]
    size = ((rows - 1) * sy + (ky - 1) * dy + 1) * width
    begins = np.empty(size * ((in_channels + tile - 1) // tile) + 1, np.int64)
    channels = np.empty(size * in_channels + len(lanes), np.int32)
    sums = np.empty(rows * out_width * len(lanes) * len(vectors) + len(lanes), np.float32)
    return (
        begins,
        channels,
        sums,
        -(address(sums) >> 2) & (len(lanes) - 1),
    )  # a load across two lines of the cache is two


@exact
def _find(
    x: Any, image: Any, y0: Any, y1: Any, shape: Any, geometry: Any, begins: Any, channels: Any, lanes: Any
) -> Any:
    """Events that the rows y0 to y1 of an image's result depend on; the first row and the number of pixels with them."""
    height, width, in_channels = shape[0], shape[1], shape[2]
    ky, sy, py, dy, tile = geometry[0], geometry[2], geometry[4], geometry[6], geometry[8]
    top = min(height, max(0, y0 * sy - py))
    bottom = max(top, min(height, (y1 - 1) * sy - py + (ky - 1) * dy + 1))
    size, first, values = (bottom - top) * width, (image * height + top) * width, np.empty(0, np.float32)
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
                        add_weighted_rows(
                            channels, values, begins[e], end, weights, first, sums, at, sums, at, lanes, vectors
                        )
                    else:
                        add_rows(channels, values, begins[e], end, weights, first, sums, at, sums, at, lanes, vectors)
                    at += block
                    e += sx * tiles


@exact
def _sum_pixels(
    events: Any, weights: Any, bias: Any, part: Any, pixels: Any, tile: Any, tiles: Any, out: Any, begin: Any,
    step: Any, lanes: Any, vectors: Any,
) -> None:  # fmt: skip
    """As :func:`_sum`, of a 1x1 convolution, to places that are ``step`` apart."""
    _, _, begins, channels, values = events
    block = len(lanes) * len(vectors)
    source, biases = bias.reshape(-1), part * block
    for t in range(tiles):
        first = (part * tiles + t) * tile * block
        at, e = begin, t
        for _ in range(pixels):
            came = biases if t == 0 else at
            end = begins[e + 1]
            if len(values):
                add_weighted_rows(
                    channels, values, begins[e], end, weights, first, source, came, out, at, lanes, vectors
                )
            else:
                add_rows(channels, values, begins[e], end, weights, first, source, came, out, at, lanes, vectors)
            at += step
            e += tiles
        source = out


@exact
def _copy(part: Any, begin: Any, out: Any, first: Any, pixels: Any, out_channels: Any, number: Any, block: Any) -> None:
    """A part's outputs to their place among all."""
    kept = min(block, out_channels - number * block)
    at = first * out_channels + number * block
    for p in range(pixels):
        for i in range(kept):
            out[at + i] = part[begin + p * block + i]
        at += out_channels


@exact
def _convolve_strips(
    x: Any, weights: Any, bias: Any, out: Any, start: Any, stop: Any, rows: Any, shape: Any, geometry: Any,
    lanes: Any, vectors: Any,
) -> Any:  # fmt: skip
    """Strips of ``rows`` rows from one number to another; returns how many values were read, and how many are not 0."""
    in_channels, out_height, out_width, out_channels = shape[2:]
    block, strips, tile = len(lanes) * len(vectors), (out_height + rows - 1) // rows, geometry[-1]
    begins, channels, sums, begin = _room(rows, shape, geometry, lanes, vectors)
    read, found = 0, 0
    for job in range(start, stop):
        image, y0 = job // strips, job % strips * rows
        y1 = min(out_height, y0 + rows)
        pixels, place = (y1 - y0) * out_width, (image * out_height + y0) * out_width
        events = _find(x, image, y0, y1, shape, geometry, begins, channels, lanes)
        tiles = (in_channels + tile - 1) // tile
        for part in range(len(bias)):
            if geometry[:-1] == POINTWISE and (part + 1) * block <= out_channels:
                at = place * out_channels + part * block
                _sum_pixels(events, weights, bias, part, pixels, tile, tiles, out, at, out_channels, lanes, vectors)
            else:
                _sum(events, weights, bias, part, y0, y1, shape, geometry, sums, begin, lanes, vectors)
                _copy(sums, begin, out, place, pixels, out_channels, part, block)
        read += events[1] * in_channels  # neighbouring strips read some rows twice
        found += begins[events[1] * tiles]
    return read, found


@exact
def _fire_strips(
    x: Any, weights: Any, bias: Any, out: Any, steps: Any, images: Any, start: Any, stop: Any, rows: Any, shape: Any,
    geometry: Any, neuron: Any, lanes: Any, vectors: Any,
) -> Any:  # fmt: skip
    """As :func:`_convolve_strips`, of clips, with the leaky neurons that read the result: ``out`` gets their spikes.

    Membranes stay in the cache.
    """
    in_channels, out_height, out_width, out_channels = shape[2:]
    leak, decay_input, rest, fires_at, keep, after = neuron
    leak, rest, fires_at, keep, after = F(leak), F(rest), F(fires_at), F(keep), F(after)
    block, strips, tile = len(lanes) * len(vectors), (out_height + rows - 1) // rows, geometry[-1]
    begins, channels, sums, begin = _room(rows, shape, geometry, lanes, vectors)
    all_v, all_h = np.empty((len(bias), rows * out_width * block), np.float32), np.empty(len(sums), np.float32)
    all_spikes = np.empty(len(sums), out.dtype)
    read, found = 0, 0
    for job in range(start, stop):
        b, y0 = job // strips, job % strips * rows
        y1 = min(out_height, y0 + rows)
        pixels = (y1 - y0) * out_width
        size, tiles = pixels * block, (in_channels + tile - 1) // tile
        v, h, spikes = all_v[:, :size], all_h[:size], all_spikes[:size]
        v[:] = rest
        for t in range(steps):
            image = t * images + b
            events = _find(x, image, y0, y1, shape, geometry, begins, channels, lanes)
            for part in range(len(bias)):
                if geometry[:-1] == POINTWISE:
                    _sum_pixels(events, weights, bias, part, pixels, tile, tiles, sums, begin, block, lanes, vectors)
                else:
                    _sum(events, weights, bias, part, y0, y1, shape, geometry, sums, begin, lanes, vectors)
                charge(sums[begin : begin + size], v[part], h, leak, rest, decay_input, fires_at, keep, after)
                fire(h, spikes, fires_at)
                _copy(spikes, 0, out, (image * out_height + y0) * out_width, pixels, out_channels, part, block)
            read += events[1] * in_channels
            found += begins[events[1] * tiles]
    return read, found


def _convolve(
    x: Any, weights: Any, bias: Any, out: Any, workers: Any, images: Any, rows: Any, shape: Any, geometry: Any,
    lanes: Any, vectors: Any,
) -> Any:  # fmt: skip
    """All strips, in equal shares; returns the share of values that are not 0."""
    jobs = images * ((shape[3] + rows - 1) // rows)
    counts = np.zeros((workers, 2), np.int64)
    for k in prange(workers):
        start, stop = k * jobs // workers, (k + 1) * jobs // workers
        counts[k, 0], counts[k, 1] = _convolve_strips(
            x, weights, bias, out, start, stop, rows, shape, geometry, lanes, vectors
        )
    return counts[:, 1].sum() / max(1, counts[:, 0].sum())


def _fire(
    x: Any, weights: Any, bias: Any, out: Any, workers: Any, steps: Any, images: Any, rows: Any, shape: Any,
    geometry: Any, neuron: Any, lanes: Any, vectors: Any,
) -> Any:  # fmt: skip
    """All strips of all steps, in equal shares; returns the share of values that are not 0."""
    jobs = images * ((shape[3] + rows - 1) // rows)
    counts = np.zeros((workers, 2), np.int64)
    for k in prange(workers):
        start, stop = k * jobs // workers, (k + 1) * jobs // workers
        counts[k, 0], counts[k, 1] = _fire_strips(
            x, weights, bias, out, steps, images, start, stop, rows, shape, geometry, neuron, lanes, vectors
        )
    return counts[:, 1].sum() / max(1, counts[:, 0].sum())


CONVOLVE, FIRE = both(_convolve), both(_fire)


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
        self.tile = min(in_channels, (TILE_BYTES if taps > 1 else POINTWISE_BYTES) // (4 * block))
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
        if geometry == POINTWISE:  # all pixels alike: as one image a pixel wide
            images, height, width = 1, images * height * width, 1
            out_height, out_width = height, 1
        workers = threads_for(x.size)
        rows = max(1, min(STRIP // out_width, -(-out_height * images // workers), out_height))
        arrays = x.reshape(-1), self.weights, self.bias, out.reshape(-1), workers
        options = rows, (height, width, in_channels, out_height, out_width, out_channels), (*geometry, self.tile)
        if neuron is None:
            return run_pair(CONVOLVE, *arrays, images, *options, self.lanes, self.vectors)
        return run_pair(FIRE, *arrays, len(x), images, *options, neuron, self.lanes, self.vectors)


def _aligned(size: int) -> np.ndarray:
    """Floats that begin where a line of the cache does."""
    line = 64
    memory = np.empty(4 * size + line, np.uint8)
    begin = -memory.ctypes.data % line
    return memory[begin : begin + 4 * size].view(np.float32)
