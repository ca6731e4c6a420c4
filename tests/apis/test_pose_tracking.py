"""Windows become one track."""

import os

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmsvf  # noqa: F401
from mmsvf.apis.pose_tracking import read_clip, track_pose, windows
from mmsvf.body import axis_angle_to_matrix, embedded_body
from mmsvf.registry import MODELS
from mmsvf.visualization.video import write_video

from ..conftest import ROOT


@pytest.fixture(scope='module')
def model():
    init_default_scope('mmpose')
    cfg = Config.fromfile(ROOT / 'configs' / 'demo' / 'svf_moving_body.py')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    torch.nn.init.normal_(model.head.pose.weight, std=0.2)  # a pose that depends on the input
    with torch.no_grad():  # statistics, so that neurons fire
        for _ in range(3):
            model.train().extract_feat(torch.rand(2, 3, 8, 64, 64))
    return model.eval()


def pictures(steps):
    return np.random.default_rng(0).integers(0, 256, (steps, 256, 256, 3), dtype=np.uint8)


RESIZE = [dict(type='mmsvf.ResizeClip', size=64)]


@pytest.mark.parametrize(
    'steps, window, overlap', [(20, 8, 0.5), (17, 8, 0.75), (16, 8, 0.0), (5, 8, 0.5), (9, 1, 0.5)]
)
def test_windows_cover_every_step_and_are_as_trained(steps, window, overlap):
    spans = windows(steps, window, overlap)
    assert {len(span) for span in spans} == {min(window, steps)}
    assert sorted(set().union(*spans)) == list(range(steps)) and spans[-1].stop == steps
    if overlap == 0 and steps % window == 0:
        assert len(spans) == steps // window


def test_one_window_is_the_model(model):
    clip = pictures(8)
    track = track_pose(model, clip, 8, pipeline=RESIZE)
    small = np.stack([cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA) for frame in clip])
    inputs = torch.from_numpy(small).permute(3, 0, 1, 2)[None].float() / 255
    with torch.no_grad():
        expected = model.head(model.extract_feat(inputs))
    for name in ('joints_3d', 'translation', 'shape'):
        np.testing.assert_allclose(track[name], expected[name][0].numpy(), atol=1e-5)
    np.testing.assert_allclose(track['joints_2d'], 256 * expected['joints_2d'][0].numpy(), atol=1e-2)
    rotations = axis_angle_to_matrix(torch.from_numpy(track['pose']))
    np.testing.assert_allclose(rotations, expected['pose'][0], atol=1e-5)


def test_a_long_track_is_one_body(model):
    """The joints are those of the track's own pose, shape and translation; shapes as documented."""
    track = track_pose(model, pictures(19), 8, pipeline=RESIZE)
    shapes = dict(joints_3d=(19, 24, 3), translation=(19, 3), joints_2d=(19, 24, 2), pose=(19, 24, 3), shape=(19, 10))
    assert {name: value.shape for name, value in track.items()} == shapes
    pose, shape, translation = (torch.from_numpy(track[name]) for name in ('pose', 'shape', 'translation'))
    joints = embedded_body()(axis_angle_to_matrix(pose), shape, translation).joints
    np.testing.assert_allclose(track['joints_3d'], joints, atol=1e-4)


def test_windows_fade_into_each_other(model):
    """Where windows disagree, no step jumps further than between the windows' own poses."""
    clip = pictures(12)
    alone = [track_pose(model, clip[s : s + 8], 8, pipeline=RESIZE)['translation'] for s in (0, 4)]
    track = track_pose(model, clip, 8, 0.5, pipeline=RESIZE)['translation']
    np.testing.assert_allclose(track[:4], alone[0][:4], atol=1e-6)
    np.testing.assert_allclose(track[8:], alone[1][4:], atol=1e-6)
    weights = np.array([4 / 5, 3 / 5, 2 / 5, 1 / 5])[:, None]
    np.testing.assert_allclose(track[4:8], weights * alone[0][4:] + (1 - weights) * alone[1][:4], atol=1e-5)


def test_videos_and_folders_are_read_by_time(tmp_path):
    """Frame k of a video at 20 fps has brightness 10 k; a step of 0.1 s takes every other one."""
    frames = [np.full((48, 80, 3), 10 * k, np.uint8) for k in range(20)]
    write_video(tmp_path / 'a.mp4', frames, 20)
    (tmp_path / 'b').mkdir()
    for k, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / 'b' / f'{k}.png'), frame)
    for source in ('a.mp4', 'b'):
        clip = read_clip(str(tmp_path / source), 'frames', 0.1, fps=20)
        assert clip.pictures.shape == (10, 256, 256, 3)
        np.testing.assert_allclose(clip.pictures.mean((1, 2, 3)), 20 * np.arange(10), atol=4)


def test_events_are_cut_into_steps(tmp_path):
    t = np.arange(0, 2_000_001, 1000)
    np.savez(tmp_path / 'e.npz', x=np.full(len(t), 5), y=t // 250_000 + 1, t=t)
    clip = read_clip(str(tmp_path / 'e.npz'), 'events', 0.25)
    assert clip.pictures.shape == (8, 256, 256, 3)
    for k, picture in enumerate(clip.pictures[:-1]):
        assert np.flatnonzero(picture[:, 5].any(1)).tolist() == [k + 1]


def test_wrong_sources_are_named(tmp_path):
    (tmp_path / 'no.mp4').write_text('no video')
    (tmp_path / 'x.h5').write_bytes(b'\x89HDF')
    (tmp_path / 'empty').mkdir()
    np.savez(tmp_path / 'e.npz', x=[1], y=[1], t=[1])
    os.mkfifo(tmp_path / 'pipe.mp4')
    for source, modality, message in (
        ('absent.mp4', 'frames', r'absent\.mp4 does not exist; give a video'),
        ('no.mp4', 'frames', 'cannot be read as a video'),
        ('x.h5', 'frames', r'x\.h5 cannot be read as a video; give a video'),
        ('x.h5', 'events', r'x\.h5 is no \.npz, and the model takes events'),
        ('pipe.mp4', 'frames', r'pipe\.mp4 could not be read .*not a file'),
        ('empty', 'frames', r'has no pictures \(\.jpg'),
        ('empty', 'events', r'the model takes events: give a \.npz'),
        ('e.npz', 'frames', 'the model takes frames; take a model trained with events'),
        ('e.npz', 'events', 'at least a step of 0.25 s'),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            read_clip(str(tmp_path / source), modality, 0.25)
    with pytest.raises(ValueError, match=r'overlap=1\.0'):
        windows(10, 8, 1.0)
