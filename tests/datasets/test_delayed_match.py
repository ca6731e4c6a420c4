"""The delayed match to sample: what it writes, and that no frame, no location and no near clip tells the label."""

import importlib.util
from collections import Counter

import av  # noqa: F401  (before decord, with whose libvpx PyAV cannot write)
import cv2
import numpy as np
import pytest
from decord import VideoReader

from mmsvf.analysis.match_baselines import baselines, read_clips

from ..conftest import ROOT
from ..tools.test_train_and_test import tool

spec = importlib.util.spec_from_file_location('delayed_match', ROOT / 'tools/dataset_converters/delayed_match.py')
delayed_match = importlib.util.module_from_spec(spec)
spec.loader.exec_module(delayed_match)
INK = np.full((1, 8, 8), 16.0)


def clip(seed=0, label=1, colour=2, frames=8, delay=5, size=64):
    return delayed_match.match_clip(np.random.default_rng(seed), INK, label, colour, frames, delay, size)


def shown(frame):
    """Colours of a frame: where (y, x) each of the four is."""
    return [np.argwhere((frame == colour).all(-1)) for colour in delayed_match.COLOURS]


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp('delayed_match')
    tool('dataset_converters/delayed_match', folder, '--train', '960', '--val', '480', '--size', '32')
    return folder


def test_layout(written):
    for split, count in (('train', 960), ('val', 480)):
        lines = (written / f'{split}.txt').read_text().splitlines()
        assert lines == [f'{i:05d}.avi {i % 4}' for i in range(count)]
        cues = (written / f'{split}_cue.txt').read_text().splitlines()
        pairs = Counter((a.split()[1], b.split()[1]) for a, b in zip(lines, cues))
        assert len(pairs) == 16 and len(set(pairs.values())) == 1, 'label and colour: every pair equally often'
    assert (written / 'classes.txt').read_text().splitlines() == list(delayed_match.PLACES)


def test_files_are_lossless_and_a_seed_gives_the_same(written):
    """decord, which the configs decode with, gives what was drawn; so no frame has a trace of another."""
    digits = delayed_match.load_digits().images
    rng = np.random.default_rng([0, 0])
    for i in range(3):
        drawn = delayed_match.match_clip(rng, digits[: len(digits) // 2], i % 4, i // 4 % 4, 8, 5, 32)
        read = VideoReader(str(written / 'train' / f'{i:05d}.avi')).get_batch(range(8)).asnumpy()
        assert np.array_equal(read, drawn)


@pytest.mark.parametrize('label', range(4))
@pytest.mark.parametrize('colour', range(4))
def test_the_label_is_the_quadrant_of_the_cues_colour(label, colour):
    for seed in range(20):
        frames = clip(seed, label, colour)
        cue, last = shown(frames[0]), shown(frames[-1])
        assert [len(where) for where in cue] == [256 * (i == colour) for i in range(4)]
        assert [len(where) for where in last] == [256] * 4
        quadrants = [{tuple(place) for place in where // 32} for where in last]
        assert quadrants[colour] == {divmod(label, 2)} and set.union(*quadrants) == {divmod(i, 2) for i in range(4)}
        candidates = {tuple(place) for where in last for place in where}
        assert not candidates & {tuple(place) for place in cue[colour]}, 'no pixel sees the cue and a candidate'
        assert np.array_equal(np.ptp(frames[1:6], axis=-1), np.zeros((5, 64, 64))), 'distractors are grey'


@pytest.mark.parametrize(('frames', 'delay'), [(8, 0), (16, 13), (32, 29), (2, 0)])
def test_lengths_and_delays(frames, delay):
    colourful = np.ptp(clip(frames=frames, delay=delay), axis=-1).reshape(frames, -1).max(1) > 0
    assert colourful.tolist() == [True, *[False] * delay, *[True] * (frames - 1 - delay)]


@pytest.mark.parametrize('wrong', [('--delay', '7'), ('--delay', '-1'), ('--size', '48'), ('--frames', '1')])
def test_what_cannot_be_is_said(wrong, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('sys.argv', ['delayed_match.py', str(tmp_path), *wrong])
    with pytest.raises(SystemExit):
        delayed_match.main()
    assert wrong[1] in capsys.readouterr().err or wrong[0] == '--frames'


def test_no_part_tells_the_label(written):
    """Within five points of chance, but three standard errors of 480 clips are six; both ends together tell it."""
    found = baselines(written)
    parts = [*found['frames'], found['locations, mean'], found['locations, best'], found['nearest']]
    assert len(found['frames']) == 8 and np.abs(np.array(parts) - 0.25).max() < 0.07
    assert found['first and last'] == 1


def test_videos_of_one_list_have_one_shape(written, tmp_path):
    (tmp_path / 'val').mkdir()
    for name, frames in (('a', 3), ('b', 4)):
        delayed_match.write_lossless(tmp_path / 'val' / f'{name}.avi', clip()[:frames], 4)
    (tmp_path / 'val.txt').write_text('a.avi 0\nb.avi 1\n')
    with pytest.raises(ValueError, match=r'b\.avi: 4 frames'):
        read_clips(tmp_path, 'val')
    assert cv2.VideoCapture(str(tmp_path / 'val' / 'a.avi')).get(cv2.CAP_PROP_FRAME_COUNT) == 3
