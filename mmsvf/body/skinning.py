"""A body of SMPL's kind: shape directions, a tree of 24 joints, linear-blend skinning.

Letters: ``V`` vertices, ``J`` = 24 joints, ``S`` shape directions; leading dimensions are free.

Source: Loper et al., SMPL (SIGGRAPH Asia 2015), Eq. 2 to 10.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .rotations import axis_angle_to_matrix

PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
JOINTS = (
    *('pelvis', 'left_hip', 'right_hip', 'spine1', 'left_knee', 'right_knee', 'spine2', 'left_ankle', 'right_ankle'),
    *('spine3', 'left_foot', 'right_foot', 'neck', 'left_collar', 'right_collar', 'head', 'left_shoulder'),
    *('right_shoulder', 'left_elbow', 'right_elbow', 'left_wrist', 'right_wrist', 'left_hand', 'right_hand'),
)
# the joint on the other side of the body
MIRROR = (0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22)


class BodyOutput(NamedTuple):
    """Joints (..., 24, 3) and, if asked for, vertices (..., V, 3), in metres."""

    joints: Tensor
    vertices: Tensor | None


class SkinnedBody(nn.Module):
    """Joints and vertices from pose, shape and translation.

    Args:
        v_template: Rest mesh (V, 3) in metres.
        shapedirs: Shape directions (V, 3, S).
        joint_regressor: Rest joints from rest vertices (24, V).
        weights: Skinning weights (V, 24).
        posedirs: Pose-dependent directions (V, 3, 207), or None.
        faces: Triangles (F, 3), kept for rendering.

    Raises:
        ValueError: arrays that do not fit each other.
    """

    v_template: Tensor
    shapedirs: Tensor
    joint_template: Tensor
    joint_shapedirs: Tensor
    weights: Tensor
    posedirs: Tensor | None

    def __init__(
        self,
        v_template: np.ndarray,
        shapedirs: np.ndarray,
        joint_regressor: np.ndarray,
        weights: np.ndarray,
        posedirs: np.ndarray | None = None,
        faces: np.ndarray | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        count, joints = len(v_template), len(PARENTS)
        expected = {
            'v_template': (v_template, (count, 3)),
            'shapedirs': (shapedirs, (count, 3, shapedirs.shape[-1])),
            'joint_regressor': (joint_regressor, (joints, count)),
            'weights': (weights, (count, joints)),
        }
        if posedirs is not None:
            expected['posedirs'] = posedirs, (count, 3, 9 * (joints - 1))
        wrong = [
            f'{name} {np.shape(a)} instead of {shape}' for name, (a, shape) in expected.items() if a.shape != shape
        ]
        if wrong:
            raise ValueError(f'not a body of {joints} joints and {count} vertices: {"; ".join(wrong)}')

        def buffer(name: str, array: np.ndarray) -> None:
            self.register_buffer(name, torch.as_tensor(np.asarray(array, np.float64), dtype=dtype), persistent=False)

        buffer('v_template', v_template)
        buffer('shapedirs', shapedirs)
        # once: rest joints are linear in the shape
        buffer('joint_template', joint_regressor @ v_template)
        buffer('joint_shapedirs', np.einsum('jv,vcs->jcs', joint_regressor, shapedirs))
        buffer('weights', weights)
        self.posedirs = None
        if posedirs is not None:
            del self.posedirs
            buffer('posedirs', posedirs)
        self.faces = None if faces is None else np.asarray(faces, np.int64)

    @property
    def shapes(self) -> int:
        """Number of shape directions S."""
        return self.shapedirs.shape[-1]

    def rest_joints(self, betas: Tensor) -> Tensor:
        """Joints (..., 24, 3) of the rest pose for shapes (..., S)."""
        return self.joint_template + torch.einsum('jcs,...s->...jc', self.joint_shapedirs, betas)

    def forward(
        self, pose: Tensor, betas: Tensor, translation: Tensor | None = None, vertices: bool = False
    ) -> BodyOutput:
        """Pose the body.

        Args:
            pose: Rotations of the joints relative to their parents, matrices (..., 24, 3, 3) or
                axis-angle (..., 24, 3); the first is the global orientation, about the pelvis.
            betas: Shape (..., S).
            translation: (..., 3) in metres, added at the end.
            vertices: Whether to compute the mesh, too.

        Raises:
            ValueError: another number of joints or shape values.
        """
        if pose.shape[-1] == 3 and pose.shape[-2:] == (len(PARENTS), 3):
            pose = axis_angle_to_matrix(pose)
        if pose.shape[-3:] != (len(PARENTS), 3, 3) or betas.shape[-1] != self.shapes:
            raise ValueError(
                f'pose {tuple(pose.shape)} and betas {tuple(betas.shape)}; expected (..., 24, 3, 3) or (..., 24, 3), '
                f'and (..., {self.shapes})'
            )
        rest = self.rest_joints(betas)
        rotations, places = [pose[..., 0, :, :]], [rest[..., 0, :]]
        for joint, parent in enumerate(PARENTS[1:], 1):  # along the tree
            offset = (rest[..., joint, :] - rest[..., parent, :]).unsqueeze(-1)
            rotations.append(rotations[parent] @ pose[..., joint, :, :])
            places.append(places[parent] + (rotations[parent] @ offset).squeeze(-1))
        joints = torch.stack(places, -2)
        mesh = self._skin(pose, betas, rest, torch.stack(rotations, -3), joints) if vertices else None
        if translation is not None:
            shift = translation.unsqueeze(-2)
            joints, mesh = joints + shift, None if mesh is None else mesh + shift
        return BodyOutput(joints, mesh)

    def _skin(self, pose: Tensor, betas: Tensor, rest: Tensor, rotations: Tensor, joints: Tensor) -> Tensor:
        """Vertices: shape and pose blends, then linear-blend skinning by the motion of the joints."""
        shaped = self.v_template + torch.einsum('vcs,...s->...vc', self.shapedirs, betas)
        if self.posedirs is not None:
            identity = torch.eye(3, dtype=pose.dtype, device=pose.device)
            feature = (pose[..., 1:, :, :] - identity).flatten(-3)
            shaped = shaped + torch.einsum('vcp,...p->...vc', self.posedirs, feature)
        shifts = joints - (rotations @ rest.unsqueeze(-1)).squeeze(-1)
        blended = torch.einsum('vj,...jab->...vab', self.weights, rotations)
        moved = (blended @ shaped.unsqueeze(-1)).squeeze(-1)
        return moved + torch.einsum('vj,...jc->...vc', self.weights, shifts)
