"""What is written: whole files or none, an even choice of moments, a folder that says what is done."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmsvf.apis.prediction_files import Spread, limited, whole
from mmsvf.apis.prediction_folder import Folder, keep_apart, predict_cameras, predict_sources
from mmsvf.apis.records import ActionRecord, PoseRecord, SegmentationRecord
from mmsvf.apis.sources import Camera, Frame, Images, open_source
from mmsvf.visualization import drawing
from mmsvf.visualization.video import write_video

from ..conftest import ROOT, python_path


@pytest.mark.parametrize('length', [1, 7, 12, 25, 1000])
def test_a_few_moments_are_evenly_spread_over_any_length(length):
    spread, made = Spread(12), 0

    def make(k):
        nonlocal made
        made += 1
        return k

    for k in range(length):
        spread.add(lambda k=k: make(k))
        assert len(spread.items) <= 24
    chosen = spread.chosen()
    assert len(chosen) == min(12, length) and chosen[0] == 0
    gaps = np.diff(chosen)
    assert length < 2 or (gaps.min() > 0 and gaps.max() <= 2 * gaps.min() and length - chosen[-1] <= 2 * gaps.max())
    assert made <= 24 + 13 * np.log2(max(2, length / 12)), 'what is not kept is not made'


def test_a_file_is_whole_or_not_there(tmp_path):
    def fail():
        with whole(tmp_path / 'a' / 'b.txt') as part:
            part.write_text('half')
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list((tmp_path / 'a').iterdir())
    with whole(tmp_path / 'a' / 'b.txt') as part:
        part.write_text('all')
    assert [path.name for path in (tmp_path / 'a').iterdir()] == ['b.txt']


def test_a_folder_goes_on_with_the_same_run_alone(tmp_path):
    Folder(tmp_path, dict(config='a')).finish('x', dict(source='x.mp4'))
    with (tmp_path / 'sources.jsonl').open('a') as file:
        file.write('{"name": "y", "sou')  # the machine went down
    assert list(Folder(tmp_path, dict(config='a')).done) == ['x']
    with pytest.raises(ValueError, match=r"another run .config: 'a', now 'b'.; give another --out, or --overwrite"):
        Folder(tmp_path, dict(config='b'))
    assert not Folder(tmp_path, dict(config='b'), again=True).done


@pytest.mark.parametrize('height, width', [(16, 16), (240, 320), (721, 1281), (400, 200)])
def test_records_are_drawn_in_one_shape_and_words_stay_beside_the_frame(height, width):
    names = ['a name', 'another, of a length that no strip has room for at all', 'Ünïcode']
    shapes = set()
    for scores in ([0.9, 0.1, 0.0], [0.2, 0.3, 0.5]):
        frame = Frame(np.full((height, width, 3), 200, np.uint8), 3, 65.25)
        record = ActionRecord(frame, np.array(scores), names)
        drawn = record.draw()
        shapes.add(drawn.shape)
        assert drawn.dtype == np.uint8 and min(drawn.shape[:2]) >= min(360, height)
        scale = max(1, 360 / min(height, width))
        centre = drawn[drawn.shape[0] // 2, : round(scale * width)]
        np.testing.assert_array_equal(centre, 200)
        mask = np.arange(height * width).reshape(height, width) % (2 + round(scores[0])) % 3
        SegmentationRecord(frame, mask.astype(np.uint8), names, drawing.distinct_palette(3)).draw()
    assert len(shapes) == 1
    assert record.to_dict() == dict(
        frame=3, time=65.25, top=[['Ünïcode', 0.5], ['another, of a length that no strip has room for at all', 0.3],
                                  ['a name', 0.2]]
    )  # fmt: skip
    assert drawing.clock(65.25) == '1:05.2'


@pytest.mark.parametrize('height, width', [(1, 1), (1, 3000), (16, 4096), (2048, 16), (3000, 1), (1080, 1920)])
def test_pictures_of_any_shape_are_written(height, width, tmp_path):
    """A frame of 16 x 2048 was drawn as one of 46,080 lines."""
    frame = Frame(np.full((height, width, 3), 200, np.uint8), 0, 0)
    action = ActionRecord(frame, np.array([0.9, 0.1]), ['a', 'b'])
    masks = SegmentationRecord(frame, np.zeros((height, width), np.uint8), ['a', 'b'], drawing.distinct_palette(2))
    joints = np.random.default_rng(0).random((24, 3))
    values = dict(joints_3d=joints, translation=joints[0], joints_2d=99 * joints[:, :2], pose=joints, shape=joints[0])
    side = max(height, width)
    pose = PoseRecord(frame, 0, ((width - side) // 2, (height - side) // 2, side), 'centre', **values)
    for record in (action, masks, pose):
        drawn = record.draw()
        assert drawn.size <= 3 * 4100 * 2200
        picture = limited(drawn)
        assert max(picture.shape) <= 1280
        write_video(tmp_path / 'a.mp4', [picture] * 2, 25)
        assert drawing.sheet([limited(picture, 720)] * 12).size < 3 * 1500 * 9000


def test_words_of_each_frame_are_not_kept():
    """A picture of each of 4,096 times took 50 MB."""
    for k in range(2000):
        drawing.text_size(drawing.clock(k / 10), 29)
    kept = drawing._letters.cache_info()
    assert kept.currsize <= 256 and drawing._letters('0:00.0', 29).dtype == np.uint8


@pytest.mark.parametrize(
    'out, source, name, masks, refused',
    [
        ('v', 'v/a.mp4', 'a', False, True),  # an annotated video in the place of the video
        ('v', 'v/b.mp4', 'b.c', False, False),
        ('.', 'v/a.mp4', 'a', False, False),
        ('.', 'v/a.mp4', 'v/a', False, True),
        ('p', 'p', 'p', False, True),
        ('.', 'p', 'p', True, True),  # label maps in the place of pictures
        ('.', 'p', 'p', False, False),
        ('link', 'v/a.mp4', 'a', False, True),
    ],
)
def test_results_take_no_source_away(out, source, name, masks, refused, tmp_path):
    for folder in ('v', 'p'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'link').symlink_to('v')
    with pytest.raises(ValueError, match='give another --out') if refused else nullcontext():
        keep_apart(tmp_path / out, {name: str(tmp_path / source)}, masks)


def test_what_a_kill_leaves_is_swept(tmp_path):
    gone = subprocess.Popen(['true'])
    gone.wait()
    names = {
        f'.a.mp4.{gone.pid}.part': False, f'.a.jsonl.{gone.pid}.part.jsonl': False, f'.a.mp4.{os.getpid()}.part': True,
        f'.a.b.mp4.{gone.pid}.part': True, '.a.mp4.part': True, '.a.mp4.99999999999999999999999.part': False,
        'a.mp4': True,
    }  # fmt: skip
    for name in names:
        (tmp_path / name).touch()
    Folder(tmp_path, {}).sweep('a')
    assert {name: (tmp_path / name).exists() for name in names} == names


def test_where_nothing_can_be_written_is_said(tmp_path):
    (tmp_path / 'file').touch()
    for out in (tmp_path / 'file', '/proc/nowhere'):
        with pytest.raises(OSError, match=r'nothing can be written to .*; give another --out'):
            Folder(Path(out), {})


def test_two_runs_at_once_in_one_folder_are_refused(tmp_path):
    """As two trainings are; what is killed does not stand in the way."""
    hold = f"""from mmsvf.files.work_dir import WorkDirLock
lock = WorkDirLock({str(tmp_path)!r})
input(print(1, flush=True))"""
    env = {**os.environ, 'PYTHONPATH': python_path(ROOT)}
    other = subprocess.Popen([sys.executable, '-c', hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
    try:
        assert other.stdout is not None and other.stdout.readline() == b'1\n'
        with pytest.raises(BlockingIOError, match=rf'in use by process {other.pid} on .*: two runs .* another --out'):
            Folder(tmp_path, {})
        assert {path.name for path in tmp_path.iterdir()} == {'.lock'}
    finally:
        other.kill()
        other.wait()
    Folder(tmp_path, {}).finish('x', {})


class Endless(Camera):
    """A camera that sees grey until it is stopped; of number 1 the disk is full."""

    def __init__(self, number):
        self.number, self.name, self._stopped = number, f'camera{number}', False

    def __iter__(self):
        while not self._stopped:
            yield Frame(np.full((8, 8, 3), 99, np.uint8), 0, 0.0)
            if self.number:
                raise OSError(28, 'No space left on device')


class Says:
    """A predictor that says the same of each frame."""

    def open(self, source, fps):
        return Images([np.full((8, 8, 3), 99, np.uint8)] * 2, fps, source) if isinstance(source, str) else source

    def expected(self, source):
        return source.length

    def output_fps(self, source):
        return source.fps

    def predict(self, source):
        return (ActionRecord(frame, np.array([0.9, 0.1]), ['up', 'down']) for frame in source)


def test_an_error_of_one_camera_stops_all(tmp_path):
    cameras = {f'camera{k}': Endless(k) for k in range(2)}
    with pytest.raises(OSError, match='No space left'):
        predict_cameras(Says(), cameras, Folder(tmp_path, {}), video=False)
    assert (tmp_path / 'camera0.jsonl').stat().st_size > 0
    assert not list(tmp_path.glob('camera1*')), 'half a file is none'


def test_a_slow_cameras_video_lasts_as_long_as_the_recording(tmp_path):
    """30 a second, as the driver says, and 4 come: it played in an eighth of the time."""

    class Slow(Endless):
        fps = 30.0

        def __iter__(self):
            return (Frame(np.full((8, 8, 3), 99, np.uint8), k, k / 4) for k in range(9))

    assert not predict_cameras(Says(), {'slow': Slow(0)}, Folder(tmp_path, {}))
    assert [frame.time for frame in open_source(tmp_path / 'slow.mp4')] == pytest.approx(np.arange(9) / 4, abs=2e-3)


def test_results_of_another_source_are_not_replaced(tmp_path):
    """A loop over folders that each have a video.mp4 left the last one's."""
    for given in ('1/video.mp4', './1/video.mp4', os.path.abspath('1/video.mp4')):
        assert not predict_sources(Says(), {'video': given}, Folder(tmp_path, {}), video=False)
    (listed,) = (tmp_path / 'sources.jsonl').read_text().splitlines()
    assert json.loads(listed)['source'] == '1/video.mp4', 'by another path it is the same'
    before = (tmp_path / 'video.jsonl').stat().st_mtime_ns
    with pytest.raises(
        ValueError, match=r"of 2/video\.mp4 .* of 1/video\.mp4: both are called 'video' .* --out, or --overwrite"
    ):
        predict_sources(Says(), {'new': '2/new.mp4', 'video': '2/video.mp4'}, Folder(tmp_path, {}), video=False)
    assert (tmp_path / 'video.jsonl').stat().st_mtime_ns == before and not (tmp_path / 'new.jsonl').exists()
    assert not predict_sources(Says(), {'video': '2/video.mp4'}, Folder(tmp_path, {}, again=True), video=False)
    assert '2/video.mp4' in (tmp_path / 'sources.jsonl').read_text()


@pytest.mark.parametrize('name, masks', [('a.mp4', False), ('a.png', False), ('a/000000.png', True)])
def test_files_that_are_no_predictions_are_not_replaced(name, masks, tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / name).write_text("the user's")
    for _ in range(2):  # the first refusal does not make it a folder of predictions
        with pytest.raises(ValueError, match=rf'{name} is there, .*; give another --out, or --overwrite'):
            predict_sources(Says(), {'a': 'v/a.mov'}, Folder(tmp_path, {}), video=False, masks=masks)
        assert (tmp_path / name).read_text() == "the user's" and not (tmp_path / 'run.json').exists()
    assert not predict_sources(Says(), {'b': 'v/b.mov'}, Folder(tmp_path, {}), video=False, masks=masks)
    (tmp_path / 'c.png').touch()  # an interrupted run's
    assert not predict_sources(Says(), {'c': 'v/c.mov'}, Folder(tmp_path, {}), video=False, masks=masks)
    folder = Folder(tmp_path, {}, again=True)
    assert not predict_sources(Says(), {'a': 'v/a.mov'}, folder, video=False, masks=masks)
    assert cv2.imread(str(tmp_path / 'a.png')) is not None


def test_no_source_takes_the_place_of_the_list(tmp_path):
    """The list is sources.jsonl, as the predictions of a source of that name would be."""
    with pytest.raises(ValueError, match=r"of 'sources' would take the place of .*sources\.jsonl"):
        keep_apart(tmp_path, {'sources': 'v/sources.mp4'})
    keep_apart(tmp_path, {'v/sources': 'v/sources.mp4'})
    (tmp_path / 'sources.jsonl').write_text('{"frame": 0, "time": 0.0}\n3\n{"name": "a"}\n')
    assert list(Folder(tmp_path, {}).done) == ['a']


@pytest.mark.parametrize('fails', ['encoding', 'writing'])
def test_a_picture_that_cannot_be_written_stops_the_run(fails, tmp_path, monkeypatch):
    """It was taken for a source that cannot be read."""

    def full(*_):
        raise OSError(28, 'No space left on device')

    if fails == 'encoding':
        monkeypatch.setattr(cv2, 'imencode', lambda *_: (False, None))
    else:
        monkeypatch.setattr(Path, 'write_bytes', full)
    with pytest.raises(OSError, match='cannot be written' if fails == 'encoding' else 'No space left') as error:
        predict_sources(Says(), {'a': 'a.mp4', 'b': 'b.mp4'}, Folder(tmp_path, {}), video=False)
    assert not isinstance(error.value, (FileNotFoundError, ValueError))
    assert not list(tmp_path.glob('[ab]*')), 'half a result is none'
