"""Human pose through the tools: the embedded default from frames, an MMHPSD config from events."""

import re

import cv2
import numpy as np
import pytest

from mmsvf.datasets.mmhpsd_layouts import open_layout
from mmsvf.files.checkpoints import load_checkpoint

from .test_train_and_test import tool

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


def test_frames(recordings, tmp_path):
    config = 'configs/demo/svf_moving_body.py'
    log = tool('train', config, '--work-dir', tmp_path, '--cfg-options', *options(recordings))
    plain = re.sub(' +', ' ', log)
    assert re.search(r'Epoch\(train\) \[1\]\[1/1\] .*eta: .*loss_translation: .*loss_pose: .*loss_joints_2d: \d', plain)
    assert re.search(r'Epoch\(val\) \[1\]\[1/1\] smpl/MPJPE: \d.*smpl/PEL-MPJPE: .*smpl/PA-MPJPE: .*smpl/PCK: ', plain)
    assert re.search(r'best_smpl_PA-MPJPE_epoch_1\.pth', log)
    assert load_checkpoint(tmp_path / 'epoch_1.pth')['meta']['dataset_meta']['num_keypoints'] == 24
    log = tool(
        *('test', config, tmp_path / 'epoch_1.pth', '--work-dir', tmp_path, '--show-dir', tmp_path / 'shown'),
        *('--cfg-options', *options(recordings)),
    )
    assert 'smpl/PA-MPJPE' in log
    (video,) = (tmp_path / 'shown').glob('*.mp4')
    assert int(cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FRAME_COUNT)) == 8
    assert cv2.imread(str(video.with_suffix('.png'))).shape[1] == 3 * 256

    # a recording of 20 frames as one track of 10 steps, in windows of 8
    log = tool(
        *('track_pose', config, tmp_path / 'epoch_1.pth', 'subject01_group0_time0', '--out', tmp_path / 'a' / 'track'),
        *('--cfg-options', *options(recordings)),
    )
    assert re.search(r'10 steps of 0\.133 s: .*track\.npz', log) and re.search(r'PA-MPJPE \d+\.\d mm', log)
    with np.load(tmp_path / 'a' / 'track.npz') as track:
        assert track['joints_3d'].shape == (10, 24, 3) and track['joints_2d'].shape == (10, 24, 2)
        assert track['joint_names'][0] == 'pelvis' and np.diff(track['times']) == pytest.approx(2 / 15)
    assert int(cv2.VideoCapture(str(tmp_path / 'a' / 'track.mp4')).get(cv2.CAP_PROP_FRAME_COUNT)) == 10
    assert cv2.imread(str(tmp_path / 'a' / 'track.png')).std() > 10

    (tmp_path / 'clip.mp4').write_text('a recording')
    command = 'track_pose', config, tmp_path / 'epoch_1.pth', tmp_path / 'clip.mp4', '--out', tmp_path / 'clip'
    with pytest.raises(
        AssertionError, match=r"ValueError: .* of 'clip' would take the place of the source .*clip\.mp4"
    ):
        tool(*command, '--cfg-options', *options(recordings))
    for flag in ('--step', '--fps'):
        with pytest.raises(AssertionError, match=f'argument {flag}: nan: more than 0 expected'):
            tool(*command, flag, 'nan')


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
