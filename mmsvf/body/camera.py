"""Pinhole camera."""

from __future__ import annotations

import torch
from torch import Tensor

MMHPSD_SIZE = 256  # pixels of a side of its images
MMHPSD_INTRINSICS = (335.86, 335.86, 128.2, 128.2)  # at that size


def project(points: Tensor, intrinsics: Tensor, eps: float = 1e-5) -> Tensor:
    """Pixels (..., 2) of points (..., 3) in camera coordinates (x right, y down, z forward, metres).

    u = fx X / Z + cx, v = fy Y / Z + cy, with ``eps`` added to Z as in the authors' code.

    Args:
        points: Points in front of the camera.
        intrinsics: (fx, fy, cx, cy) in pixels, (4,) or with leading dimensions that broadcast.
        eps: Added to the depth.

    Raises:
        ValueError: intrinsics of another shape.
    """
    if intrinsics.shape[-1] != 4:
        raise ValueError(
            f'intrinsics of shape {tuple(intrinsics.shape)}; expected (fx, fy, cx, cy) in the last dimension'
        )
    focal, centre = intrinsics[..., :2], intrinsics[..., 2:]
    return points[..., :2] / (points[..., 2:] + eps) * focal + centre


def rotation_about_axis(degrees: Tensor) -> Tensor:
    """Rotations (..., 3, 3) about the optical axis; positive turns the image from x (right) to y (down)."""
    angle = torch.deg2rad(degrees)
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = [cosine, -sine, zero, sine, cosine, zero, zero, zero, torch.ones_like(angle)]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))
