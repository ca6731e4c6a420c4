"""Errors of 3D joints by frame, in the unit of the joints; shapes (..., J, 3) to (...).

The 24 joints are those of :data:`mmsvf.body.JOINTS`. Source: protocol 1.8 (the authors' evaluation).
"""

from __future__ import annotations

from torch import Tensor

from .procrustes import align

HIPS = (1, 2)


def mpjpe(joints: Tensor, target: Tensor) -> Tensor:
    """Mean distance of the joints, without any alignment."""
    return (joints - target).norm(dim=-1).mean(-1)


def centre_hips(joints: Tensor) -> Tensor:
    """Joints relative to the midpoint of the hips."""
    return joints - joints[..., HIPS, :].mean(-2, keepdim=True)


def pel_mpjpe(joints: Tensor, target: Tensor) -> Tensor:
    """MPJPE relative to the midpoint of the hips (the paper says root joint, its code this; D8)."""
    return mpjpe(centre_hips(joints), centre_hips(target))


def pa_mpjpe(joints: Tensor, target: Tensor) -> Tensor:
    """MPJPE after Procrustes alignment of each frame, scale included (the paper names no scale; D8)."""
    return mpjpe(align(joints, target), target)


def acceleration_error(joints: Tensor, target: Tensor) -> Tensor:
    """Mean distance of the second differences over time, for clips (..., T, J, 3) to (..., T - 2)."""

    def acceleration(x: Tensor) -> Tensor:
        return x[..., 2:, :, :] - 2 * x[..., 1:-1, :, :] + x[..., :-2, :, :]

    return mpjpe(acceleration(joints), acceleration(target))


def pck(joints: Tensor, target: Tensor, threshold: float) -> Tensor:
    """Share of the joints within a distance, relative to the pelvis (joint 0)."""
    relative = (joints - joints[..., :1, :]) - (target - target[..., :1, :])
    return (relative.norm(dim=-1) <= threshold).to(joints.dtype).mean(-1)
