"""Events in mmaction2's own pipelines, of files and of videos."""

import os
import pickle

import numpy as np
import pytest
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

import mmsvf  # noqa: F401
from mmsvf.datasets.event_transforms import LoadEventCounts
from mmsvf.datasets.events import bin_events, simulate_events

FORMAT = [dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]


def pipeline(*steps):
    init_default_scope('mmaction')
    return Compose([*steps, *FORMAT])


def test_event_files(tmp_path):
    rng = np.random.default_rng(0)
    x, y, t = rng.integers(0, 40, 500), rng.integers(0, 30, 500), rng.integers(0, 10**6, 500)
    np.savez(tmp_path / 'a.npz', x=x, y=y, t=t, p=x % 2)
    run = pipeline(dict(type='mmsvf.LoadEvents'), dict(type='mmsvf.BinEvents', time_steps=8, size=(30, 40)))
    inputs = run(dict(filename=str(tmp_path / 'a.npz'), label=1))['inputs']
    expected = bin_events(x, y, t, 8, (30, 40)).transpose(1, 0, 2, 3)[None] * 255
    np.testing.assert_array_equal(inputs.numpy(), expected)


def test_frames_of_several_clips():
    """Two clips of 9 frames to two clips of 4 steps, the same as each alone; colours count as grey."""
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (18, 20, 24), dtype=np.uint8)
    run = pipeline(dict(type='mmsvf.SimulateEvents', threshold=0.3), dict(type='mmsvf.BinEvents', time_steps=4))
    frames = [np.repeat(frame[..., None], 3, -1) for frame in grey]
    inputs = run(dict(imgs=frames, num_clips=2, clip_len=9, label=0))['inputs'].numpy()
    assert inputs.shape == (2, 3, 4, 20, 24) and set(np.unique(inputs)) == {0, 255}
    for clip, part in zip(inputs, np.split(grey, 2)):
        x, y, t, _ = simulate_events(part, np.arange(9), 0.3)
        expected = bin_events(x, y, t, 4, (20, 24), (0.0, 8.0)).transpose(1, 0, 2, 3)
        np.testing.assert_array_equal(clip, expected * 255)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ('exploded',)


def test_bad_files_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = pipeline(dict(type='mmsvf.LoadEvents'), dict(type='mmsvf.BinEvents', time_steps=8, size=(30, 40)))
    (tmp_path / 'text.npz').write_text('no zip')
    (tmp_path / 'pickle.npz').write_bytes(pickle.dumps(Bomb()))
    np.savez(tmp_path / 'other.npz', x=np.zeros(3), y=np.zeros(3))
    np.savez(tmp_path / 'objects.npz', x=np.array([Bomb()]), y=np.zeros(1), t=np.zeros(1))
    for name in ('text', 'pickle', 'other', 'objects'):
        with pytest.raises(
            ValueError, match=rf'{name}\.npz could not be read .*; a \.npz with x, y, t expected: if the'
        ):
            run(dict(filename=f'{name}.npz'))
    with pytest.raises(FileNotFoundError, match=r'absent\.npz'):
        run(dict(filename='absent.npz'))
    assert not (tmp_path / 'exploded').exists()
    with pytest.raises(ValueError, match=r'give size=\(H, W\)'):
        pipeline(dict(type='mmsvf.BinEvents', time_steps=8))(dict(events=[]))


def test_event_counts_by_number(tmp_path):
    """Parts of equally many events, each counted where it falls: a loop over events says the same."""
    rng = np.random.default_rng(0)
    x, y, p = rng.integers(0, 8, 103), rng.integers(0, 8, 103), rng.integers(0, 2, 103)
    np.savez(tmp_path / 'a.npz', t=np.arange(103), x=x, y=y, p=p.astype(bool))
    counts = LoadEventCounts(time_steps=4, size=4, sensor=8).transform(dict(img_path=str(tmp_path / 'a.npz')))['img']
    expected = np.zeros((2, 4, 4, 4))
    for i in range(103):
        expected[p[i], min(i // 25, 3), y[i] // 2, x[i] // 2] += 1
    assert counts.dtype == np.float32 and np.array_equal(counts, expected)
    assert counts.sum((0, 2, 3)).tolist() == [25, 25, 25, 28]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(time_steps=4, sensor=4), r'a\.npz could not be read .* 4 wide and 4 high.*; set sensor to its size'),
        (dict(time_steps=200, sensor=8), r'103 events for 200 steps'),
    ],
)
def test_event_counts_of_another_sensor(options, message, tmp_path):
    np.savez(tmp_path / 'a.npz', t=np.arange(103), x=np.arange(103) % 8, y=np.zeros(103), p=np.ones(103))
    with pytest.raises(ValueError, match=message):
        LoadEventCounts(**options, size=4).transform(dict(img_path=str(tmp_path / 'a.npz')))
    with pytest.raises(ValueError, match='size=5 does not divide sensor=8'):
        LoadEventCounts(4, 5, 8)
    np.savez(tmp_path / 'b.npz', x=np.zeros(3))
    with pytest.raises(ValueError, match=r'b\.npz could not be read .*; a \.npz with x, y, p expected'):
        LoadEventCounts(1, 4, 8).transform(dict(img_path=str(tmp_path / 'b.npz')))
