"""tools/predict.py as a user runs it: what it writes, equal to tools/test.py, and what it does with bad input."""

import io
import json
import re
import runpy
import sys
import threading
import time
from contextlib import redirect_stdout

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmsvf.apis.find_sources import find_sources
from mmsvf.engine.run_config import contents
from mmsvf.files import pickles

from ..apis.test_predictors import BODY, SCENES, awake
from ..conftest import FRAMES, ROOT
from .test_pose import TINY as TINY_POSE
from .test_segmentation import SMALL
from .test_train_and_test import tool

DIGITS = ('configs/demo/svf_moving_digits.py', 'checkpoints/svf_moving_digits-1475b0c1.pth')


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def count_frames(path):
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    return count


def predict(*argv):
    """The tool in this process, which has imported the frameworks; returns what it printed."""
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output):
        patch.chdir(ROOT)
        patch.setattr(sys, 'argv', ['tools/predict.py', *map(str, argv)])
        try:
            runpy.run_path('tools/predict.py', run_name='__main__')
        finally:
            sys.stderr.write(output.getvalue())  # for the tests in which it fails
    return output.getvalue()


@pytest.fixture(scope='module')
def predicted(digits, tmp_path_factory):
    """A folder of digits as a list, with a broken one among them, predicted once."""
    folder = tmp_path_factory.mktemp('predicted')
    (folder / 'clips').mkdir()
    for video in sorted((digits / 'val').glob('*.mp4')):
        (folder / 'clips' / video.name).write_bytes(video.read_bytes())
    (folder / 'clips' / 'broken.mp4').write_text('no video')
    log = predict(
        *(*DIGITS, folder / 'clips', '--out', folder / 'out', '--no-fuse', '--classes', digits / 'classes.txt')
    )
    return folder, log


def test_actions_are_those_of_the_test(predicted, digits, tmp_path):
    folder, log = predicted
    assert '4 of 5 sources are in' in log and '1 could not be read and were skipped' in log
    assert 'broken.mp4 could not be read' in log
    options = [f'test_dataloader.dataset.ann_file={digits / "val.txt"}']
    options += [f'test_dataloader.dataset.data_prefix.video={digits / "val"}', 'test_dataloader.batch_size=2']
    command = ('test', *DIGITS, '--work-dir', tmp_path, '--dump', tmp_path / 'a.pkl', '--cfg-options', *options)
    tool(*command)
    with (tmp_path / 'a.pkl').open('rb') as file:
        expected = [sample['pred_score'].numpy() for sample in pickles.load(file)]
    names = (digits / 'classes.txt').read_text().split()
    for video, scores in zip(sorted((digits / 'val').glob('*.mp4')), expected):
        records = lines(folder / 'out' / f'{video.stem}.jsonl')
        assert [record['frame'] for record in records] == list(range(10)), 'every frame is accounted for'
        for record in records:
            for name, score in record['top']:
                assert score == pytest.approx(scores[names.index(name)], abs=2e-5)
            assert record['top'][0][0] == names[scores.argmax()]


def test_what_is_written(predicted):
    out = predicted[0] / 'out'
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [f'0000{i}.{suffix}' for i in range(4) for suffix in ('jsonl', 'mp4', 'png')]
        + ['.lock', 'run.json', 'sources.jsonl']
    )
    assert [said['records'] for said in lines(out / 'sources.jsonl')] == [10] * 4
    assert count_frames(out / '00000.mp4') == 10
    assert cv2.imread(str(out / '00000.png')).std() > 10


def test_a_run_goes_on_where_it_was_stopped(predicted, digits):
    folder, _ = predicted
    out = folder / 'out'
    (out / '00001.mp4').unlink()
    listed = lines(out / 'sources.jsonl')
    # as if stopped within the second source, while its line was written
    text = json.dumps(listed[0]) + '\n' + json.dumps(listed[1])[:20]
    (out / 'sources.jsonl').write_text(text)
    before = (out / '00000.mp4').stat().st_mtime_ns
    defaults = '--overlap', '0.5', '--window', '10'
    command = (*DIGITS, folder / 'clips', '--out', out, *defaults, '--no-fuse', '--classes', digits / 'classes.txt')
    log = predict(*command)
    assert '00000: done before' in log and '00001: 10 records' in log
    assert (out / '00000.mp4').stat().st_mtime_ns == before and count_frames(out / '00001.mp4') == 10
    assert [said['name'] for said in lines(out / 'sources.jsonl')] == [f'0000{i}' for i in range(4)]
    with pytest.raises(SystemExit, match=r'^ValueError: .* has predictions of another run \(classes.*--overwrite'):
        predict(*command[:-2])
    run = json.loads((out / 'run.json').read_text())
    for name in ('config', 'checkpoint', 'classes'):  # files of the same names
        changed = {**run, f"{name}'s content": 'before'}
        (out / 'run.json').write_text(json.dumps(changed))
        with pytest.raises(SystemExit, match=rf"another run \({name}'s content: 'before', now '.*--overwrite"):
            predict(*command)
    del run["checkpoint's content"]  # of a version before
    (out / 'run.json').write_text(json.dumps(run))
    with pytest.raises(SystemExit, match=r"another run \(checkpoint's content: None, now '.*--overwrite"):
        predict(*command)


def test_contents_of_files_are_told_apart(tmp_path):
    file = tmp_path / 'a.pth'
    file.write_text('a')
    config = Config(dict(model=dict(depth=2), work_dir='a'))
    first = contents(config, checkpoint=str(file), classes=None)
    assert list(first) == ["config's content", "checkpoint's content"]
    config.work_dir = 'b'
    assert contents(config, checkpoint=str(file)) == first, 'predictions do not depend on it'
    file.write_text('b')
    config.model.depth = 3
    second = contents(config, checkpoint=str(file), classes='https://a/b')
    assert list(second) == list(first) and all(first[name] != second[name] for name in first)


def test_segmentation_and_poses(recordings, tmp_path):
    """What the other tasks write: label maps, arrays, errors of an action of the data set."""
    tool(
        'dataset_converters/moving_scenes', tmp_path, '--train', '1', '--val', '1', '--frames', '6', '--sequences', '1'
    )
    checkpoint = awake(SCENES, tmp_path / 'a.pth', *SMALL)
    frames = tmp_path / 'vspw' / 'data' / 'val_000' / 'origin'
    log = predict(
        SCENES, checkpoint, frames, '--out', tmp_path / 'a', '--masks', '--batch-size', '4', '--cfg-options', *SMALL
    )
    assert re.search(r'origin: 6 records .*; \d+\.\d % of the labelled pixels right', log)
    for k, record in enumerate(lines(tmp_path / 'a' / 'origin.jsonl')):
        mask = cv2.imread(str(tmp_path / 'a' / 'origin' / f'{k:06d}.png'), cv2.IMREAD_UNCHANGED)
        assert record['frame'] == k and mask.shape == (64, 96) and mask.max() < 7
        assert sum(record['shares'].values()) == pytest.approx(1, abs=1e-3)
        truth = np.array(Image.open(sorted((frames.parent / 'mask').iterdir())[k])).astype(int) - 1  # 0 is void
        assert record['right'] == pytest.approx((truth == mask)[truth >= 0].mean(), abs=1e-5)
    assert count_frames(tmp_path / 'a' / 'origin.mp4') == 6
    assert list(find_sources([str(frames.parent)])) == ['origin'], 'masks are no video'
    assert find_sources([str(tmp_path / 'vspw' / 'val.txt')]) == {'origin': str(frames)}
    right = [record['right'] for record in lines(tmp_path / 'a' / 'origin.jsonl')]
    masks = sorted((frames.parent / 'mask').iterdir())
    masks[1].write_bytes(masks[1].read_bytes()[:60])
    cv2.imwrite(str(masks[4]), np.ones((32, 48), np.uint8))
    log = predict(SCENES, checkpoint, frames, '--out', tmp_path / 'd', '--batch-size', '4', '--cfg-options', *SMALL)
    assert f'2 of 6 masks cannot be read, so these frames have no truth: {masks[1]} could not be read' in log
    assert '1 of 1 sources' in log and 'problem' in lines(tmp_path / 'd' / 'sources.jsonl')[0]
    right[1] = right[4] = None
    assert [record['right'] for record in lines(tmp_path / 'd' / 'origin.jsonl')] == right
    assert count_frames(tmp_path / 'd' / 'origin.mp4') == 6
    masks[2].unlink()
    log = predict(SCENES, checkpoint, frames, '--out', tmp_path / 'c', '--cfg-options', *SMALL)
    assert 'right' not in lines(tmp_path / 'c' / 'origin.jsonl')[0] and 'right' not in log

    checkpoint = awake(BODY, tmp_path / 'b.pth', *TINY_POSE)
    options = [*TINY_POSE, f'test_dataloader.dataset.data_root={recordings["a"]}']
    action = 'subject01_group0_time0'
    folder = recordings['a'] / 'full_pic_256' / action
    command = (BODY, checkpoint, action, folder, '--step', '0.1334', '--fps', '15', '--out', tmp_path / 'b')
    log = predict(*command, '--cfg-options', *options)
    assert re.search(r'time0: 12 records in .*; MPJPE \d+\.\d mm, PEL-MPJPE .*, PA-MPJPE', log)
    arrays = [dict(np.load(tmp_path / 'b' / f'{name}.npz')) for name in (action, f'full_pic_256/{action}')]
    assert arrays[0]['truth'].shape == (12, 24, 3) and arrays[0]['joint_names'][0] == 'pelvis'
    for key in ('joints_3d', 'joints_2d_frame', 'pose', 'frames'):  # the same frames, as a data set and as a folder
        np.testing.assert_allclose(arrays[0][key], arrays[1][key], atol=1e-5)
    assert arrays[0]['frames'].tolist() == list(range(0, FRAMES, 2))
    for name in (action, f'full_pic_256/{action}'):
        assert count_frames(tmp_path / 'b' / f'{name}.mp4') == len(lines(tmp_path / 'b' / f'{name}.jsonl')) == 12


@pytest.mark.parametrize(
    'argv, message',
    [
        ((), 'give a SOURCE, or --camera N'),
        (('absent.mp4',), r'absent\.mp4 does not exist; give a video'),
        (('x.txt', '--bbox', '1', '2', '3', '4'), '--bbox is for configs of mmpose; this one is of mmaction'),
        (('x.txt', '--det-config', 'a.py'), '--det-config and --det-checkpoint go together'),
        (('x.txt', '--show'), '--show needs a display, and none is here'),
        (('x.txt',), r'x\.txt lists nothing; a source a line'),
        (('--camera', '77'), 'camera 77 cannot be opened'),
        (('--camera', '1', '--camera', '1'), '--camera 1 1: each but once'),
        (('--camera', '1', '--camera', '2', '--show'), '--show has one window, for one --camera'),
        (('x.txt', '--no-fuse', '--engine', 'events'), r"engine='events', fuse=False"),
        (('x.txt', '--classes', 'absent.txt'), r"list of class names 'absent\.txt' does not exist"),
        (('x.txt', '--classes', 'README.md'), r'class names, but the head of the config has num_classes=8'),
        (('x.txt', '--window', '-1'), r'window=-1\.0'),
        (('x.txt', '--fps', '0'), 'argument --fps: 0: more than 0 expected'),
        (('x.txt', '--step', 'nan'), 'argument --step: nan: more than 0 expected'),
        (('x.txt', '--out', 'README.md'), r'^OSError: nothing can be written to README\.md'),
    ],
)
def test_what_is_wrong_is_named(argv, message, tmp_path, capsys):
    (tmp_path / 'x.txt').write_text('')
    with pytest.raises((SystemExit, Exception)) as error:
        predict(*DIGITS, '--out', tmp_path / 'out', *(str(tmp_path / a) if a == 'x.txt' else a for a in argv))
    assert re.search(message, ' '.join([str(error.value), *capsys.readouterr()]))


def test_cameras_are_predicted_side_by_side(digits, tmp_path, monkeypatch):
    """Each camera has the files that it has alone; both are read at the same time."""
    videos = sorted((digits / 'val').glob('*.mp4'))
    files, together = cv2.VideoCapture, threading.Barrier(2, timeout=60)

    class Capture:
        def __init__(self, source, *_):
            self.camera = isinstance(source, int)
            self.file = files(str(videos[source] if self.camera else source))

        def read(self):
            if self.camera:
                together.wait()
            return self.file.read()

        def __getattr__(self, name):
            return getattr(self.file, name)

    monkeypatch.setattr(cv2, 'VideoCapture', Capture)
    options = '--engine', 'dense', '--cfg-options', 'model.backbone.attention.space_time=causal'
    log = predict(*DIGITS, '--camera', '0', '--camera', '1', '--out', tmp_path / 'both', *options)
    assert '2 of 2 sources are in' in log
    names = [re.search(rf'(camera{k}-\d{{8}}-\d{{6}}): 10 records', log)[1] for k in range(2)]
    assert names[0][7:] == names[1][7:]
    time.sleep(1)  # the names' resolution
    again = predict(*DIGITS, '--camera', '0', '--camera', '1', '--out', tmp_path / 'both', *options)
    names += [re.search(rf'(camera{k}-\d{{8}}-\d{{6}}): 10 records', again)[1] for k in range(2)]
    monkeypatch.setattr(cv2, 'VideoCapture', files)
    for k in range(2):
        predict(*DIGITS, videos[k], '--out', tmp_path / f'{k}', *options)
        alone, seen = (
            lines(tmp_path / f'{k}' / f'{videos[k].stem}.jsonl'),
            lines(tmp_path / 'both' / f'{names[k]}.jsonl'),
        )
        assert [record['top'] for record in seen] == [record['top'] for record in alone]
    assert len(set(names)) == 4, 'a recording cannot be made again'
    assert [count_frames(tmp_path / 'both' / f'{name}.mp4') for name in names] == [10] * 4
    assert {said['name'] for said in lines(tmp_path / 'both' / 'sources.jsonl')} == set(names)


def test_nothing_readable_is_a_failure(tmp_path):
    (tmp_path / 'a.mp4').write_text('no video')
    with pytest.raises(SystemExit) as error:
        predict(*DIGITS, tmp_path / 'a.mp4', '--out', tmp_path / 'out')
    assert error.value.code == 1
    assert not list((tmp_path / 'out').glob('a*'))
