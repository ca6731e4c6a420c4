"""Events of an event camera: binary frames from a stream, and a stream from frames. Plain numpy.

An event is (x, y, t, p): column, row, time and polarity. Source: SpikeVideoFormer App. H;
docs/faithfulness.md, D10 and D53.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmsvf.arguments import renamed

BINS = 3  # channels of a time step
RESTART = 0.1  # of an interval: how late the first event comes at most where time stamps start anew with each file


def check_events(
    x: np.ndarray, y: np.ndarray, t: np.ndarray, p: np.ndarray | None = None, size: tuple[int, int] | None = None
) -> None:
    """Refuse what are no events: columns (N,) of whole x and y, finite t and, if given, p of 0 and 1 or of -1 and 1.

    Args:
        x, y, t, p: See above; numbers of any width.
        size: Height and width of the sensor in pixels, if known.

    Raises:
        ValueError: anything else, or coordinates outside the sensor.
    """
    if not x.shape == y.shape == t.shape or x.ndim != 1:
        raise ValueError(f'x, y, t of shapes {x.shape}, {y.shape}, {t.shape}; three arrays (N,) expected')
    if x.size == 0:
        return
    for name, column in (('x', x), ('y', y), ('t', t)):
        if column.dtype.kind not in 'iuf' or not np.isfinite(column).all():
            raise ValueError(f'{name} ({column.dtype}) has NaN, infinity or no numbers; finite numbers expected')
        if name != 't' and column.dtype.kind == 'f' and (column != np.floor(column)).any():
            raise ValueError(f'{name} has fractions of pixels; whole numbers expected')
    if t.dtype.kind == 'u' and t.max() > np.iinfo(np.int64).max:
        raise ValueError(f't goes up to {t.max()}, beyond 64 bits with a sign')
    height, width = size or (2**31, 2**31)
    if x.min() < 0 or y.min() < 0 or x.max() >= width or y.max() >= height:
        raise ValueError(
            f'events with x from {x.min()} to {x.max()} and y from {y.min()} to {y.max()} in frames {width} wide and '
            f'{height} high: give the size of the sensor, or scale the coordinates'
        )
    if p is not None and (p.shape != x.shape or not (np.isin(p, (0, 1)).all() or np.isin(p, (-1, 1)).all())):
        raise ValueError(f'p is {p.shape}, with {np.unique(p)[:4]}; {x.shape} of 0 and 1, or of -1 and 1, expected')


@renamed(steps='time_steps')
def bin_events(
    x: np.ndarray,
    y: np.ndarray,
    t: np.ndarray,
    time_steps: int,
    size: tuple[int, int] = (256, 256),
    span: tuple[float, float] | None = None,
    bins: int = BINS,
) -> np.ndarray:
    """Binary event frames: the span is cut into ``time_steps * bins`` equal parts, 1 where a part has an event.

    Polarity does not count. Parts are half-open, but the last one, which has its end, too; of a span
    without length all events are in the first part. Events need not be sorted.

    Args:
        x: Columns (N,).
        y: Rows (N,).
        t: Times (N,), of any unit.
        time_steps: Time steps T.
        size: Height and width in pixels.
        span: Begin and end of the time; events outside are left out. The default is from the
            first to the last event.
        bins: Parts (channels) of a step.

    Returns:
        uint8 (T, bins, H, W) of 0 and 1.

    Raises:
        ValueError: no events (:func:`check_events`), coordinates outside the frame, or times too far apart.
    """
    x, y, t = np.asarray(x), np.asarray(y), np.asarray(t)
    check_events(x, y, t, size=size)
    height, width = size
    frames = np.zeros((time_steps, bins, height, width), np.uint8)
    if len(t) == 0:
        return frames
    begin, end = (t.min(), t.max()) if span is None else span
    inside = (t >= begin) & (t <= end)
    if not inside.all():
        x, y, t = x[inside], y[inside], t[inside]
    parts = time_steps * bins
    if t.dtype.kind != 'f' and (int(end) - int(begin)) * parts > np.iinfo(np.int64).max:
        raise ValueError(f'times from {begin} to {end} are too far apart to be cut into {parts} parts; correct t')
    if end > begin:
        # integers stay exact: microseconds times the number of parts fit int64
        elapsed = t - begin if t.dtype.kind == 'f' else t.astype(np.int64) - int(begin)
        part = np.minimum((elapsed * parts // (end - begin)).astype(np.int64), parts - 1)
    else:
        part = np.zeros(len(t), np.int64)
    frames.reshape(-1)[(part * height + y.astype(np.int64)) * width + x.astype(np.int64)] = 1
    return frames


def join_intervals(intervals: Sequence[np.ndarray], names: Sequence[object]) -> np.ndarray:
    """One time line from files of a frame interval each (D53).

    Time stamps that go on from file to file stay as they are. Where a file starts before the one before it ends, either
    the stamps start anew at about zero in every file (within ``RESTART`` of the interval), and the k-th file is put k
    intervals later: a file is one interval, whose length is the latest stamp of any. Or the order of the events cannot
    be told, and bins over them would mix two intervals.

    Args:
        intervals: Times of the events of each file in order, of any unit, sorted or not; a file may be empty.
        names: The files, for the message.

    Returns:
        Times of all events (N,), of the files in turn; int64 or float64.

    Raises:
        ValueError: files overlap, and not because each starts anew.
    """
    # unsigned times would turn round where they are subtracted
    times = [np.asarray(t, np.float64 if np.asarray(t).dtype.kind == 'f' else np.int64) for t in intervals]
    full = [i for i, t in enumerate(times) if len(t)]
    begins, ends = {i: times[i].min() for i in full}, {i: times[i].max() for i in full}
    overlaps = [(a, b) for a, b in zip(full, full[1:]) if begins[b] < ends[a]]
    if overlaps:
        length = max(ends.values())
        if not all(0 <= begin <= RESTART * length for begin in begins.values()):
            a, b = overlaps[0]
            raise ValueError(
                f'{names[b]} has events from {begins[b]} to {ends[b]}, but {names[a]} before it from {begins[a]} to '
                f'{ends[a]}: time stamps have to go on from file to file, or to start at 0 in each. Correct them, or '
                'move the folder of raw events away: event frames by quarters are used then'
            )
        times = [t + k * length for k, t in enumerate(times)]
    return np.concatenate(times)


def simulate_events(
    frames: np.ndarray, times: np.ndarray, threshold: float = 0.15
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Events between grey frames: one whenever a pixel's logarithm of intensity has moved by the threshold.

    Between two frames the logarithm moves linearly; what is left below the threshold is carried on.

    Args:
        frames: (T, H, W), uint8 or in [0, 255].
        times: Time of each frame (T,), increasing.
        threshold: Contrast threshold in the natural logarithm.

    Returns:
        x, y, t, p sorted by time: columns and rows int16, times float64, polarity 1 or 0.

    Raises:
        ValueError: fewer than two frames, or another number of times.
    """
    if len(frames) < 2 or len(times) != len(frames) or np.any(np.diff(times) <= 0):
        raise ValueError(f'{len(frames)} frames and {len(times)} times; at least two frames, with increasing times')
    logs = np.log(np.asarray(frames, np.float64) + 1)
    reference, found = logs[0].copy(), []
    for i in range(1, len(frames)):
        last, now = logs[i - 1], logs[i]
        count = np.floor(np.abs(now - reference) / threshold).astype(np.int64)
        y, x = np.nonzero(count)
        number = count[y, x]
        sign = np.sign(now - reference)[y, x]
        which = np.repeat(np.arange(len(y)), number)
        order = np.arange(len(which)) - np.repeat(np.cumsum(number) - number, number) + 1
        level = reference[y, x][which] + sign[which] * threshold * order
        change = (now - last)[y, x][which]
        share = np.clip((level - last[y, x][which]) / np.where(change == 0, 1, change), 0, 1)
        t = times[i - 1] + share * (times[i] - times[i - 1])
        found.append((x[which], y[which], t, sign[which] > 0))
        reference[y, x] += sign * threshold * number
    x, y, t, p = (np.concatenate(column) for column in zip(*found))
    sort = np.argsort(t, kind='stable')
    return x[sort].astype(np.int16), y[sort].astype(np.int16), t[sort], p[sort].astype(np.uint8)
