"""Spikformer against the authors' parameters, and against the paper's text written out plainly."""

import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based.neuron import BaseNode
from torch import nn

import mmsvf
from mmsvf.models.backbones.spikformer import Spikformer

HEADS = 4


def spiking(space_time):
    """A small model in fp64, with random statistics under which every layer sees some spikes."""
    model = Spikformer(dict(depth=2, embed_dim=64, num_heads=HEADS), space_time=space_time, out_indices=range(5),
                       output='tuple')  # fmt: skip
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.02, 0.2)
            nn.init.uniform_(module.weight, 1.0, 2.0)
            nn.init.uniform_(module.bias, 0.0, 1.0)
    return model.double().eval()


def lif(x, threshold=1.0):
    """tau = 2, hard reset to 0, of membranes (T, ...)."""
    v, spikes = torch.zeros_like(x[0]), []
    for now in x:
        v = v + (now - v) / 2
        spikes.append((v >= threshold).to(x))
        v = v * (1 - spikes[-1])
    return torch.stack(spikes)


def conv_bn(x, weights, conv, norm):
    weight, bias = weights[f'{conv}.weight'], weights.get(f'{conv}.bias')
    y = F.conv2d(x.flatten(0, 1), weight, bias, padding=weight.shape[-1] // 2)
    mean, var, scale, shift = (weights[f'{norm}.{name}'] for name in ('running_mean', 'running_var', 'weight', 'bias'))
    return F.batch_norm(y, mean, var, scale, shift).unflatten(0, x.shape[:2])


def attend(q, k, v):
    """Q K^T V * 0.125 of tokens (N, C), head by head."""
    parts = zip(*(x.chunk(HEADS, dim=1) for x in (q, k, v)), strict=True)
    return torch.cat([(q_ND @ k_ND.T) @ v_ND * 0.125 for q_ND, k_ND, v_ND in parts], dim=1)


def tokens(x):
    """A clip TCHW as (T H W, C)."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def self_attention(x, weights, name, space_time):
    """SSA: spikes q, k, v of what comes in; read; LIF with threshold 0.5; linear, BN, LIF."""
    q, k, v = (lif(conv_bn(x, weights, f'{name}.{n}.conv.conv', f'{name}.{n}.conv.norm')) for n in 'qkv')
    read = torch.zeros_like(q)
    t, batch, width, height, columns = q.shape
    for b in range(batch):
        # tokens of one frame see each other, or those of the whole clip
        for steps in [slice(t)] if space_time == 'joint' else [slice(i, i + 1) for i in range(t)]:
            out = attend(*(tokens(part[steps, b]) for part in (q, k, v)))
            read[steps, b] = out.reshape(-1, height, columns, width).permute(0, 3, 1, 2)
    return lif(conv_bn(lif(read, 0.5), weights, f'{name}.proj.conv', f'{name}.proj.norm'))


def definition(x, weights, depth, space_time):
    """Feature maps of the stages, of a clip TBCHW."""
    outs = []
    for name in ('0', '1', '2', '3.split'):  # SPS: convolution, BN, LIF, then max-pooling
        x = lif(conv_bn(x, weights, f'stages.{name}.conv', f'stages.{name}.norm'))
        x = F.max_pool2d(x.flatten(0, 1), 3, 2, 1).unflatten(0, x.shape[:2])
        outs.append(x)
    x = x + lif(conv_bn(x, weights, 'stages.3.position.conv', 'stages.3.position.norm'))
    outs[-1] = x
    for i in range(depth):
        x = x + self_attention(x, weights, f'stages.4.{i}.attn.units.0', space_time)
        hidden = lif(conv_bn(x, weights, f'stages.4.{i}.mlp.fc1', f'stages.4.{i}.mlp.norm1'))
        x = x + lif(conv_bn(hidden, weights, f'stages.4.{i}.mlp.fc2', f'stages.4.{i}.mlp.norm2'))
    return [*outs, x]


@pytest.mark.parametrize('space_time', ['neuron', 'joint'])
def test_is_its_definition(space_time):
    model = spiking(space_time)
    x = torch.randn(2, 3, 3, 64, 64, dtype=torch.float64)
    rates = {}
    for name, module in model.named_modules():
        if isinstance(module, BaseNode):
            module.register_forward_hook(lambda _, __, spikes, name=name: rates.update({name: float(spikes.mean())}))
    with torch.no_grad():
        found = model(x)
        expected = definition(x.permute(2, 0, 1, 3, 4), model.state_dict(), 2, space_time)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs.permute(1, 2, 0, 3, 4))
    assert len(rates) == 5 + 2 * 7 and all(0.05 < rate < 0.95 for rate in rates.values()), rates


@pytest.mark.parametrize('space_time', ['neuron', 'joint'])
@pytest.mark.parametrize(('arch', 'parameters'), [('8-512', 29_689_384), ('8-768', 66_338_632)])
def test_parameters_of_the_authors(arch, parameters, space_time):
    """With 1000 classes; six widths of biases a block: attention's output, and both layers of the MLP."""
    with torch.device('meta'):
        backbone = Spikformer(arch, space_time=space_time)
        head = nn.Linear(backbone.out_channels[-1], 1000)
    assert sum(p.numel() for m in (backbone, head) for p in m.parameters()) == parameters
    biased = {name for name, m in backbone.named_modules() if isinstance(m, nn.Conv2d) and m.bias is not None}
    layers = ('attn.units.0.proj.conv', 'mlp.fc1', 'mlp.fc2')
    assert biased == {f'stages.4.{i}.{layer}' for i in range(8) for layer in layers}


def test_fuses():
    """mmsvf.fuse: the same function, norms gone."""
    model = spiking('neuron')
    fused = mmsvf.fuse(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    x = torch.randn(2, 3, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        for expected, found in zip(model(x), fused(x), strict=True):
            torch.testing.assert_close(found, expected)
