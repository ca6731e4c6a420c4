"""Head, estimator and metric together, with a body written by the test."""

import numpy as np
import pytest
import torch
from mmengine.registry import METRICS, MODELS, init_default_scope
from mmengine.structures import InstanceData

import mmsvf  # noqa: F401
from mmsvf.body import axis_angle_to_matrix, project
from mmsvf.spiking import build_neuron
from tests.awake import awake

from ...body.test_skinning import NAMES, arrays

T = 4


@pytest.fixture(scope='module')
def body_file(tmp_path_factory):
    a = arrays()
    path = tmp_path_factory.mktemp('body') / 'body.npz'
    np.savez(path, **{NAMES[k]: v for k, v in a.items() if k in NAMES}, J_regressor=a['joint_regressor'])
    return str(path)


def build(body_file, **head):
    init_default_scope('mmpose')
    return MODELS.build(dict(
        type='mmsvf.VideoPoseEstimator',
        backbone=dict(type='mmsvf.SpikeVideoFormer', output='tuple',
                      arch=dict(embed_dims=(8, 8, 16, 16, 24), depths=(1, 1, 1, 1, 1))),
        head=dict(type='mmsvf.SMPLHead', in_channels=24, body=body_file, **head),
    ))  # fmt: skip


def samples(model, count=2):
    from mmpose.structures import PoseDataSample

    result = []
    for _ in range(count):
        pose, shape, translation = (
            torch.randn(T, 24, 3),
            torch.randn(T, 10),
            torch.randn(T, 3) + torch.tensor([0, 0, 4.0]),
        )
        joints = model.head.body(pose, shape, translation).joints
        label = dict(pose=pose, shape=shape, translation=translation, joints_3d=joints)
        label['joints_2d'] = project(joints, model.head.intrinsics) / 256
        sample = PoseDataSample()
        sample.gt_instance_labels = InstanceData(**label)
        result.append(sample)
    return result


def test_prediction_of_each_frame(body_file):
    model = awake(build(body_file)).eval()
    with torch.no_grad():
        output = model.predict(torch.randn(2, 3, T, 64, 64), samples(model))
    instances = output[0].pred_instances
    assert len(instances) == T and instances.pose.shape == (T, 24, 3) and instances.joints_2d.shape == (T, 24, 2)
    joints = model.head.body(axis_angle_to_matrix(instances.pose), instances.shape, instances.translation).joints
    torch.testing.assert_close(joints, instances.joints_3d, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(project(joints, model.head.intrinsics), instances.joints_2d, rtol=1e-3, atol=1e-2)


def test_predictions_have_mmposes_names(body_file):
    """3D joints in metres, 2D joints in the picture that the square was cut from."""
    model = awake(build(body_file)).eval()
    (sample,) = samples(model, 1)
    truth = dict(bboxes=np.zeros((T, 4)), bbox_scores=np.ones(T))
    sample.gt_instances = InstanceData(**truth)
    sample.set_metainfo(dict(input_size=(256, 256), input_center=np.array([70, 50]), input_scale=np.array([64, 64])))
    with torch.no_grad():
        found = model.predict(torch.randn(1, 3, T, 64, 64), [sample])[0].pred_instances
    np.testing.assert_array_equal(found.keypoints, found.joints_3d.numpy())
    assert found.keypoint_scores.shape == (T, 24) and set(truth) < set(found.keys())
    np.testing.assert_allclose(found.transformed_keypoints, found.joints_2d.numpy() / 4 + [38, 18], rtol=1e-5)


def test_a_picture_is_a_clip_in_which_nothing_moves(body_file):
    model = awake(build(body_file)).eval()
    model.time_steps = 5
    picture = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        still = model.predict(picture, samples(model))
        clip = model.predict(picture.unsqueeze(2).repeat(1, 1, 5, 1, 1), samples(model))
    for one, all_ in zip(still, clip):
        assert len(one.pred_instances) == 1 and len(all_.pred_instances) == 5
        torch.testing.assert_close(one.pred_instances.joints_3d, all_.pred_instances.joints_3d[-1:])
    with pytest.raises(ValueError, match=r'time_steps=0; a whole number'):
        type(model)(time_steps=0)


def test_training_starts_from_a_person_in_front_of_the_camera(body_file):
    model = build(body_file)
    model.init_weights()
    with torch.no_grad():
        model.head.pose.weight.zero_()
        output = model.eval()(torch.zeros(1, 3, T, 64, 64), None, mode='tensor')
    torch.testing.assert_close(output['pose'][0, 0, 0], torch.diag(torch.tensor([1.0, -1, -1])))
    torch.testing.assert_close(output['pose'][0, 0, 5], torch.eye(3))
    torch.testing.assert_close(output['translation'][0, 0], torch.tensor([0.0, 0, 3]), atol=0.2, rtol=0)


@pytest.mark.parametrize('detach', [True, False])
def test_losses_and_gradients(body_file, detach):
    """D40: by default the joints' losses do not reach the translation."""
    model = awake(build(body_file, detach_translation=detach)).train()
    losses = model.loss(torch.randn(2, 3, T, 64, 64), samples(model))
    assert set(losses) == {f'loss_{n}' for n in ('translation', 'pose', 'shape', 'joints_3d', 'joints_2d')}
    losses['loss_joints_3d'].backward(retain_graph=True)
    translation = model.head.translation.weight.grad
    assert (translation is None or not translation.any()) == detach
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert all(p.grad.any() for p in model.head.parameters())


def test_losses_and_predictions_keep_full_precision_under_autocast(body_file):
    """The same features give the same losses and poses under bf16 as without it: rotations are products, too."""
    model = awake(build(body_file)).eval()
    features, labels = (torch.randn(2, 24, T, 2, 2) * 4,), samples(model)
    with torch.no_grad():
        expected, poses = model.head.loss(features, labels), model.head.predict(features)
        with torch.autocast('cpu', torch.bfloat16):
            found, half = model.head.loss(features, labels), model.head.predict(features)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert all(torch.equal(a.pose, b.pose) for a, b in zip(poses, half))


def test_parameters_of_the_small_and_large_model(body_file):
    """14.81 and 54.82 M; the paper's 15.5 and 55.8 M have 0.7 to 1.0 M that no stated layer explains (D23)."""
    init_default_scope('mmpose')
    for arch, width, millions in (('small', 360, 14.81), ('large', 640, 54.82)):
        backbone = MODELS.build(dict(type='mmsvf.SpikeVideoFormer', arch=arch, output='tuple'))
        head = MODELS.build(dict(type='mmsvf.SMPLHead', in_channels=width, body=body_file))
        count = sum(p.numel() for m in (backbone, head) for p in m.parameters())
        assert count / 1e6 == pytest.approx(millions, abs=0.006)


def test_metric(body_file):
    init_default_scope('mmpose')
    metric = METRICS.build(dict(type='mmsvf.SMPLPoseMetric'))
    target = torch.randn(6, 24, 3)
    shifted = target + torch.tensor([0.05, 0, 0])
    for joints in (target, shifted):
        metric.process(None, [dict(pred_instances=dict(joints_3d=joints), gt_instance_labels=dict(joints_3d=target))])
    result = metric.evaluate(2)
    assert result['smpl/MPJPE'] == pytest.approx(25, abs=1e-3), 'mm, over frames'
    assert result['smpl/PEL-MPJPE'] == pytest.approx(0, abs=1e-3) == result['smpl/PA-MPJPE']
    assert result['smpl/ACCEL'] == pytest.approx(0, abs=1e-3)
    assert all(result[f'smpl/{name}'] == 100 for name in ('PCK', 'PCKh', 'PCK-torso'))
    short = METRICS.build(dict(type='mmsvf.SMPLPoseMetric'))
    short.process(
        None, [dict(pred_instances=dict(joints_3d=target[:2]), gt_instance_labels=dict(joints_3d=target[:2]))]
    )
    assert np.isnan(short.evaluate(1)['smpl/ACCEL'])


def test_wrong_features_are_named(body_file):
    head = build(body_file).head
    with pytest.raises(ValueError, match=r'SMPLHead\(in_channels=24\) takes a tuple'):
        head((torch.zeros(1, 24, 4, 4),))
    with pytest.raises(FileNotFoundError, match=r'nothing\.pkl does not exist'):
        build('nothing.pkl').init_weights()


def test_the_head_fires_and_then_pools(body_file):
    """App. H and D43: output spikes, 2D average pooling, linear layers."""
    head = build(body_file).head.eval()
    torch.nn.init.normal_(head.shape.weight)
    x = 3 * torch.randn(2, 24, T, 3, 5)
    spikes = build_neuron()(x.permute(2, 0, 1, 3, 4))
    expected = head.shape(spikes.flatten(3).mean(-1)).transpose(0, 1)
    torch.testing.assert_close(head((x,))['shape'], expected)


def test_what_is_not_finite_has_no_pose(body_file):
    model, clips = build(body_file).eval(), torch.randn(2, 3, T, 64, 64)
    clips[0, 0, 0, 0, 0] = float('nan')
    with pytest.raises(ValueError, match=r'samples \[0\] of a batch of 2'):
        model.predict(clips, samples(model))


def test_empty_input(body_file):
    model = build(body_file).eval()
    with pytest.raises(ValueError, match='SpikeVideoFormer got an empty input'):
        model.predict(torch.zeros(2, 3, 0, 64, 64), samples(model))
    with pytest.raises(ValueError, match='SMPLHead got an empty input'):
        model.head((torch.zeros(2, 24, 0, 4, 4),))
