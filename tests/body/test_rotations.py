import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mmsvf.body import (
    axis_angle_to_matrix,
    geodesic_distance,
    matrix_to_axis_angle,
    matrix_to_rotation_6d,
    nearest_rotation,
    rotation_6d_to_matrix,
)

# none, tiny, around the change to the series, ordinary, near and at a half turn
ANGLES = (0.0, 1e-9, 1e-4, 0.0099, 0.0101, 0.5, 2.0, np.pi - 1e-7, np.pi)


def axis_angles(angle, count=20):
    axes = torch.nn.functional.normalize(torch.randn(count, 3, dtype=torch.float64), dim=-1)
    return axes * angle


@pytest.mark.parametrize('angle', ANGLES)
def test_axis_angle_equals_scipy_and_comes_back(angle):
    v = axis_angles(angle)
    matrix = axis_angle_to_matrix(v)
    np.testing.assert_allclose(matrix, Rotation.from_rotvec(v.numpy()).as_matrix(), atol=1e-12)
    back = matrix_to_axis_angle(matrix)
    torch.testing.assert_close(axis_angle_to_matrix(back), matrix, rtol=0, atol=1e-10)
    if angle < np.pi:
        torch.testing.assert_close(back, v, rtol=0, atol=1e-8)


@pytest.mark.parametrize('angle', ANGLES[:-2])
def test_gradients_of_axis_angle(angle):
    v = axis_angles(angle, 3).requires_grad_()
    assert torch.autograd.gradcheck(axis_angle_to_matrix, v)
    matrix = axis_angle_to_matrix(v.detach()).requires_grad_()
    assert torch.autograd.gradcheck(matrix_to_axis_angle, matrix)


def test_no_gradient_is_nan_at_no_rotation():
    v = torch.zeros(2, 3, requires_grad=True)
    axis_angle_to_matrix(v).sum().backward()
    assert v.grad.isfinite().all()
    matrix = torch.eye(3).requires_grad_()
    (matrix_to_axis_angle(matrix).sum() + geodesic_distance(matrix, torch.eye(3))).backward()
    assert matrix.grad.isfinite().all()


def test_6d_is_the_labs_layout():
    """First three numbers: the x axis; last three: the raw y axis (D5), not interleaved."""
    matrix = rotation_6d_to_matrix(torch.tensor([2.0, 0, 0, 5.0, 3.0, 0]))
    torch.testing.assert_close(matrix, torch.eye(3))
    r = axis_angle_to_matrix(axis_angles(1.3))
    six = matrix_to_rotation_6d(r)
    torch.testing.assert_close(six[..., :3], r[..., :, 0])
    torch.testing.assert_close(rotation_6d_to_matrix(six), r)
    raw = torch.randn(50, 6, dtype=torch.float64, requires_grad=True)
    made = rotation_6d_to_matrix(raw)
    identity = torch.eye(3, dtype=torch.float64).expand(50, 3, 3)
    torch.testing.assert_close(made.transpose(-2, -1) @ made, identity)
    torch.testing.assert_close(torch.linalg.det(made), torch.ones(50, dtype=torch.float64))
    assert torch.autograd.gradcheck(rotation_6d_to_matrix, raw[:3])


def test_6d_of_nothing_is_finite():
    raw = torch.zeros(1, 6, requires_grad=True)
    rotation_6d_to_matrix(raw).sum().backward()
    assert raw.grad.isfinite().all()


@pytest.mark.parametrize('angle', [0.3, 1.0, 3.0])
def test_geodesic_distance_is_the_angle(angle):
    a = axis_angle_to_matrix(axis_angles(1.1))
    b = a @ axis_angle_to_matrix(axis_angles(angle))
    torch.testing.assert_close(geodesic_distance(a, b), torch.full((20,), angle, dtype=torch.float64))
    assert torch.autograd.gradcheck(geodesic_distance, (a[:3].requires_grad_(), b[:3]))


def test_the_nearest_rotation_is_scipys_chordal_mean_and_no_reflection():
    rotations = axis_angle_to_matrix(torch.randn(7, 3, dtype=torch.float64))
    mean = nearest_rotation(rotations.sum(0))
    torch.testing.assert_close(mean, torch.from_numpy(Rotation.from_matrix(rotations.numpy()).mean().as_matrix()))
    mirrored = nearest_rotation(torch.diag(torch.tensor([3.0, 2.0, -1.0])).expand(2, 3, 3))
    torch.testing.assert_close(mirrored, torch.eye(3).expand(2, 3, 3))
