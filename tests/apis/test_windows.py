"""Windows over streams: what each covers, how they fade into each other, and what is kept."""

import numpy as np
import pytest
import torch

from mmsvf.apis.windows import blended


def run_on(steps, window, overlap):
    """Windows and means over the numbers from 0, each window saying its first number of all its items."""
    spans = []

    def run(items):
        spans.append((items[0], items[-1] + 1))
        return dict(first=torch.full((len(items), 1), float(items[0])))

    results = list(blended(iter(range(steps)), window, overlap, run))
    assert [item for item, _ in results] == list(range(steps)), 'every item once, in order'
    return spans, np.array([values['first'].item() for _, values in results])


def written_out(steps, window, overlap):
    """The same by definition, all of it in memory."""
    window = min(window, steps)
    stride = max(1, round(window * (1 - overlap)))
    starts = [*range(0, steps - window, stride), steps - window]
    sums, total = np.zeros(steps), np.zeros(steps)
    ramp = np.minimum(np.arange(1, window + 1), np.arange(window, 0, -1))
    for start in starts:
        sums[start : start + window] += start * ramp
        total[start : start + window] += ramp
    return [(start, start + window) for start in starts], sums / total


@pytest.mark.parametrize('overlap', [0.0, 0.3, 0.5, 0.75, 0.95])
@pytest.mark.parametrize('steps, window', [(20, 8), (17, 8), (16, 8), (8, 8), (5, 8), (9, 1), (1, 8), (100, 7)])
def test_a_stream_is_blended_as_a_whole_would_be(steps, window, overlap):
    spans, means = run_on(steps, window, overlap)
    if steps >= window:
        expected_spans, expected = written_out(steps, window, overlap)
        assert spans == expected_spans
        np.testing.assert_allclose(means, expected, rtol=1e-6)
    else:
        assert spans == [(0, steps)]


def test_an_empty_stream_has_nothing():
    assert list(blended(iter(()), 8, 0.5, lambda items: {})) == []


def test_no_more_is_kept_than_two_windows():
    taken = given = most = 0

    def stream():
        nonlocal taken
        for i in range(1000):
            taken += 1
            yield i

    for _ in blended(stream(), 10, 0.5, lambda items: dict(x=torch.zeros(len(items)))):
        given += 1
        most = max(most, taken - given)
    assert given == 1000 and most < 20


@pytest.mark.parametrize('window, overlap', [(0, 0.5), (8, 1.0), (8, -0.1)])
def test_wrong_windows_are_named(window, overlap):
    with pytest.raises(ValueError, match=rf'window={window}, overlap={overlap}'):
        list(blended(range(9), window, overlap, lambda items: {}))
