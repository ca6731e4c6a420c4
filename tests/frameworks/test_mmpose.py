"""mmpose's own interfaces, metric and tools, as installed, on a config and a checkpoint of ours."""

import json
import re
from pathlib import Path

import cv2
import mmpose
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

import mmsvf  # noqa: F401
from tests.conftest import ROOT

from .running import alone, framework_tool

INFERENCE = """
import sys
import cv2, numpy as np
from mmengine.config import Config
config, event_config, checkpoint, out, *files = sys.argv[1:]
assert 'mmsvf' not in sys.modules
Config.fromfile(config)  # its custom_imports, which mmpose.apis need with mmcv-lite
from mmpose.apis import MMPoseInferencer, inference_topdown, init_model

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
"""


@pytest.fixture(scope='module')
def files(recordings, tmp_path_factory):
    """The embedded default's config on the recordings, with mmpose's metric beside ours; a checkpoint; eight frames."""
    folder = tmp_path_factory.mktemp('mmpose')
    loader = f"dict(dataset=dict(data_root='{recordings['a']}', durations=(1,)))"
    (folder / 'config.py').write_text(
        f"_base_ = '{ROOT / 'configs' / 'demo' / 'svf_moving_body.py'}'\n"
        + ''.join(f'{part}_dataloader = {loader}\n' for part in ('train', 'val', 'test'))
        + "test_evaluator = [dict(type='MPJPE'), dict(type='MPJPE', mode='p-mpjpe'), dict(type='mmsvf.SMPLPoseMetric')]"
    )
    init_default_scope('mmpose')
    model = MODELS.build(Config.fromfile(folder / 'config.py').model)
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict(), meta={}), folder / 'checkpoint.pth')
    pictures = sorted((recordings['a'] / 'full_pic_256').glob('subject01*/*.jpg'))[:8]
    return folder / 'config.py', folder / 'checkpoint.pth', pictures


def tool(name, *arguments):
    return framework_tool(f'mmpose::{name}', *arguments)


def test_a_picture_a_clip_and_a_video(files, tmp_path):
    """Through ``init_model``, ``inference_topdown`` and ``MMPoseInferencer``; a model of events takes no picture."""
    config, checkpoint, pictures = files
    alone('-c', INFERENCE, config, 'configs/demo/svf_moving_body_event.py', checkpoint, tmp_path, *pictures)
    drawn = tmp_path / 'inferred' / 'visualizations'
    assert {path.name for path in drawn.iterdir()} == {'fullpic0000.jpg', 'a.mp4'}
    poses = json.loads((tmp_path / 'inferred' / 'predictions' / 'a.json').read_text())
    assert len(poses) == 8 and np.shape(poses[0]['instances'][0]['keypoints']) == (24, 3)


def test_test_script(files, tmp_path):
    """Its metrics are ours in metres; the config's custom_imports alone bring mmsvf in."""
    config, checkpoint, _ = files
    script = Path(mmpose.__file__).parent / '.mim' / 'tools' / 'test.py'
    where = '--work-dir', tmp_path, '--out', tmp_path / 'metrics.json', '--show-dir', tmp_path / 'shown'
    alone(script, config, checkpoint, *where)
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert metrics['smpl/MPJPE'] == pytest.approx(1000 * metrics['MPJPE'], rel=1e-4)
    assert metrics['smpl/PA-MPJPE'] == pytest.approx(1000 * metrics['P-MPJPE'], rel=1e-4)
    (video,) = (tmp_path / 'shown').glob('*.mp4')
    assert int(cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FRAME_COUNT)) == 8


def test_get_flops(files):
    """Of a picture, that is of a clip of eight equal frames."""
    text = tool('analysis_tools/get_flops.py', files[0], '--input-shape', 64)
    assert re.search(r'Input shape: \(1, 3, 64, 64\)\nFlops: 0\.2\d+G\nParams: 0\.70\dM', text)


@pytest.mark.parametrize('mode', ['transformed', 'original'])
def test_browse_dataset(files, tmp_path, mode):
    """The frames of a clip side by side; or all its poses in its last frame."""
    tool('misc/browse_dataset.py', files[0], '--not-show', '--mode', mode, '--phase', 'test', '--output-dir', tmp_path)
    (picture,) = tmp_path.iterdir()
    assert cv2.imread(str(picture)).shape == ((64, 8 * 64, 3) if mode == 'transformed' else (256, 256, 3))
