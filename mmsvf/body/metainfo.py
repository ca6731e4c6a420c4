"""SMPL's 24 joints in the form in which mmpose describes key points (its ``parse_pose_metainfo`` reads this)."""

from __future__ import annotations

from typing import Any

from .skinning import JOINTS, MIRROR, PARENTS

COLOURS = {'left': (255, 160, 60), 'right': (60, 160, 255)}  # RGB, as everywhere in mmpose
TRUNK = (90, 220, 90)
LOWER = ('pelvis', 'hip', 'knee', 'ankle', 'foot')
# OKS's spread of a joint as a share of the body's size. COCO publishes it for hips, knees, ankles, shoulders, elbows
# and wrists (https://cocodataset.org/#keypoints-eval); for SMPL's others none is published, and they have that of the
# nearest joint of COCO. MMHPSD's protocol has no OKS.
SIGMAS = {
    **dict.fromkeys(('pelvis', 'hip', 'spine1', 'spine2', 'spine3'), 0.107),
    **dict.fromkeys(('neck', 'collar', 'head', 'shoulder'), 0.079),
    **dict(knee=0.087, ankle=0.089, foot=0.089, elbow=0.072, wrist=0.062, hand=0.062),
}


def _colour(name: str) -> list[int]:
    return list(COLOURS.get(name.split('_')[0], TRUNK))


def _keypoint(index: int, name: str) -> dict[str, Any]:
    part, other = name.split('_')[-1], JOINTS[MIRROR[index]]
    kind = 'lower' if part in LOWER else 'upper'
    return dict(name=name, id=index, color=_colour(name), type=kind, swap='' if other == name else other)


SMPL_METAINFO: dict[str, Any] = dict(
    dataset_name='mmhpsd',
    paper_info=dict(
        author='Zou, Shihao and Guo, Chuan and others',
        title='EventHPE: Event-based 3D Human Pose and Shape Estimation',
        container='ICCV',
        year='2021',
        homepage='https://github.com/JimmyZou/EventHPE',
    ),
    keypoint_info={i: _keypoint(i, name) for i, name in enumerate(JOINTS)},
    skeleton_info={
        i: dict(link=(JOINTS[parent], JOINTS[i + 1]), id=i, color=_colour(JOINTS[i + 1]))
        for i, parent in enumerate(PARENTS[1:])
    },
    joint_weights=[1.0] * len(JOINTS),
    sigmas=[SIGMAS[name.split('_')[-1]] for name in JOINTS],
)
