"""Errors of 3D joints by frame, in the unit of the joints; shapes (..., J, 3) to (...).

The 24 joints are those of :data:`mmsvf.body.JOINTS`. Source: the authors' evaluation of
MMHPSD; where it differs from the paper, docs/faithfulness.md (D8).
"""

from __future__ import annotations

from torch import Tensor

from .procrustes import align

PELVIS, NECK, HEAD = 0, 12, 15
HIPS = (1, 2)


def mpjpe(joints: Tensor, target: Tensor) -> Tensor:
    """Mean distance of the joints, without any alignment."""
    return _distances(joints, target).mean(-1)


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


def pck(joints: Tensor, target: Tensor, threshold: float | Tensor) -> Tensor:
    """Share of the joints nearer than a threshold, relative to the midpoint of the hips, as in the authors' code (D49).

    The threshold is a distance, or one per frame (..., 1).
    """
    return (_distances(centre_hips(joints), centre_hips(target)) < threshold).to(joints.dtype).mean(-1)


def pck_head(joints: Tensor, target: Tensor) -> Tensor:
    """PCKh: the threshold is the target's distance from neck to head, which the authors take for half a head."""
    return pck(joints, target, _distances(target[..., [NECK], :], target[..., [HEAD], :]))


def pck_torso(joints: Tensor, target: Tensor) -> Tensor:
    """The threshold is a fifth of the target's distance from pelvis to neck."""
    return pck(joints, target, 0.2 * _distances(target[..., [NECK], :], target[..., [PELVIS], :]))


def _distances(joints: Tensor, target: Tensor) -> Tensor:
    """Of each joint: (..., J, 3) to (..., J)."""
    return (joints - target).norm(dim=-1)
