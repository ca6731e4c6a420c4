import numpy as np
import pytest
import torch

from mmsvf.evaluation.smpl_pose import SMPLPoseMetric


def process(prediction, target):
    instances = dict(pred_instances=dict(joints_3d=prediction), gt_instance_labels=dict(joints_3d=target))
    SMPLPoseMetric().process(None, [dict(img_path='clip_7.npz', **instances)])


@pytest.mark.parametrize(
    ('prediction', 'target', 'message'),
    [
        (torch.zeros(3, 17, 3), torch.zeros(3, 24, 3), r'prediction are \(3, 17, 3\)'),
        (torch.zeros(3, 24, 2), torch.zeros(3, 24, 2), r'prediction are \(3, 24, 2\)'),
        (torch.zeros(2, 24, 3), torch.zeros(3, 24, 3), r'here \(2, 24, 3\) and \(3, 24, 3\)'),
        (torch.zeros(3, 24, 3), torch.zeros(3, 17, 3), r'target are \(3, 17, 3\)'),
        (torch.full((3, 24, 3), torch.nan), torch.zeros(3, 24, 3), 'prediction are not finite in 216 values'),
        (torch.zeros(3, 24, 3), np.full((3, 24, 3), np.inf), 'target are not finite in 216 values'),
    ],
)
def test_joints_of_which_no_error_can_be_computed_name_the_clip(prediction, target, message):
    with pytest.raises(ValueError, match=rf'clip_7\.npz: joints_3d of the .*{message}'):
        process(prediction, target)


@pytest.mark.parametrize('threshold', [0, -0.1, float('nan'), float('inf'), True])
def test_a_threshold_that_is_no_distance(threshold):
    with pytest.raises(ValueError, match='a distance in metres'):
        SMPLPoseMetric(pck_threshold=threshold)


def test_mmposes_own_metric_gives_the_same():
    """In metres, on the fields that the head and the packer write; ours in mm."""
    from mmengine.registry import METRICS, init_default_scope

    init_default_scope('mmpose')
    stock = {mode: METRICS.build(dict(type='MPJPE', mode=mode)) for mode in ('mpjpe', 'p-mpjpe')}
    ours, rng = SMPLPoseMetric(), np.random.default_rng(0)
    for subject, length in ((1, 8), (2, 8), (7, 5)):
        target = rng.normal(0, 0.5, (length, 24, 3)).astype(np.float32) + np.float32([0, 0, 3])
        joints = 0.9 * target + rng.normal(0, 0.1, target.shape).astype(np.float32)
        sample = dict(
            pred_instances=dict(keypoints=joints, joints_3d=torch.from_numpy(joints)),
            gt_instances=dict(lifting_target=target, lifting_target_visible=np.ones((length, 24), np.float32)),
            gt_instance_labels=dict(joints_3d=torch.from_numpy(target)),
            target_img_path=[f'subject{subject:02d}_group{subject}_time0.0003.jpg'] * length,
        )
        for metric in (*stock.values(), ours):
            metric.process(None, [sample])
    found, first, second = (metric.evaluate(3) for metric in (ours, *stock.values()))
    assert found['smpl/MPJPE'] == pytest.approx(1000 * first['MPJPE'], rel=1e-5)
    assert found['smpl/PA-MPJPE'] == pytest.approx(1000 * second['P-MPJPE'], rel=1e-5)
    assert {'MPJPE_group1', 'MPJPE_group2', 'MPJPE_group7'} <= set(first)
