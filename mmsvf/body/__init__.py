"""Rotations, a body of SMPL's kind, alignment and projection, in plain PyTorch."""

from . import errors
from .camera import MMHPSD_INTRINSICS, MMHPSD_SIZE, project, rotation_about_axis
from .metainfo import SMPL_METAINFO
from .procrustes import align
from .rotations import (
    axis_angle_to_matrix,
    geodesic_distance,
    matrix_to_axis_angle,
    matrix_to_rotation_6d,
    nearest_rotation,
    rotation_6d_to_matrix,
)
from .skinning import JOINTS, MIRROR, PARENTS, BodyOutput, SkinnedBody
from .smpl_files import embedded_body, load_smpl, read_smpl

__all__ = [
    'JOINTS',
    'MIRROR',
    'MMHPSD_INTRINSICS',
    'MMHPSD_SIZE',
    'PARENTS',
    'SMPL_METAINFO',
    'BodyOutput',
    'SkinnedBody',
    'align',
    'axis_angle_to_matrix',
    'embedded_body',
    'errors',
    'geodesic_distance',
    'load_smpl',
    'matrix_to_axis_angle',
    'matrix_to_rotation_6d',
    'nearest_rotation',
    'project',
    'read_smpl',
    'rotation_6d_to_matrix',
    'rotation_about_axis',
]
