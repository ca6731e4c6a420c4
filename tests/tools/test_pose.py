"""Human pose through the tools: the embedded default from frames, an MMHPSD config from events."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import mmpose
import numpy as np
import pytest

from mmsvf.datasets.mmhpsd_layouts import open_layout

from ..conftest import ROOT
from .test_train_and_test import tool

CONFIG = 'configs/demo/svf_moving_body.py'

TINY = ['model.backbone.arch._delete_=True', 'model.backbone.arch.embed_dims=[8,8,16,16,24]']
TINY += ['model.backbone.arch.depths=[1,1,1,1,1]', 'model.head.in_channels=24', 'default_hooks.logger.interval=1']
TINY += ['train_cfg.max_epochs=1']


@pytest.fixture(scope='module')
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp('moving_body')
    tool('dataset_converters/moving_body', folder, '--train', '1', '--test', '1', '--frames', '20', '--workers', '1')
    return folder


def options(recordings):
    result = list(TINY)
    for part in ('train', 'val', 'test'):
        loader = f'{part}_dataloader'
        result += [f'{loader}.dataset.data_root={recordings}', f'{loader}.dataset.durations=[1]']
        result += [f'{loader}.num_workers=0', f'{loader}.persistent_workers=False']
    return result


@pytest.fixture(scope='module')
def trained(recordings, tmp_path_factory):
    """Folder of a training from frames, whose config is in it, and the training's log."""
    folder = tmp_path_factory.mktemp('trained')
    more = ['visualizer.vis_backends=[]']
    log = tool('train', CONFIG, '--work-dir', folder, '--cfg-options', *options(recordings), *more)
    return folder, log


def test_frames(recordings, trained, tmp_path):
    folder, log = trained
    plain = re.sub(' +', ' ', log)
    assert re.search(r'Epoch\(train\) \[1\]\[1/1\] .*eta: .*loss_translation: .*loss_pose: .*loss_joints_2d: \d', plain)
    assert re.search(r'Epoch\(val\) \[1\]\[1/1\] smpl/MPJPE: \d.*smpl/PEL-MPJPE: .*smpl/PA-MPJPE: .*smpl/PCK: ', plain)
    assert re.search(r'best_smpl_PA-MPJPE_epoch_1\.pth', log)

    # a recording of 20 frames as one track of 10 steps, in windows of 8
    log = tool(
        *('track_pose', CONFIG, folder / 'epoch_1.pth', 'subject01_group0_time0', '--out', tmp_path / 'a' / 'track'),
        *('--cfg-options', *options(recordings)),
    )
    assert re.search(r'10 steps of 0\.133 s: .*track\.npz', log) and re.search(r'PA-MPJPE \d+\.\d mm', log)
    with np.load(tmp_path / 'a' / 'track.npz') as track:
        assert track['joints_3d'].shape == (10, 24, 3) and track['joints_2d'].shape == (10, 24, 2)
        assert track['joint_names'][0] == 'pelvis' and np.diff(track['times']) == pytest.approx(2 / 15)
    assert int(cv2.VideoCapture(str(tmp_path / 'a' / 'track.mp4')).get(cv2.CAP_PROP_FRAME_COUNT)) == 10
    assert cv2.imread(str(tmp_path / 'a' / 'track.png')).shape[1] == 3 * 256


def own_tool(name, *argv, prefix=()):
    """A tool of mmpose's as it is installed, in a process of its own; returns its output."""
    path = Path(mmpose.__file__).parent / '.mim' / 'tools' / f'{name}.py'
    command = [sys.executable, *prefix, str(path), *map(str, argv)]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, 'OMP_NUM_THREADS': '1'}
    )
    assert result.returncode == 0, f'{command}\n{result.stdout[-2000:]}\n{result.stderr[-6000:]}'
    return result.stdout + result.stderr


def test_mmposes_test_script(recordings, trained, tmp_path):
    """As it is, with its metric beside ours; the config's custom_imports alone bring mmsvf in."""
    folder, _ = trained
    config = tmp_path / 'both.py'
    stock = "dict(type='MPJPE'), dict(type='MPJPE', mode='p-mpjpe')"
    config.write_text(
        f"_base_ = '{folder / 'svf_moving_body.py'}'\ntest_evaluator = [{stock}, dict(type='mmsvf.SMPLPoseMetric')]\n"
    )
    own_tool(
        *('test', config, folder / 'epoch_1.pth', '--work-dir', tmp_path, '--out', tmp_path / 'metrics.json'),
        *('--show-dir', tmp_path / 'shown'),
    )
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert metrics['smpl/MPJPE'] == pytest.approx(1000 * metrics['MPJPE'], rel=1e-4)
    assert metrics['smpl/PA-MPJPE'] == pytest.approx(1000 * metrics['P-MPJPE'], rel=1e-4)
    (video,) = (tmp_path / 'shown').glob('*.mp4')
    assert int(cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FRAME_COUNT)) == 8
    assert cv2.imread(str(video.with_suffix('.png'))).shape[1] == 3 * 256


INFERENCE = """
import runpy, sys
from pathlib import Path
import cv2, numpy as np
from mmengine.config import Config
config, event_config, checkpoint, tools, data, out = sys.argv[1:]
assert 'mmsvf' not in sys.modules
Config.fromfile(config)  # its custom_imports, which with mmcv-lite mmpose.apis need
from mmpose.apis import MMPoseInferencer, inference_topdown, init_model

files = sorted(str(path) for path in Path(data).rglob('full_pic_256/subject01*/*.jpg'))[:8]
clip = np.stack([cv2.imread(file) for file in files])
model = init_model(config, checkpoint, device='cpu')
assert model.dataset_meta['num_keypoints'] == 24
for given, poses in ((files[0], 1), (clip[0], 1), (clip, 8)):
    (sample,) = inference_topdown(model, given)
    found = sample.pred_instances
    assert found.keypoints.shape == (poses, 24, 3) and found.transformed_keypoints.shape == (poses, 24, 2)
    assert found.keypoint_scores.shape == (poses, 24)
video = cv2.VideoWriter(f'{out}/a.mp4', cv2.VideoWriter.fourcc(*'mp4v'), 15, (256, 256))
for frame in clip:
    video.write(frame)
video.release()
infer = MMPoseInferencer(pose2d=config, pose2d_weights=checkpoint, device='cpu')
for given, results in ((files[0], 1), (clip, 1), (f'{out}/a.mp4', 8)):
    drawn = {} if given is clip else dict(out_dir=f'{out}/inferred')
    predictions = [result['predictions'][0] for result in infer(given, **drawn)]
    assert len(predictions) == results and len(predictions[0]) == (8 if given is clip else 1)
events = init_model(event_config, None, device='cpu')
assert inference_topdown(events, (clip > 100).astype(np.uint8))[0].pred_instances.keypoints.shape == (8, 24, 3)
try:
    inference_topdown(events, files[0])
    raise AssertionError('a picture for a model of events')
except ValueError as error:
    assert 'for a model of events' in str(error)
for name, *arguments in (
    ('analysis_tools/get_flops', config, '--input-shape', '64'),
    ('misc/browse_dataset', config, '--phase', 'test', '--not-show', '--output-dir', f'{out}/browsed'),
):
    sys.argv = [name, *arguments]
    runpy.run_path(f'{tools}/{name}.py', run_name='__main__')
"""


def test_mmposes_inference_and_analysis(recordings, trained, tmp_path):
    """A picture, a clip and a video through mmpose's API; its get_flops.py and browse_dataset.py."""
    folder, _ = trained
    tools = Path(mmpose.__file__).parent / '.mim' / 'tools'
    arguments = [folder / 'svf_moving_body.py', 'configs/demo/svf_moving_body_event.py', folder / 'epoch_1.pth', tools]
    command = [sys.executable, '-c', INFERENCE, *map(str, [*arguments, recordings, tmp_path])]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, 'OMP_NUM_THREADS': '1'}
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-6000:]
    assert re.search(r'Input shape: \(1, 3, 64, 64\)\nFlops: \d', result.stdout)
    drawn = tmp_path / 'inferred' / 'visualizations'
    assert {path.name for path in drawn.iterdir()} == {'fullpic0000.jpg', 'a.mp4'}
    poses = json.loads((tmp_path / 'inferred' / 'predictions' / 'a.json').read_text())
    assert len(poses) == 8 and np.shape(poses[0]['instances'][0]['keypoints']) == (24, 3)
    (browsed,) = (tmp_path / 'browsed').iterdir()
    assert cv2.imread(str(browsed)).shape == (64, 8 * 64, 3)


def test_baselines(recordings):
    """One recording's mean pose, against a mean written out here."""
    log = tool(
        'analysis/pose_baselines', 'configs/demo/svf_moving_body_event.py', '--cfg-options', *options(recordings)
    )
    layout = open_layout(recordings)
    train = [layout.pose('subject03_group0_time0', i)['joints_3d'] for i in range(20)]
    truth = [layout.pose('subject01_group0_time0', i)['joints_3d'] for i in range(2, 18, 2)]
    expected = 1000 * np.linalg.norm(np.mean(train, 0) - truth, axis=-1).mean()
    assert float(re.search(r'mean pose: MPJPE (\S+),', log)[1]) == pytest.approx(expected, abs=0.06)
    assert re.search(r'untrained: MPJPE \d', log)


def test_a_missing_body_is_named(recordings, tmp_path):
    with pytest.raises(AssertionError, match=r'data/smpl/SMPL_MALE\.pkl does not exist'):
        tool(
            *('train', 'configs/svf_mmhpsd_t8.py', '--work-dir', tmp_path, '--cfg-options', 'load_from=None'),
            *options(recordings),
        )
