import runpy

import numpy as np
import torch

from mmsvf.body import JOINTS, MIRROR, embedded_body
from mmsvf.body.smpl_files import EMBEDDED

from ..conftest import ROOT


def test_the_file_is_what_the_script_writes():
    arrays = runpy.run_path(str(ROOT / 'tools' / 'dataset_converters' / 'embedded_body.py'))['body']()
    with np.load(EMBEDDED) as stored:
        assert set(stored) == set(arrays) and 'Apache-2.0' in str(stored['licence'])
        for name in set(arrays) - {'licence'}:
            np.testing.assert_allclose(stored[name], arrays[name], atol=1e-6)
    assert EMBEDDED.stat().st_size <= 2 * 2**20


def test_it_is_a_body():
    body = embedded_body()
    assert body.shapes == 10 and body.faces.max() < len(body.v_template)
    torch.testing.assert_close(body.weights.sum(1), torch.ones(len(body.weights)))
    rest = body.rest_joints(torch.zeros(10))
    torch.testing.assert_close(rest[list(MIRROR)] * torch.tensor([-1.0, 1, 1]), rest, atol=1e-5, rtol=0)
    height = body.v_template[:, 1].max() - body.v_template[:, 1].min()
    assert 1.5 < height < 1.9
    assert rest[JOINTS.index('head'), 1] > rest[JOINTS.index('pelvis'), 1] > rest[JOINTS.index('left_foot'), 1]


def test_each_shape_direction_changes_it_and_height_makes_it_taller():
    body = embedded_body()
    moved = body.shapedirs.norm(dim=1).amax(0)
    assert (moved > 0.003).all()
    taller = body(torch.zeros(24, 3), torch.eye(10)[0], vertices=True).vertices
    assert taller[:, 1].max() > body.v_template[:, 1].max() + 0.01


def test_a_bent_elbow_moves_the_forearm_only():
    body, pose = embedded_body(), torch.zeros(24, 3)
    pose[JOINTS.index('left_elbow'), 1] = 1.2
    out, rest = body(pose, torch.zeros(10)), body(torch.zeros(24, 3), torch.zeros(10))
    moved = (out.joints - rest.joints).norm(dim=-1) > 1e-5
    assert {JOINTS[i] for i in moved.nonzero().flatten()} == {'left_wrist', 'left_hand'}
