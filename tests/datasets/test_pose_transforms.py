"""What mmpose's inference hands over becomes the network's input; clips are packed for mmpose."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

import mmsvf  # noqa: F401
from mmsvf.apis.person import PersonChooser
from mmsvf.apis.pose_steps import steps_of
from mmsvf.apis.sources import open_source
from mmsvf.body import JOINTS
from mmsvf.datasets.pose_transforms import square_of
from mmsvf.registry import TRANSFORMS


def build(kind, **kwargs):
    init_default_scope('mmpose')
    return TRANSFORMS.build(dict(type=f'mmsvf.{kind}', **kwargs))


def picture(height=120, width=200):
    return cv2.resize(np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8), (width, height))


def sample(events=False):
    """What the data set hands over."""
    image = np.random.default_rng(0).integers(0, 256, (4, 256, 256, 3), np.uint8)
    image = (image == 0).astype(np.uint8) if events else image
    box = np.tile(np.float32([0, 0, 256, 256]), (4, 1))
    points = np.random.default_rng(0).uniform(20, 200, (4, 24, 2)).astype(np.float32)
    joints, seen = np.zeros((4, 24, 3), np.float32), np.ones((4, len(JOINTS)), np.float32)
    own = dict(
        pose=joints, shape=np.zeros((4, 10), np.float32), translation=joints[:, 0], action='a', frames=[1, 2, 3, 4]
    )
    return dict(
        **own, img=image, bbox=box, bbox_score=seen[:, 0], modality='events' if events else 'frames', keypoints=points,
        lifting_target=joints, keypoints_visible=seen, lifting_target_visible=seen, img_path='x.jpg',
    )  # fmt: skip


@pytest.mark.parametrize('kind', ['picture', 'clip'])
def test_of_another_picture_the_square_that_tracking_takes_is_seen(kind, tmp_path):
    """As of a folder of pictures by tools/track_pose.py; a key point of the square is found in the picture again."""
    image = picture()
    for k in range(3):
        cv2.imwrite(str(tmp_path / f'{k}.png'), image)
    steps = steps_of(open_source(str(tmp_path), 15), 1 / 15, PersonChooser())
    tracked = np.stack([step.picture for step in steps])
    given = image if kind == 'picture' else np.stack([image] * 3)
    box = np.float32([[0, 0, *given.shape[1::-1]]])  # as mmpose makes it
    found = build('ResizeClip')(dict(img=given, bbox=box, bbox_score=np.ones(1, np.float32)))
    expected = tracked if kind == 'clip' else tracked[0]
    np.testing.assert_allclose(found['img'].astype(int), expected, atol=2)  # PNG's reader rounds grey in another way
    assert len(found['bbox']) == (3 if kind == 'clip' else 1)
    corners = np.float32([[0, 0], [256, 256]])
    scale = found['input_scale']
    inside = corners / found['input_size'] * scale + found['input_center'] - scale / 2
    np.testing.assert_allclose(inside, [[40, 0], [160, 120]])


def test_a_box_chooses_the_square():
    image = picture()
    found = build('ResizeClip')(dict(img=image, bbox=np.float32([[150, 20, 190, 120]])))
    square = np.zeros((100, 100), np.uint8)  # x from 120 to 220: 20 columns beyond the border are black
    square[:, :80] = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[20:120, 120:]
    np.testing.assert_array_equal(found['img'][..., 0], cv2.resize(square, (256, 256)))
    assert found['input_center'].tolist() == [170, 70] and found['input_scale'].tolist() == [100, 100]


@pytest.mark.parametrize('box', [[5, 5, 5, 5], [50, 50, 5, 5], [0, 0, np.nan, 5], [0, 0, np.inf, 5], [], 5])
def test_what_is_no_box(box):
    with pytest.raises(ValueError, match=r'bbox=\[.*\]; left, top, right and bottom of a box in pixels'):
        square_of((120, 160, 3), [box])


def test_clips_of_the_data_set_are_left_as_they_are():
    given = sample()
    image = given['img'].copy()
    found = build('ResizeClip')(given)
    np.testing.assert_array_equal(found['img'], image)
    events = build('ResizeClip', size=64)(sample(events=True))['img']
    assert set(np.unique(events)) == {0, 1} and events.shape == (4, 64, 64, 3)


def test_what_is_neither_a_picture_nor_a_clip():
    with pytest.raises(ValueError, match=r'img of shape \(8, 8\); a picture \(H, W, 3\) or a clip'):
        build('ResizeClip')(dict(img=np.zeros((8, 8), np.uint8)))


def test_packed_by_mmposes_names():
    given = sample()
    packed = build('PackPoseClip')(given)
    np.testing.assert_array_equal(packed['inputs'], given['img'].transpose(3, 0, 1, 2))
    truth, labels = packed['data_samples'].gt_instances, packed['data_samples'].gt_instance_labels
    assert len(truth) == 4 and set(truth.keys()) == {
        'keypoints', 'keypoints_visible', 'lifting_target', 'lifting_target_visible', 'bboxes', 'bbox_scores',
    }  # fmt: skip
    np.testing.assert_array_equal(truth.keypoints, given['keypoints'])
    torch.testing.assert_close(labels.joints_2d * 256, torch.from_numpy(given['keypoints']))


@pytest.mark.parametrize('events', [False, True])
def test_browsing_shows_the_frames_side_by_side(events):
    given = build('ResizeClip', size=64)(sample(events))
    packed = build('PackPoseClip', pack_transformed=True)(given)
    assert packed['inputs'].shape == (3, 64, 256) and (
        not events or set(packed['inputs'].unique().tolist()) == {0, 255}
    )
    shown = packed['data_samples'].gt_instances.transformed_keypoints
    expected = given['keypoints'] / 4 + 64 * np.arange(4).reshape(4, 1, 1) * np.array([1, 0])
    np.testing.assert_allclose(shown, expected, rtol=1e-6)
