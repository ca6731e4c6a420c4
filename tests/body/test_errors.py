import numpy as np
import pytest
import torch

from mmsvf.body import axis_angle_to_matrix, errors


def clips():
    return torch.randn(3, 6, 24, 3, dtype=torch.float64), torch.randn(3, 6, 24, 3, dtype=torch.float64)


def relative(p, t, j):
    """Distance of a joint, both skeletons seen from the midpoint of their hips."""
    return np.linalg.norm(p[j] - (p[1] + p[2]) / 2 - t[j] + (t[1] + t[2]) / 2)


def share(p, t, threshold):
    return np.mean([relative(p, t, j) < threshold for j in range(24)])


DEFINITIONS = {
    'mpjpe': (errors.mpjpe, lambda p, t: np.mean([np.linalg.norm(p[j] - t[j]) for j in range(24)])),
    'pel_mpjpe': (errors.pel_mpjpe, lambda p, t: np.mean([relative(p, t, j) for j in range(24)])),
    'pck': (lambda p, t: errors.pck(p, t, 1.5), lambda p, t: share(p, t, 1.5)),
    'pck_head': (errors.pck_head, lambda p, t: share(p, t, np.linalg.norm(t[12] - t[15]))),
    'pck_torso': (errors.pck_torso, lambda p, t: share(p, t, np.linalg.norm(t[12] - t[0]) / 5)),
}


@pytest.mark.parametrize('name', DEFINITIONS)
def test_against_a_definition_written_out(name):
    function, definition = DEFINITIONS[name]
    joints, target = clips()
    if name == 'pck_torso':  # a fifth of a torso is little
        joints = target + 0.3 * joints
    values = function(joints, target)
    assert values.shape == (3, 6) and values.std() > 0
    for place in np.ndindex(3, 6):
        expected = definition(joints[place].numpy(), target[place].numpy())
        assert values[place].item() == pytest.approx(expected), place


def test_acceleration_error():
    joints, target = clips()
    second = errors.acceleration_error(joints, target)
    assert second.shape == (3, 4)
    j, t = joints[0].numpy(), target[0].numpy()
    difference = (j[2] - 2 * j[1] + j[0]) - (t[2] - 2 * t[1] + t[0])
    assert second[0, 0].item() == pytest.approx(np.linalg.norm(difference, axis=-1).mean())


def test_pck_sees_the_hips_not_the_pelvis_and_counts_what_is_nearer():
    """Joint 0 alone displaced costs joint 0 alone; a joint at the threshold itself does not count."""
    target, displaced = torch.zeros(24, 3), torch.zeros(24, 3)
    displaced[0, 1] = 0.5
    assert errors.pck(displaced, target, 0.25) == pytest.approx(23 / 24)
    assert errors.pck(displaced, target, 0.5) == pytest.approx(23 / 24)
    assert errors.pck(displaced, target, 0.51) == 1


def test_what_each_error_forgives():
    target, _ = clips()
    moved = target + torch.tensor([0.3, -0.2, 5.0])
    turned = 1.7 * moved @ axis_angle_to_matrix(torch.tensor([0.3, 1.0, -0.4], dtype=torch.float64)).T
    assert errors.mpjpe(moved, target).min() > 5
    assert errors.pel_mpjpe(moved, target).max() < 1e-12 and errors.pel_mpjpe(turned, target).min() > 0.1
    assert errors.pa_mpjpe(turned, target).max() < 1e-12
    steady = torch.arange(6.0).view(6, 1, 1) * torch.ones(6, 24, 3)
    assert errors.acceleration_error(target[0] + steady, target[0]).max() < 1e-12
