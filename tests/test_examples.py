"""The examples in the docstrings that a PyTorch user meets first do what they say."""

import doctest
from collections import OrderedDict
from importlib import import_module

import pytest
import torch
from torch import nn

EXAMPLES = [
    'mmsvf.fuse',
    'mmsvf.spiking.LIF',
    'mmsvf.spiking.LearnableLIF',
    'mmsvf.spiking.IntegerLIF',
    'mmsvf.spiking.build_neuron',
    'mmsvf.spiking.unroll_integer_spikes',
    'mmsvf.spiking.hamming_similarity',
    'mmsvf.spiking.hamming_attention',
    'mmsvf.spiking.dot_attention',
    'mmsvf.spiking.SpikeAttention',
    'mmsvf.spiking.SpikeTransformerBlock',
    'mmsvf.spiking.MemoryRead',
    'mmsvf.models.SpikeVideoFormer',
    'mmsvf.models.MemoryReadFuse',
    'mmsvf.models.SpikeClsHead',
    'mmsvf.models.official.convert',
    'mmsvf.analysis.energy.OperationCounter',
]


def test_there_are_enough():
    assert len(set(EXAMPLES)) >= 15


@pytest.mark.parametrize('name', EXAMPLES)
def test_example(name, monkeypatch):
    module, _, attribute = name.rpartition('.')
    text = getattr(import_module(module), attribute).__doc__
    # what is not torch an example imports itself, so that it can be copied as it is
    example = doctest.DocTestParser().get_doctest(text, dict(torch=torch, nn=nn), name, None, None)
    assert example.examples, f'{name} has no example'
    # a Runner of an earlier test has left its scope
    monkeypatch.setattr('mmengine.registry.DefaultScope._instance_dict', OrderedDict())
    report = []
    assert doctest.DocTestRunner().run(example, out=report.append).failed == 0, ''.join(report)
