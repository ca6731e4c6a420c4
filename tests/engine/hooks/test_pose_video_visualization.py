"""Clips of poses go where mmpose's pictures go."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import HOOKS, VISUALIZERS, init_default_scope
from mmengine.structures import InstanceData

import mmsvf  # noqa: F401


@pytest.fixture
def batch():
    from mmpose.structures import PoseDataSample

    joints = torch.randn(5, 24, 3) * 0.3 + torch.tensor([0, 0, 3.0])
    sample = PoseDataSample(metainfo=dict(action='subject01_group0_time0', frames=[7, 9, 11, 13, 15]))
    sample.pred_instances = InstanceData(
        joints_3d=joints, joints_2d=torch.rand(5, 24, 2) * 256, keypoints=joints.numpy()
    )
    sample.gt_instance_labels = InstanceData(joints_3d=joints)
    return dict(inputs=[torch.zeros(3, 5, 64, 64, dtype=torch.uint8)]), [sample]


def build(folder, **options):
    init_default_scope('mmpose')
    backends = [dict(type='LocalVisBackend')]
    VISUALIZERS.build(dict(type='PoseLocalVisualizer', name=str(folder), vis_backends=backends, save_dir=str(folder)))
    return HOOKS.build(dict(type='mmsvf.PoseVideoVisualizationHook', **options))


def test_pictures_go_to_the_backends_of_the_visualizer(batch, tmp_path):
    hook = build(tmp_path, enable=True, interval=2)
    for number in range(2):
        hook.after_val_iter(SimpleNamespace(iter=10), number, *batch)
        hook.after_test_iter(None, number, *batch)
    names = sorted(path.name for path in (tmp_path / 'vis_data' / 'vis_image').iterdir())
    assert names == ['subject01_group0_time0_0007_0.png', 'val_clip_11.png']
    picture = cv2.imread(str(tmp_path / 'vis_data' / 'vis_image' / names[0]))
    assert picture.shape == (3 * 256, 3 * 256, 3) and not np.array_equal(picture[:, :256], picture[:, 256:512])


def test_clips_go_to_the_folder(batch, tmp_path):
    hook = build(tmp_path, enable=True, out_dir=str(tmp_path / 'out'))
    hook.after_test_iter(None, 0, *batch)
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {
        'subject01_group0_time0_0007.mp4', 'subject01_group0_time0_0007.png',
    }  # fmt: skip
    assert not (tmp_path / 'vis_data' / 'vis_image').exists()
    build(tmp_path / 'off').after_test_iter(None, 0, *batch)
    assert not (tmp_path / 'off' / 'vis_data' / 'vis_image').exists()
