import pytest
import torch

from mmsvf.body import axis_angle_to_matrix
from mmsvf.models.losses.smpl_loss import SMPLLoss

WEIGHTS = dict(translation=50, pose=10, shape=1, joints_3d=1, joints_2d=10)


def frames(seed):
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(2, 3, *shape, generator=g, dtype=torch.float64)

    pose = axis_angle_to_matrix(draw(24, 3))
    return dict(pose=pose, shape=draw(10), translation=draw(3), joints_3d=draw(24, 3), joints_2d=draw(24, 2) + 0.5)


def angle(a, b):
    return torch.acos(((a.transpose(-2, -1) @ b).diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2)


@pytest.mark.parametrize('squared', [False, True])
def test_against_the_formulas(squared):
    p, t = frames(0), frames(1)
    losses = SMPLLoss(squared=squared)(p, t)
    assert set(losses) == {f'loss_{name}' for name in WEIGHTS}
    clamped = {**p, 'joints_2d': p['joints_2d'].clamp(0, 1)}
    for name, weight in WEIGHTS.items():
        error = angle(p[name], t[name]) if name == 'pose' else clamped[name] - t[name]
        if squared:
            expected = sum(error[b, f].square().sum() for b in range(2) for f in range(3)) / 6
        else:
            expected = error.mean() if name == 'pose' else error.square().mean()
        torch.testing.assert_close(losses[f'loss_{name}'], weight * expected)


@pytest.mark.parametrize('squared', [False, True])
@pytest.mark.parametrize('name', WEIGHTS)
def test_gradients(name, squared):
    p, t = frames(0), frames(1)
    p['joints_2d'] = p['joints_2d'].sigmoid()  # clear of the clamp's corners
    x = p[name].clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda v: SMPLLoss(squared=squared)({**p, name: v}, t)[f'loss_{name}'], x, fast_mode=True
    )


def test_a_perfect_prediction_has_a_finite_gradient():
    p = {k: v.requires_grad_() for k, v in frames(0).items()}
    losses = SMPLLoss()(p, {k: v.detach() for k, v in p.items()})
    sum(losses.values()).backward()
    assert all(v.grad.isfinite().all() for v in p.values())
    assert losses['loss_pose'] < 10 * 2e-3, 'the clamp of the cosine leaves sqrt(2e-6) of an angle'
