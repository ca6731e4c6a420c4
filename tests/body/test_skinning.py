"""The body against a reference written joint by joint and vertex by vertex, and SMPL files without chumpy."""

import os
import pickle
import sys
import types

import numpy as np
import pytest
import scipy.sparse
import torch

from mmsvf.body import JOINTS, MIRROR, PARENTS, SkinnedBody, axis_angle_to_matrix, load_smpl, read_smpl

V, S = 60, 10


def arrays(shapes=S, seed=0):
    """A made-up body of SMPL's structure."""
    rng = np.random.default_rng(seed)
    regressor = rng.random((24, V)) * (rng.random((24, V)) < 0.2) + 1e-3
    weights = rng.random((V, 24)) ** 8
    return dict(
        v_template=rng.normal(size=(V, 3)),
        shapedirs=rng.normal(size=(V, 3, shapes)) * 0.05,
        joint_regressor=regressor / regressor.sum(1, keepdims=True),
        weights=weights / weights.sum(1, keepdims=True),
        posedirs=rng.normal(size=(V, 3, 207)) * 0.01,
        faces=rng.integers(0, V, (20, 3)),
    )


def reference(a, pose, betas, trans):
    """Protocol 2.2 with 4x4 matrices, one body, in numpy and float64."""
    shaped = a['v_template'] + a['shapedirs'] @ betas
    rest = a['joint_regressor'] @ shaped
    rotations = axis_angle_to_matrix(torch.from_numpy(pose)).numpy()
    feature = (rotations[1:] - np.eye(3)).ravel()
    posed = shaped + a['posedirs'] @ feature
    chain = []
    for j, parent in enumerate(PARENTS):
        local = np.eye(4)
        local[:3, :3] = rotations[j]
        local[:3, 3] = rest[j] if parent < 0 else rest[j] - rest[parent]
        chain.append(local if parent < 0 else chain[parent] @ local)
    joints = np.stack([g[:3, 3] for g in chain])
    vertices = np.empty_like(posed)
    for v in range(V):
        blend = np.zeros((4, 4))
        for j in range(24):
            g = chain[j].copy()
            g[:3, 3] -= chain[j][:3, :3] @ rest[j]
            blend += a['weights'][v, j] * g
        vertices[v] = (blend @ np.append(posed[v], 1))[:3]
    return joints + trans, vertices + trans


@pytest.mark.parametrize('dtype, tolerance', [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_joints_and_vertices_equal_the_reference(dtype, tolerance):
    a = arrays()
    body = SkinnedBody(**a, dtype=dtype)
    pose, betas, trans = torch.randn(4, 24, 3) * 0.8, torch.randn(4, S), torch.randn(4, 3)
    out = body(pose.to(dtype), betas.to(dtype), trans.to(dtype), vertices=True)
    for i in range(4):
        joints, vertices = reference(a, *(x[i].double().numpy() for x in (pose, betas, trans)))
        np.testing.assert_allclose(out.joints[i], joints, atol=tolerance)
        np.testing.assert_allclose(out.vertices[i], vertices, atol=tolerance)
    assert body(pose.to(dtype), betas.to(dtype)).vertices is None
    torch.testing.assert_close(
        body(axis_angle_to_matrix(pose.to(dtype)), betas.to(dtype), trans.to(dtype)).joints, out.joints
    )


def test_leading_dimensions_are_free():
    body = SkinnedBody(**arrays())
    pose, betas = torch.randn(2, 5, 24, 3), torch.randn(2, 5, S)
    out = body(pose, betas, vertices=True)
    assert out.joints.shape == (2, 5, 24, 3) and out.vertices.shape == (2, 5, V, 3)
    torch.testing.assert_close(out.joints[1, 3], body(pose[1, 3], betas[1, 3]).joints)


def test_gradients():
    body = SkinnedBody(**arrays(), dtype=torch.float64)
    pose = (torch.randn(1, 24, 3, dtype=torch.float64) * 0.5).requires_grad_()
    betas, trans = (torch.randn(1, n, dtype=torch.float64, requires_grad=True) for n in (S, 3))
    assert torch.autograd.gradcheck(lambda *x: body(*x).joints, (pose, betas, trans), fast_mode=True)
    assert torch.autograd.gradcheck(lambda *x: body(*x, vertices=True).vertices, (pose, betas, trans), fast_mode=True)


def test_a_turned_root_turns_the_body_about_its_pelvis():
    """The closed form of the rotation augmentation: R0' = Rz R0 and t' = Rz (J0 + t) - J0 turn every joint by Rz."""
    body = SkinnedBody(**arrays(), dtype=torch.float64)
    pose, betas, trans = (torch.randn(*s, dtype=torch.float64) for s in ((24, 3), (S,), (3,)))
    matrices, turn = axis_angle_to_matrix(pose), axis_angle_to_matrix(torch.tensor([0, 0, 0.3], dtype=torch.float64))
    joints = body(matrices, betas, trans).joints
    pelvis = body.rest_joints(betas)[0]
    turned = torch.cat([(turn @ matrices[0]).unsqueeze(0), matrices[1:]])
    torch.testing.assert_close(body(turned, betas, turn @ (pelvis + trans) - pelvis).joints, joints @ turn.T)


def test_names_tree_and_mirror_agree():
    assert len(JOINTS) == len(PARENTS) == len(MIRROR) == 24
    for joint, other in enumerate(MIRROR):
        assert MIRROR[other] == joint
        assert JOINTS[other] == JOINTS[joint].translate(str.maketrans('', '')).replace(
            *(('left', 'right') if JOINTS[joint].startswith('left') else ('right', 'left'))
        )
        if joint:
            assert PARENTS[other] == MIRROR[PARENTS[joint]]


def test_arrays_that_do_not_fit():
    a = arrays()
    with pytest.raises(ValueError, match=r'weights \(60, 23\) instead of \(60, 24\)'):
        SkinnedBody(**{**a, 'weights': a['weights'][:, 1:]})
    with pytest.raises(ValueError, match=r'pose \(23, 3\)'):
        SkinnedBody(**a)(torch.zeros(23, 3), torch.zeros(S))


NAMES = dict(v_template='v_template', shapedirs='shapedirs', weights='weights', posedirs='posedirs', faces='f')


def smpl(a, wrap=lambda x: x):
    """The dict of a SMPL file."""
    data = {NAMES[k]: wrap(v) for k, v in a.items() if k in NAMES}
    tree = np.stack([np.array(PARENTS, np.int64) % 2**32, np.arange(24)]).astype(np.uint32)
    return {
        **data,
        'J_regressor': scipy.sparse.csc_matrix(a['joint_regressor']),
        'kintree_table': tree,
        'bs_type': 'lrotmin',
    }


@pytest.fixture
def chumpy(monkeypatch):
    """Classes that pickle under chumpy's names, with chumpy's state; gone again when the file is read."""
    module, reordering = types.ModuleType('chumpy.ch'), types.ModuleType('chumpy.reordering')

    class Ch:
        def __init__(self, **state):
            self.__dict__.update(state)

    class Select(Ch):
        pass

    for kind, home in ((Ch, module), (Select, reordering)):
        kind.__module__, kind.__qualname__ = home.__name__, kind.__name__
        setattr(home, kind.__name__, kind)
    for name, m in (('chumpy', types.ModuleType('chumpy')), ('chumpy.ch', module), ('chumpy.reordering', reordering)):
        monkeypatch.setitem(sys.modules, name, m)
    return module.Ch, reordering.Select


@pytest.mark.parametrize('kind', ['plain', 'chumpy', 'npz', '300 shapes'])
def test_smpl_files(kind, tmp_path, chumpy, monkeypatch):
    a = arrays(300 if kind == '300 shapes' else S)
    path = tmp_path / ('m.npz' if kind == 'npz' else 'm.pkl')
    if kind == 'npz':
        data = smpl(a)
        np.savez(path, **{**data, 'J_regressor': a['joint_regressor']})
    else:
        data = smpl(a)
        if kind == 'chumpy':
            Ch, Select = chumpy
            whole = Ch(x=np.concatenate([a['shapedirs'].ravel(), np.zeros(5)]))
            data['shapedirs'] = Select(a=whole, idxs=np.arange(V * 3 * S), preferred_shape=(V, 3, S))
            data['v_template'] = Ch(x=a['v_template'])
        path.write_bytes(pickle.dumps(data, protocol=2))
    for name in ('chumpy', 'chumpy.ch', 'chumpy.reordering'):
        monkeypatch.delitem(sys.modules, name)
    body = load_smpl(path)
    expected = SkinnedBody(**{**a, 'shapedirs': a['shapedirs'][..., :S]})
    pose, betas = torch.randn(2, 24, 3), torch.randn(2, S)
    torch.testing.assert_close(body(pose, betas, vertices=True), expected(pose, betas, vertices=True))
    assert body.shapes == 10 and body.faces.shape == (20, 3)
    assert 'chumpy' not in sys.modules


class Bomb:
    def __reduce__(self):
        return os.system, ('touch exploded',)


def test_wrong_smpl_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a, path = arrays(), tmp_path / 'm.pkl'
    with pytest.raises(FileNotFoundError, match='does not exist'):
        read_smpl(path)
    path.write_bytes(pickle.dumps({**smpl(a), 'bomb': Bomb()}))
    with pytest.raises(pickle.UnpicklingError, match=r'refused to load .*: the file asks for posix\.system'):
        read_smpl(path)
    assert not (tmp_path / 'exploded').exists()
    path.write_bytes(pickle.dumps(smpl(a))[:5000])
    with pytest.raises(pickle.UnpicklingError, match='truncated'):
        read_smpl(path)
    path.write_bytes(pickle.dumps({k: v for k, v in smpl(a).items() if k != 'posedirs'}))
    with pytest.raises(ValueError, match=r"lacks \['posedirs'\]"):
        read_smpl(path)
    path.write_bytes(pickle.dumps({**smpl(a), 'kintree_table': np.zeros((2, 52), np.uint32)}))
    with pytest.raises(ValueError, match=r'another tree of joints \(52'):
        read_smpl(path)
    path.write_bytes(pickle.dumps(smpl(arrays(5))))
    with pytest.raises(ValueError, match=r'5 shape directions; 10 are asked for'):
        load_smpl(path)
    (tmp_path / 'm.txt').touch()
    with pytest.raises(ValueError, match=r'a \.pkl or an \.npz'):
        read_smpl(tmp_path / 'm.txt')
