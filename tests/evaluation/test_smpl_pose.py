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
