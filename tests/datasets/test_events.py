import numpy as np
import pytest

from mmsvf.datasets.events import bin_events, join_intervals, simulate_events


def naive(x, y, t, steps, size, span=None, bins=3):
    """One event at a time."""
    frames = np.zeros((steps, bins, *size), np.uint8)
    begin, end = (min(t, default=0), max(t, default=0)) if span is None else span
    for xi, yi, ti in zip(x.tolist(), y.tolist(), t.tolist()):
        if not begin <= ti <= end:
            continue
        part = 0 if end == begin else min(int((ti - begin) * steps * bins // (end - begin)), steps * bins - 1)
        frames[part // bins, part % bins, yi, xi] = 1
    return frames


def stream(rng, count, integers, equal=False):
    t = rng.integers(0, 10**6, count) if integers else rng.random(count)
    t = np.full(count, 7) if equal else t
    return rng.integers(0, 31, count), rng.integers(0, 23, count), t


@pytest.mark.parametrize('seed', range(10))
@pytest.mark.parametrize('integers', [True, False])
def test_equals_a_loop_over_events(seed, integers):
    """Unsorted times, with and without a span, of several lengths."""
    rng = np.random.default_rng(seed)
    x, y, t = stream(rng, int(rng.integers(1, 400)), integers)
    for span in (None, (t.min(), t.max()), (2 * 10**5, 7 * 10**5) if integers else (0.2, 0.7)):
        for steps, bins in ((1, 3), (8, 3), (5, 4)):
            expected = naive(x, y, t, steps, (23, 31), span, bins)
            np.testing.assert_array_equal(bin_events(x, y, t, steps, (23, 31), span, bins), expected)


def test_special_streams():
    rng = np.random.default_rng(0)
    empty = np.array([], np.int64)
    assert bin_events(empty, empty, empty, 4, (5, 6)).shape == (4, 3, 5, 6)
    assert bin_events(empty, empty, empty, 4, (5, 6)).sum() == 0
    x, y, t = stream(rng, 50, True, equal=True)
    frames = bin_events(x, y, t, 4, (23, 31))
    assert frames[0, 0].sum() == len(set(zip(x, y))) and frames.sum() == frames[0, 0].sum()
    # events on the borders of the frame and of the parts
    t = np.arange(0, 13)
    corner = bin_events(np.full(13, 30), np.full(13, 22), t, 4, (23, 31), (0, 12))
    assert corner[..., 22, 30].tolist() == [[1, 1, 1]] * 4
    assert bin_events(np.array([0]), np.array([0]), np.array([12]), 4, (23, 31), (0, 12))[3, 2, 0, 0] == 1


def test_out_of_range_coordinates_are_refused():
    one = np.array([1])
    for x, y in ((31, 0), (0, 23), (-1, 0)):
        with pytest.raises(ValueError, match='give the size of the sensor'):
            bin_events(np.array([x]), np.array([y]), one, 1, (23, 31))
    with pytest.raises(ValueError, match=r'shapes \(1,\), \(2,\)'):
        bin_events(one, np.array([1, 2]), one, 1)


def test_simulated_events_follow_the_change():
    """A pixel that brightens steadily fires every threshold of its logarithm, at the right times."""
    times = np.array([0.0, 1.0, 2.0])
    levels = np.exp(np.array([1.0, 1.6, 1.0]))
    frames = np.ones((3, 4, 5)) * 20
    frames[:, 2, 3] = levels - 1
    x, y, t, p = simulate_events(frames, times, threshold=0.25)
    assert set(zip(x, y)) == {(3, 2)}
    np.testing.assert_allclose(t[p == 1], [0.25 / 0.6, 0.5 / 0.6])
    # from 1.6 down to 1.0 the reference stands at 1.5: it fires at 1.25 and at 1.0
    np.testing.assert_allclose(t[p == 0], [1 + 0.35 / 0.6, 2.0])
    assert (np.diff(t) >= 0).all()


def test_still_frames_have_no_events_and_wrong_input_is_named():
    x, *_ = simulate_events(np.full((3, 4, 5), 9), np.arange(3))
    assert len(x) == 0
    for frames, times in ((1, [0]), (3, [0, 1]), (3, [0, 1, 1])):
        with pytest.raises(ValueError, match='increasing times'):
            simulate_events(np.zeros((frames, 2, 2)), np.array(times))


def interval(rng, start, length, count=50):
    """Unsorted times of an interval, its begin and end among them."""
    return rng.permutation([start, start + length, *rng.integers(start, start + length, count)])


FILES = ['a.npz', 'b.npz', 'c.npz']
UNITS = {'microseconds': (1, np.int64), 'unsigned': (1, np.uint32), 'seconds': (1e-6, np.float64)}


@pytest.mark.parametrize('unit', UNITS)
def test_times_that_go_on_stay_and_times_that_start_anew_are_shifted_by_whole_intervals(unit):
    """Whichever of the two a recording has, its events fall into the same bins; an empty file is an interval, too."""
    factor, kind = UNITS[unit]
    rng = np.random.default_rng(0)
    anew = [interval(rng, 0, 66_667), np.array([], int), interval(rng, 4, 66_000)]
    on = [7_000_000 + k * 66_667 + t for k, t in enumerate(anew)]
    anew, on = ([(factor * t).astype(kind) for t in times] for times in (anew, on))
    joined = join_intervals(on, FILES)
    np.testing.assert_array_equal(joined, np.concatenate(on))
    assert joined.dtype == (np.float64 if kind is np.float64 else np.int64)
    np.testing.assert_allclose(join_intervals(anew, FILES), joined - factor * 7_000_000, rtol=1e-6)
    x = np.arange(len(joined))
    frames = [bin_events(x, 0 * x, join_intervals(times, FILES), 1, (1, len(x))) for times in (anew, on)]
    np.testing.assert_array_equal(*frames)


@pytest.mark.parametrize(
    'starts', [(0, 60_000, 120_000), (0, 66_667, 0), (9_000_000, 0, 66_667), (50_000, 50_000, 50_000)]
)
def test_files_that_overlap_otherwise_are_refused_by_name(starts):
    rng = np.random.default_rng(0)
    with pytest.raises(
        ValueError, match=r'[bc]\.npz has events from \d+ to \d+, but [ab]\.npz before it from \d+ to \d+'
    ):
        join_intervals([interval(rng, start, 66_667) for start in starts], FILES)


def test_intervals_without_events():
    empty = np.array([])
    assert join_intervals([empty, empty], FILES).shape == (0,)
    np.testing.assert_array_equal(join_intervals([empty, np.array([3, 1])], FILES), [3, 1])
