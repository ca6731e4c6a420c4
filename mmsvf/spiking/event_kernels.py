"""Convolutions of spikes on CPU that add the rows of weights which spikes select, compiled by numba.

A spike of input channel c at a tap adds the row of weights (tap, c) to the outputs of a pixel. Silent neurons cost
nothing but the scan that finds them. The sums of a pixel stay in vector registers while the rows of its spikes are
added (:mod:`.vector_instructions`); no compiler is needed at installation. A tile of weights, as many outputs wide as
registers hold sums, stays in the cache and serves all pixels of a strip before the next tile comes.

The result is the dense convolution's, summed in another order. Values that are neither 0 nor 1 are factors of their
rows, so the result is right for any input, NaN included; it is fast for sparse ones.

Letters: N images of H x W pixels and C channels, O outputs. Arrays have channels last. ``lanes`` floats fill a
register, ``vectors`` registers hold sums: both are passed as tuples of that length, constants of the compiled code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from .numba_kernels import F, both, charge, exact, fire, run_pair, threads_for
from .vector_instructions import add_rows, add_weighted_rows, address, append_events, append_weighted_events, host_lanes

VECTORS = 4  # registers of sums; more would make tiles wider and flatter, and a pixel's sums be taken up more often
TILE_BYTES = 1 << 16  # of the first two caches
STRIP = 256  # pixels that share a tile


@exact
def _list_events(
    x: Any, first: Any, rows: Any, shape: Any, tile: Any, begins: Any, rows_of: Any, values: Any, lanes: Any
) -> Any:
    """Events of rows from pixel ``first`` on, tile by tile, with ``values`` if it has room; whether any is not 0 or 1.

    ``rows_of`` gets their rows of weights, pixel x of a row of the image counted as tap x.
    """
    width, in_channels = shape[1], shape[2]
    count, others, entry = 0, 0, 0
    for y in range(rows):
        for start in range(0, in_channels, tile):
            size = min(tile, in_channels - start)
            for column in range(width):
                begins[entry] = count
                entry += 1
                at, row, c = (first + y * width + column) * in_channels + start, column * tile, 0
                while c + len(lanes) <= size:
                    if len(values):
                        found = append_weighted_events(x, at + c, row + c, rows_of, values, count, lanes)
                    else:
                        found = append_events(x, at + c, row + c, rows_of, values, count, lanes)
                    count += found & 0xFFFFFFFF
                    others |= found >> 32
                    c += len(lanes)
                for rest in range(c, size):
                    rows_of[count] = row + rest
                    if len(values):
                        values[count] = x[at + rest]
                    if x[at + rest] != 0:
                        count += 1
                        others |= x[at + rest] != 1
    begins[entry] = count
    return others


@exact
def _room(rows: Any, shape: Any, geometry: Any, lanes: Any, vectors: Any) -> Any:
    """Memory for strips of ``rows`` rows: where events begin, their rows of weights, sums, where these are aligned."""
    width, in_channels, out_width = shape[1], shape[2], shape[4]
    ky, sy, tile = geometry[0], geometry[2], geometry[6]
    size = ((rows - 1) * sy + ky) * width
    begins = np.empty(size * ((in_channels + tile - 1) // tile) + 1, np.int64)
    rows_of = np.empty(size * in_channels + len(lanes), np.int32)
    sums = np.empty(rows * out_width * len(lanes) * len(vectors) + len(lanes), np.float32)
    return begins, rows_of, sums, -(address(sums) >> 2) & (len(lanes) - 1)


@exact
def _find(
    x: Any, image: Any, y0: Any, y1: Any, shape: Any, geometry: Any, begins: Any, rows_of: Any, lanes: Any
) -> Any:
    """Events that the rows y0 to y1 of an image's result depend on; the first row with them, and how many rows."""
    height, width = shape[0], shape[1]
    ky, sy, py, tile = geometry[0], geometry[2], geometry[4], geometry[6]
    top, bottom = max(0, y0 * sy - py), min(height, (y1 - 1) * sy - py + ky)
    first, values = (image * height + top) * width, np.empty(0, np.float32)
    if _list_events(x, first, bottom - top, shape, tile, begins, rows_of, values, lanes):
        values = np.empty(len(rows_of), np.float32)
        _list_events(x, first, bottom - top, shape, tile, begins, rows_of, values, lanes)
    return top, bottom - top, begins, rows_of, values


@exact
def _sum(
    events: Any, weights: Any, bias: Any, part: Any, y0: Any, y1: Any, shape: Any, geometry: Any, out: Any,
    begin: Any, step: Any, lanes: Any, vectors: Any,
) -> None:  # fmt: skip
    """The outputs of one part for the rows y0 to y1, pixel after pixel, from ``begin`` on in steps of ``step``.

    The taps of a row are one tile: the events of the pixels under them lie one after the other.
    """
    top, _, begins, rows_of, values = events
    height, width, in_channels, _, out_width, _ = shape
    ky, kx, sy, sx, py, px, tile = geometry
    block = len(lanes) * len(vectors)
    tiles = (in_channels + tile - 1) // tile
    for tap in range(ky):
        for t in range(tiles):
            first = ((part * ky + tap) * tiles + t) * kx * tile * block
            for y in range(y0, y1):
                row = y * sy - py + tap
                if row < 0 or row >= height:
                    continue
                new = t == 0 and (tap == 0 or row == 0)  # of the first tap that is in the image
                at, e = begin + (y - y0) * out_width * step, ((row - top) * tiles + t) * width
                for column in range(out_width):
                    left = column * sx - px
                    b, end = begins[e + max(0, left)], begins[e + min(width, left + kx)]
                    tap_0 = first - left * tile * block
                    if len(values):
                        add_weighted_rows(
                            rows_of, values, b, end, weights, tap_0, bias if new else out, part * block if new else at,
                            out, at, lanes, vectors,
                        )  # fmt: skip
                    else:
                        add_rows(
                            rows_of, values, b, end, weights, tap_0, bias if new else out, part * block if new else at,
                            out, at, lanes, vectors,
                        )  # fmt: skip
                    at += step


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
    width, in_channels, out_height, out_width, out_channels = shape[1:]
    block, strips, tile = len(lanes) * len(vectors), (out_height + rows - 1) // rows, geometry[-1]
    begins, rows_of, sums, begin = _room(rows, shape, geometry, lanes, vectors)
    read, found = 0, 0
    for job in range(start, stop):
        image, y0 = job // strips, job % strips * rows
        y1 = min(out_height, y0 + rows)
        pixels, place = (y1 - y0) * out_width, (image * out_height + y0) * out_width
        events = _find(x, image, y0, y1, shape, geometry, begins, rows_of, lanes)
        tiles = (in_channels + tile - 1) // tile
        for part in range(len(bias) // block):
            if (part + 1) * block <= out_channels:
                at = place * out_channels + part * block
                _sum(events, weights, bias, part, y0, y1, shape, geometry, out, at, out_channels, lanes, vectors)
            else:
                _sum(events, weights, bias, part, y0, y1, shape, geometry, sums, begin, block, lanes, vectors)
                _copy(sums, begin, out, place, pixels, out_channels, part, block)
        read += events[1] * width * in_channels  # neighbouring strips read some rows twice
        found += begins[events[1] * width * tiles]
    return read, found


@exact
def _fire_strips(
    x: Any, weights: Any, bias: Any, out: Any, steps: Any, images: Any, start: Any, stop: Any, rows: Any, shape: Any,
    geometry: Any, neuron: Any, lanes: Any, vectors: Any,
) -> Any:  # fmt: skip
    """As :func:`_convolve_strips`, of clips, with the leaky neurons that read the result: ``out`` gets their spikes.

    Membranes stay in the cache.
    """
    width, in_channels, out_height, out_width, out_channels = shape[1:]
    leak, decay_input, rest, fires_at, keep, after = neuron
    leak, rest, fires_at, keep, after = F(leak), F(rest), F(fires_at), F(keep), F(after)
    block, strips, tile = len(lanes) * len(vectors), (out_height + rows - 1) // rows, geometry[-1]
    begins, rows_of, sums, begin = _room(rows, shape, geometry, lanes, vectors)
    all_v, all_h = np.empty((len(bias) // block, rows * out_width * block), np.float32), np.empty(len(sums), np.float32)
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
            events = _find(x, image, y0, y1, shape, geometry, begins, rows_of, lanes)
            for part in range(len(bias) // block):
                _sum(events, weights, bias, part, y0, y1, shape, geometry, sums, begin, block, lanes, vectors)
                charge(sums[begin : begin + size], v[part], h, leak, rest, decay_input, fires_at, keep, after)
                fire(h, spikes, fires_at)
                _copy(spikes, 0, out, (image * out_height + y0) * out_width, pixels, out_channels, part, block)
            read += events[1] * width * in_channels
            found += begins[events[1] * width * tiles]
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
    """Weights of a convolution as rows of outputs: (parts of the outputs, taps y, tiles, taps x, channels of a tile).

    Args:
        weight: (O, C, height, width).
        bias: (O,) or None.
    """

    def __init__(self, weight: np.ndarray, bias: np.ndarray | None) -> None:
        lanes = host_lanes()
        out_channels, in_channels, ky, kx = weight.shape
        vectors = next(n for n in (1, 2, VECTORS) if n == VECTORS or n * lanes >= out_channels)
        block = lanes * vectors
        self.lanes, self.vectors = (0,) * lanes, (0,) * vectors
        self.tile = max(1, min(in_channels, TILE_BYTES // (4 * block * kx)))
        parts, tiles = -(-out_channels // block), -(-in_channels // self.tile)
        whole = np.zeros((parts * block, tiles * self.tile, ky, kx), np.float32)
        whole[:out_channels, :in_channels] = weight
        whole = whole.reshape(parts, block, tiles, self.tile, ky, kx).transpose(0, 4, 2, 5, 3, 1)
        self.weights, self.bias = _aligned(whole.size), _aligned(parts * block)
        self.weights[:] = whole.reshape(-1)
        self.bias[:] = 0
        if bias is not None:
            self.bias[:out_channels] = bias

    def convolve(
        self, x: np.ndarray, out: np.ndarray, geometry: tuple[int, ...], neuron: tuple[Any, ...] | None = None
    ) -> float:
        """Write the convolution of ``x`` (N, H, W, C), floats or bytes, to ``out`` (N, H, W, O).

        With a ``neuron``, the constants of a leaky one's kernel, ``x`` is a clip (T, B, H, W, C) and ``out``
        gets the spikes (T, B, H, W, O). ``geometry``: height and width of the kernel, of the stride and of the padding,
        which is less than the kernel.

        Returns the share of values that are not 0.
        """
        images, height, width, in_channels = x.shape[-4:]
        out_height, out_width, out_channels = out.shape[-3:]
        if geometry == (1, 1, 1, 1, 0, 0):  # all pixels alike: as one image a pixel wide
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
