"""SMPL's joints as mmpose reads them."""

from pathlib import Path

import pytest
from mmengine.config import Config

import mmsvf  # noqa: F401
from mmsvf.body import JOINTS, MIRROR, PARENTS, SMPL_METAINFO


def test_mmpose_reads_joints_bones_and_sides():
    from mmpose.datasets.datasets.utils import parse_pose_metainfo

    meta = parse_pose_metainfo(SMPL_METAINFO)
    assert tuple(meta['keypoint_id2name'].values()) == JOINTS and tuple(meta['flip_indices']) == MIRROR
    assert [tuple(link) for link in meta['skeleton_links']] == [(p, j) for j, p in enumerate(PARENTS) if p >= 0]
    assert sorted(meta['upper_body_ids'] + meta['lower_body_ids']) == list(range(24))
    left, right = (meta['keypoint_name2id'][f'{side}_knee'] for side in ('left', 'right'))
    assert {left, right} <= set(meta['lower_body_ids'])
    assert (
        meta['keypoint_colors'].shape == (24, 3)
        and (meta['keypoint_colors'][left] != meta['keypoint_colors'][right]).any()
    )


def test_sigmas_are_cocos_where_coco_has_the_joint():
    import mmpose

    path = Path(mmpose.__file__).parent / '.mim' / 'configs' / '_base_' / 'datasets' / 'coco.py'
    coco = Config.fromfile(path).dataset_info
    sigmas = dict(zip((point['name'] for point in coco.keypoint_info.values()), coco.sigmas))
    shared = [name for name in JOINTS if name in sigmas]
    assert len(shared) == 12
    for name in shared:
        assert SMPL_METAINFO['sigmas'][JOINTS.index(name)] == pytest.approx(sigmas[name])
