import numpy as np
import pytest
import torch

from mmsvf.body import axis_angle_to_matrix, errors


def clips():
    return torch.randn(3, 6, 24, 3, dtype=torch.float64), torch.randn(3, 6, 24, 3, dtype=torch.float64)


def test_against_loops():
    joints, target = clips()
    for f, expected in (
        (errors.mpjpe, lambda p, t: np.mean([np.linalg.norm(p[j] - t[j]) for j in range(24)])),
        (errors.pel_mpjpe, lambda p, t: np.mean(
            [np.linalg.norm(p[j] - (p[1] + p[2]) / 2 - t[j] + (t[1] + t[2]) / 2) for j in range(24)])),
        (lambda a, b: errors.pck(a, b, 1.5), lambda p, t: np.mean(
            [np.linalg.norm(p[j] - p[0] - t[j] + t[0]) <= 1.5 for j in range(24)])),
    ):  # fmt: skip
        values = f(joints, target)
        assert values.shape == (3, 6)
        for b in range(3):
            for t in range(6):
                assert values[b, t].item() == pytest.approx(expected(joints[b, t].numpy(), target[b, t].numpy()))
    second = errors.acceleration_error(joints, target)
    assert second.shape == (3, 4)
    j, t = joints[0].numpy(), target[0].numpy()
    difference = (j[2] - 2 * j[1] + j[0]) - (t[2] - 2 * t[1] + t[0])
    assert second[0, 0].item() == pytest.approx(np.linalg.norm(difference, axis=-1).mean())


def test_what_each_error_forgives():
    target, _ = clips()
    moved = target + torch.tensor([0.3, -0.2, 5.0])
    turned = 1.7 * moved @ axis_angle_to_matrix(torch.tensor([0.3, 1.0, -0.4], dtype=torch.float64)).T
    assert errors.mpjpe(moved, target).min() > 5
    assert errors.pel_mpjpe(moved, target).max() < 1e-12 and errors.pel_mpjpe(turned, target).min() > 0.1
    assert errors.pa_mpjpe(turned, target).max() < 1e-12
    steady = torch.arange(6.0).view(6, 1, 1) * torch.ones(6, 24, 3)
    assert errors.acceleration_error(target[0] + steady, target[0]).max() < 1e-12
