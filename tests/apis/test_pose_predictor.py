"""Windows become one track, of the person that was chosen."""

import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmsvf  # noqa: F401
from mmsvf.apis import person
from mmsvf.apis.person import PersonChooser
from mmsvf.apis.pose_predictor import PosePredictor, track_pose
from mmsvf.apis.pose_steps import steps_of
from mmsvf.apis.sources import Images, open_source
from mmsvf.body import axis_angle_to_matrix, embedded_body
from mmsvf.datasets.events import bin_events
from mmsvf.datasets.grey_pictures import cut_square
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


def predictor(model, modality='frames', **options):
    cfg = Config.fromfile(ROOT / 'configs' / 'demo' / 'svf_moving_body.py')
    cfg.test_dataloader.dataset.modality = modality
    return PosePredictor(model, cfg, **options)


def steps(source, step, fps=20, person=None):
    return list(steps_of(open_source(source, fps), step, person or PersonChooser()))


def test_videos_and_folders_are_read_by_time(tmp_path):
    """Frame k of a video at 20 fps has brightness 10 k; a step of 0.1 s takes every other one."""
    frames = [np.full((48, 80, 3), 10 * k, np.uint8) for k in range(20)]
    write_video(tmp_path / 'a.mp4', frames, 20)
    (tmp_path / 'b').mkdir()
    for k, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / 'b' / f'{k}.png'), frame)
    for source in (tmp_path / 'a.mp4', tmp_path / 'b', iter(frames)):
        found = steps(source, 0.1)
        assert [step.picture.shape for step in found] == [(256, 256, 3)] * 10
        np.testing.assert_allclose([step.picture.mean() for step in found], 20 * np.arange(10), atol=4)
        assert [(step.frame.index, step.last) for step in found] == [(k, k + 1) for k in range(0, 20, 2)]
    # as many steps as the former rule, round(k * step * fps), says, also where a step is no whole number of frames
    for step in (0.07, 0.25, 0.125, 0.033):
        expected = [n for k in range(99) if (n := round(k * step * 20)) < 20]
        assert [found.frame.index for found in steps(frames, step)] == sorted(set(expected))


def test_a_gap_in_the_time_stamps_takes_its_steps_along():
    class Late(Images):
        def __iter__(self):
            for frame in super().__iter__():
                frame.time += 5.0 * (frame.index >= 10)
                yield frame

    found = list(steps_of(Late([np.zeros((8, 8, 3), np.uint8)] * 20, 10), 0.2, PersonChooser()))
    assert [step.frame.index for step in found] == list(range(0, 20, 2))


def test_records_have_what_the_track_has(model):
    """A predictor on pictures of 256 x 256 is the track of these; records say which frames they stand for."""
    grey = pictures(12)[..., :1].repeat(3, -1)
    expected = track_pose(model, grey, 8, pipeline=RESIZE)
    records = list(predictor(model, step=0.1)(iter(grey), fps=10))
    for name, values in expected.items():
        np.testing.assert_allclose([getattr(record, name) for record in records], values, atol=1e-6)
    assert [(r.frame.index, r.last) for r in records] == [(k, k) for k in range(12)]
    written = records[3].to_dict()
    assert written['frame'] == 3 and np.shape(written['joints_3d']) == (24, 3)
    # on a larger frame the joints are where the square is
    wide = np.zeros((12, 512, 700, 3), np.uint8)
    wide[:, :, 94:606] = grey.repeat(2, 1).repeat(2, 2)
    record = next(iter(predictor(model, step=0.1)(wide, fps=10)))
    assert record.square == (94, 0, 512) and record.chosen == 'centre'
    np.testing.assert_allclose(record.pixels, 2 * record.joints_2d + [94, 0], atol=1e-4)
    drawn = record.draw()
    assert drawn.shape == (512, 700 + 512, 3) and drawn.dtype == np.uint8


def test_events_are_cut_into_steps(model, tmp_path):
    t = np.arange(0, 2_000_001, 1000)
    np.savez(tmp_path / 'e.npz', x=np.full(len(t), 5), y=t // 250_000 + 1, t=t)
    source = predictor(model, 'events', step=0.25).open(tmp_path / 'e.npz')
    found = list(source.steps())
    assert source.length == len(found) == 8
    whole = bin_events(np.full(len(t), 5), t // 250_000 + 1, t, 8, (256, 256), (0, 2_000_000)).transpose(0, 2, 3, 1)
    for k, step in enumerate(found):
        np.testing.assert_array_equal(step.picture, whole[k])
        assert np.flatnonzero(step.picture[:, 5].any(1)).tolist()[0] == k + 1


def test_the_person_is_a_box_the_largest_detected_or_in_the_centre():
    image = np.zeros((100, 200, 3), np.uint8)
    image[20:60, 150:170] = 255
    assert PersonChooser()(image) == ((50, 0, 100), 'centre')
    square, chosen = PersonChooser(bbox=(150, 20, 20, 40))(image)
    assert (square, chosen) == ((135, 15, 50), 'bbox')  # around the middle, a quarter larger than the longer side
    assert cut_square(image, *square).mean() == pytest.approx(255 * 20 * 40 / 50**2)
    np.testing.assert_array_equal(cut_square(image, 190, -10, 30)[:10], 0), 'black beyond the frame'
    answers = iter([None, (0, 0, 40, 40), (60, 60, 9, 9)])
    person = PersonChooser(detector=lambda image: next(answers))
    assert [person(image)[1] for _ in range(4)] == ['centre', 'detector', 'detector', 'detector']
    assert person(image)[0] == (-5, -5, 50), 'the first that is found stays: the camera stands still'
    for bbox, message in (((1, 2, 0, 4), r'width and height in pixels'), ((1, 2, 3), 'width and height')):
        with pytest.raises(ValueError, match=message):
            PersonChooser(bbox)
    with pytest.raises(ValueError, match='outside the frame of 200 x 100'):
        PersonChooser((300, 0, 9, 9))(image)
    with pytest.raises(ValueError, match='give one of them'):
        PersonChooser((1, 2, 3, 4), lambda image: None)


def test_a_detector_of_mmdetection(monkeypatch):
    """A stand-in for its two functions; and what is said where it cannot be built."""
    boxes = torch.tensor([[0, 0, 90, 90], [10, 20, 30, 60], [0, 0, 20, 20], [0, 0, 99, 99.0]])
    found = SimpleNamespace(bboxes=boxes, labels=torch.tensor([5, 0, 0, 0]), scores=torch.tensor([0.9, 0.8, 0.9, 0.1]))
    apis = SimpleNamespace(
        init_detector=lambda config, checkpoint, device: 'model',
        inference_detector=lambda model, image: SimpleNamespace(pred_instances=found),
    )
    monkeypatch.setitem(sys.modules, 'mmdet.apis', apis)
    detector = person.mmdet_detector('config', 'checkpoint', 'cpu')
    assert detector(np.zeros((99, 99, 3), np.uint8)) == (10, 20, 20, 40), 'neither another class nor an unsure one'
    found.labels[:] = 7
    assert detector(np.zeros((99, 99, 3), np.uint8)) is None

    def fails(*_, **__):
        raise RuntimeError('mmcv op nms needs compiled mmcv')

    apis.init_detector = fails
    with pytest.raises(ImportError, match=r'mim install "mmcv.*--bbox'):
        person.mmdet_detector('config', 'checkpoint', 'cpu')
    monkeypatch.setattr('mmsvf.frameworks.is_installed', lambda package: False)
    with pytest.raises(ImportError, match=r'--det-config needs mmdet.*pip install --no-deps mmdet'):
        person.mmdet_detector('config', 'checkpoint', 'cpu')


def test_other_models_of_mmpose_are_sent_to_its_inferencer():
    """As a stock 2D config with our backbone builds one."""
    init_default_scope('mmpose')
    head = dict(type='HeatmapHead', in_channels=512, out_channels=17)
    stock = MODELS.build(dict(type='TopdownPoseEstimator', backbone=dict(type='ResNet', depth=18), head=head))
    with pytest.raises(ValueError, match=r'a TopdownPoseEstimator is not predicted here.*MMPoseInferencer\(pose2d='):
        predictor(stock)


def test_wrong_sources_are_named(model, tmp_path):
    (tmp_path / 'no.mp4').write_text('no video')
    (tmp_path / 'x.h5').write_bytes(b'\x89HDF')
    (tmp_path / 'empty').mkdir()
    np.savez(tmp_path / 'e.npz', x=[1], y=[1], t=[1])
    np.savez(tmp_path / 'large.npz', x=[1, 300], y=[1, 1], t=[1, 10**6])
    for name, times in dict(late=[0, 2**61], apart=[-(2**63) + 1, 2**63 - 1], beyond=[-1.7e308, 1.7e308]).items():
        np.savez(tmp_path / f'{name}.npz', x=[1, 1], y=[1, 1], t=times)
    for source, modality, message in (
        ('absent.mp4', 'frames', r'absent\.mp4 is missing'),
        ('no.mp4', 'frames', 'cannot be read as a video'),
        ('x.h5', 'events', r'x\.h5 is no \.npz, and the model takes events'),
        ('empty', 'frames', r'has no pictures \(\.jpg'),
        ('empty', 'events', r'the model takes events: give a \.npz'),
        ('e.npz', 'frames', 'the model takes frames; take a model trained with events'),
        ('e.npz', 'events', 'at least a step of 0.25 s'),
        ('large.npz', 'events', 'give the size of the sensor'),
        (
            'late.npz',
            'events',
            r'late\.npz could .* t goes from 0 to 2305843009213693952; up to 10000000 steps of 0\.25 s',
        ),
        ('apart.npz', 'events', r'apart\.npz could not be read .* up to 10000000 steps'),
        ('beyond.npz', 'events', r'beyond\.npz could not be read .* up to 10000000 steps'),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            list(predictor(model, modality)(str(tmp_path / source)))
    with pytest.raises(ValueError, match=r'the model takes events: give a \.npz'):
        predictor(model, 'events').open(np.zeros((2, 9, 9, 3), np.uint8))
    with pytest.raises(ValueError, match=r'overlap=1\.0'):
        list(predictor(model, overlap=1.0)(np.zeros((2, 9, 9, 3), np.uint8)))
