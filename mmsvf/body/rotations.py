"""Rotations: axis-angle, 6D and matrices, with gradients that are finite everywhere.

Shapes: axis-angle ``(..., 3)`` in radians, 6D ``(..., 6)``, matrices ``(..., 3, 3)``, which act on
column vectors. D5 is a row of docs/faithfulness.md.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SMALL = 1e-4  # squared angle below which a series replaces the quotient: its error is below fp64's


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """Rodrigues' formula: R = I + a K + b K^2, a = sin(t)/t, b = (1 - cos(t))/t^2, K the cross-product matrix."""
    square = axis_angle.square().sum(-1, keepdim=True)
    small = square < SMALL
    safe = torch.where(small, torch.ones_like(square), square)  # so that the unused branch has a gradient, too
    angle = safe.sqrt()
    a = torch.where(small, 1 - square / 6 * (1 - square / 20 * (1 - square / 42)), angle.sin() / angle)
    b = torch.where(small, 0.5 - square / 24 * (1 - square / 30 * (1 - square / 56)), (1 - angle.cos()) / safe)
    k = cross_matrix(axis_angle)
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return identity + a.unsqueeze(-1) * k + b.unsqueeze(-1) * (k @ k)


def cross_matrix(v: Tensor) -> Tensor:
    """K with K w = v x w."""
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """Axis times angle, the angle in [0, pi]; by way of the quaternion's largest component, so stable everywhere."""
    m = matrix.flatten(-2)
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = m.unbind(-1)
    # four times the squares of w, x, y, z
    squares = torch.stack([1 + m00 + m11 + m22, 1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22], -1)
    rows = torch.stack(
        [
            torch.stack([squares[..., 0], m21 - m12, m02 - m20, m10 - m01], -1),
            torch.stack([m21 - m12, squares[..., 1], m10 + m01, m02 + m20], -1),
            torch.stack([m02 - m20, m10 + m01, squares[..., 2], m12 + m21], -1),
            torch.stack([m10 - m01, m20 + m02, m21 + m12, squares[..., 3]], -1),
        ],
        -2,
    )
    best = squares.argmax(-1, keepdim=True)
    quaternion = F.normalize(rows.gather(-2, best.unsqueeze(-1).expand(*best.shape, 4)).squeeze(-2), dim=-1)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    w, v = quaternion[..., :1], quaternion[..., 1:]
    square = v.square().sum(-1, keepdim=True)
    small = square < SMALL
    sine = torch.where(small, torch.ones_like(square), square).sqrt()
    scale = torch.where(
        small, 2 + square / 3 * (1 + square * (9 / 20 + square * 15 / 56)), 2 * torch.atan2(sine, w) / sine
    )
    return scale * v


def rotation_6d_to_matrix(rotation: Tensor) -> Tensor:
    """Six numbers in the order of the authors' code (D5): the raw x axis, then the raw y axis.

    Columns of the matrix are x, y and z: z = normalise(x * y_raw), y = z * x. It is not the interleaved (3, 2) layout
    of SPIN and VIBE.
    """
    x = F.normalize(rotation[..., :3], dim=-1, eps=1e-8)
    z = F.normalize(torch.linalg.cross(x, rotation[..., 3:], dim=-1), dim=-1, eps=1e-8)
    return torch.stack([x, torch.linalg.cross(z, x, dim=-1), z], -1)


def matrix_to_rotation_6d(matrix: Tensor) -> Tensor:
    """The inverse of :func:`rotation_6d_to_matrix`: the first two columns."""
    return torch.cat([matrix[..., 0], matrix[..., 1]], -1)


def nearest_rotation(matrix: Tensor) -> Tensor:
    """The rotation nearest to a matrix (..., 3, 3) in the sum of squares: orthogonal Procrustes, without reflections.

    Of a sum of rotations it is their chordal mean, of a covariance the best turn of one point set onto another. scipy's
    ``orthogonal_procrustes`` takes one matrix, of numpy, and allows reflections.
    """
    u, _, vh = torch.linalg.svd(matrix)
    sign = torch.ones_like(u[..., 0])
    sign[..., -1] = torch.where(torch.linalg.det(u @ vh) < 0, -1.0, 1.0).to(u.dtype)
    return u @ (sign.unsqueeze(-1) * vh)


def geodesic_distance(a: Tensor, b: Tensor, eps: float = 1e-6) -> Tensor:
    """Angle between rotations in radians: arccos((tr(a^T b) - 1) / 2), the cosine kept within 1 - eps.

    At the bounds the gradient is zero rather than infinite; two equal matrices are sqrt(2 eps) apart.
    """
    cosine = ((a * b).sum((-2, -1)) - 1) / 2
    return cosine.clamp(-1 + eps, 1 - eps).arccos()
