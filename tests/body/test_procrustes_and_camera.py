import pytest
import torch

import mmsvf  # noqa: F401
from mmsvf.body import MMHPSD_INTRINSICS, align, axis_angle_to_matrix, project, rotation_about_axis


def skeleton(*shape):
    return torch.randn(*shape, 24, 3, dtype=torch.float64)


def test_equals_mmposes():
    from mmpose.evaluation.functional.mesh_eval import compute_similarity_transform

    points, target = skeleton(30), skeleton(30)
    ours = align(points, target)
    for p, t, o in zip(points, target, ours):
        torch.testing.assert_close(torch.from_numpy(compute_similarity_transform(p.numpy(), t.numpy())), o)


def test_a_rotated_scaled_shifted_copy_aligns_exactly():
    target = skeleton(10)
    rotation = axis_angle_to_matrix(torch.randn(10, 3, dtype=torch.float64) * 3)
    copy = 2.5 * target @ rotation.transpose(-2, -1) + torch.randn(10, 1, 3, dtype=torch.float64)
    torch.testing.assert_close(align(copy, target), target, rtol=0, atol=1e-12)
    assert (align(copy, target, scale=False) - target).norm(dim=-1).mean() > 0.1
    torch.testing.assert_close(align(copy / 2.5, target, scale=False), target, rtol=0, atol=1e-12)


def test_a_mirrored_copy_does_not_align():
    target = skeleton(10)
    assert (align(target * torch.tensor([-1.0, 1, 1]), target) - target).norm(dim=-1).mean() > 0.1


@pytest.mark.parametrize('points', [
    torch.zeros(24, 3), torch.ones(24, 3), torch.arange(24.0).view(24, 1) * torch.tensor([1.0, 2, 3]),
    torch.randn(24, 2) @ torch.randn(2, 3),
], ids=['origin', 'repeated', 'collinear', 'coplanar'])  # fmt: skip
def test_degenerate_joints(points):
    target = torch.randn(24, 3)
    for a, b in ((points, target), (target, points), (points, points)):
        aligned = align(a, b)
        assert aligned.isfinite().all()
        assert (aligned - b).norm() <= (a.mean(0) - a + b.mean(0) - b).norm() + (b - b.mean(0)).norm() + 1e-4
    torch.testing.assert_close(align(points, points), points, rtol=1e-4, atol=1e-4)


def test_projection():
    intrinsics = torch.tensor(MMHPSD_INTRINSICS, dtype=torch.float64)
    point = torch.tensor([0.5, -0.25, 2.0], dtype=torch.float64)
    pixel = project(point, intrinsics, eps=0)
    assert pixel.tolist() == pytest.approx([335.86 * 0.25 + 128.2, -335.86 * 0.125 + 128.2])
    points = (skeleton(2) * 0.3 + torch.tensor([0, 0, 3.0])).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: project(p, intrinsics), points[:, :3])
    with pytest.raises(ValueError, match=r'intrinsics of shape \(3, 3\)'):
        project(point, torch.eye(3))


def test_a_turn_about_the_optical_axis_turns_the_image_about_the_principal_point():
    """Re-projecting rotated joints hits the rotated pixels within 1e-3 px."""
    intrinsics = torch.tensor(MMHPSD_INTRINSICS, dtype=torch.float64)
    points = skeleton(20) * 0.4 + torch.tensor([0, 0, 3.0])
    degrees = torch.linspace(-20, 20, 20, dtype=torch.float64)
    turn = rotation_about_axis(degrees)
    turned = project((turn[:, None] @ points[..., None])[..., 0], intrinsics)
    pixels = project(points, intrinsics) - intrinsics[2:]
    expected = (turn[:, None, :2, :2] @ pixels[..., None])[..., 0] + intrinsics[2:]
    assert (turned - expected).abs().max() < 1e-3
