"""SpikeFPN, without and with BatchNorm behind its convolutions (D14)."""

import pytest
import torch
from torch import nn

from mmsvf.analysis.energy import OperationCounter
from mmsvf.models.necks.spike_fpn import SpikeFPN
from mmsvf.spiking import unroll

INTEGER = dict(type='IntegerLIF', max_value=4)


def features():
    return [torch.randn(2, 8, 8, 8) * 3, torch.randn(2, 12, 4, 4) * 3]


def pyramid(norm, neuron=INTEGER):
    neck = SpikeFPN([8, 12], 16, neuron, norm)
    for module in neck.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 1.0, 3.0)
            nn.init.uniform_(module.bias, 0.0, 2.0)
        elif isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight)
    return neck


@pytest.mark.parametrize('norm', [False, True], ids=['no norm', 'norm'])
@pytest.mark.parametrize('neuron', ['official', INTEGER], ids=['LIF', 'IntegerLIF'])
def test_a_norm_behind_every_convolution_or_none(neuron, norm):
    """Each convolution sees spikes, and every parameter has a gradient."""
    neck, seen = pyramid(norm, neuron), []
    convs = [module for module in neck.modules() if isinstance(module, nn.Conv2d)]
    assert sum(isinstance(module, nn.BatchNorm2d) for module in neck.modules()) == (len(convs) if norm else 0)
    for conv in convs:
        conv.register_forward_pre_hook(lambda _, args: seen.extend(args[0].detach().unique().tolist()))
    levels = neck(features())
    assert [tuple(level.shape) for level in levels] == [(2, 16, 8, 8), (2, 16, 4, 4)]
    assert set(seen) == set(range(5) if neuron is INTEGER else range(2))
    sum(level.sin().sum() for level in levels).backward()
    assert all(p.grad is not None and p.grad.any() for p in neck.parameters())


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('norm', [False, True], ids=['no norm', 'norm'])
def test_binary_sub_steps_give_the_same_and_cost_the_same(norm):
    neck, inputs = pyramid(norm), features()
    neck(inputs)  # statistics
    neck.eval()
    layers, outputs = [], []
    for unrolled in (False, True):
        with torch.no_grad(), OperationCounter(unroll(neck, unrolled)) as counter:
            outputs.append(neck(inputs))
        layers.append(counter.layers)
    for integers, binary in zip(*outputs):
        assert integers.std() > 0.1
        torch.testing.assert_close(binary, integers, rtol=1e-4, atol=1e-5)
    assert len(layers[0]) == 4
    for integers, binary in zip(*layers):
        assert (integers.signal, binary.signal) == ('integer', 'binary')
        assert binary.additions == pytest.approx(integers.additions, rel=1e-6)
