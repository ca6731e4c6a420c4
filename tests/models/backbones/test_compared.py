"""The backbones of the compared systems: the contract of SpikeVideoFormer, and their own promises."""

import importlib
import re

import pytest
import torch
from spikingjelly.activation_based import functional
from torch import nn

import mmsvf
from mmsvf.analysis.energy import OperationCounter
from mmsvf.models.backbones.spikformer import Spikformer
from mmsvf.models.backbones.statten import STAtten
from mmsvf.spiking.neuron import FromRest, build_neuron
from tests.awake import awake

from .test_spike_video_former import video

MODELS = 'spikingjelly.activation_based.model.'
masnn, ms_resnet, sew_resnet = (
    pytest.importorskip(f'{MODELS}{name}', reason='not in the classic spikingjelly')
    for name in ('masnn', 'ms_resnet', 'sew_resnet')
)
resnets = importlib.import_module('mmsvf.models.backbones.spiking_resnets')
MSResNet, SEWResNet = resnets.MSResNet, resnets.SEWResNet

TINY = dict(depth=2, embed_dim=64)
# name: class, options, factor from the input to a stage, layers that may see what is not spikes
BACKBONES = {
    'statten': (STAtten, dict(arch=TINY), r'stages\.0\.conv'),
    'statten_events': (
        STAtten,
        dict(arch=TINY, in_channels=2, attention=dict(scale='volume', pool=True)),
        # input gated with the attention is 0, 1 or 2
        r'stages\.0\.conv|.*\.proj\.conv',
    ),
    'statten_alternating': (
        STAtten,
        dict(arch=TINY, attention=dict(space_time=['neuron', 'temporal']), neuron=dict(type='LearnableLIF')),
        r'stages\.0\.conv',
    ),
    # shortcuts add spikes: what is behind one sees integers
    'spikformer': (Spikformer, dict(arch=TINY), r'stages\.0\.conv|stages\.4\..*\.(q|k|v|fc1)(\.conv)*'),
    'spikformer_joint': (
        Spikformer,
        dict(arch=TINY, space_time='joint'),
        r'stages\.0\.conv|stages\.4\..*\.(q|k|v|fc1)(\.conv)*',
    ),
    'sew_resnet': (SEWResNet, dict(arch='18'), r'stages\.0\..*|stages\.\d\.(\d\.)?\d\.(conv1|downsample.*)'),
    # shortcuts are of membranes, down-sampled by a 1x1 convolution
    'ms_resnet': (MSResNet, dict(arch='18'), r'stages\.0\..*|.*downsample.*'),
    # its attention multiplies by real numbers
    'ma_snn': (MSResNet, dict(arch='18', attention=True), r'stages\.0\..*|.*downsample.*|.*attention.*'),
}
each = pytest.mark.parametrize('name', BACKBONES)


def build(name, **options):
    kind, own, _ = BACKBONES[name]
    return kind(**{**own, **options})


SIZE = 64


def clip_for(backbone, batch=2, steps=4):
    return video(batch, steps, SIZE, backbone.in_channels)


@each
def test_contract(name):
    """Forward, backward with every gradient, the same again on a second call, no state left."""
    backbone = awake(build(name), x := clip_for(build(name))).train()
    y = backbone(x)
    assert y.shape == (2, backbone.widths[-1], 4, *[SIZE // backbone.strides[-1]] * 2)
    (y * torch.randn_like(y)).sum().backward()
    dead = [key for key, p in backbone.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not dead, dead
    backbone.eval()
    first = backbone(x)
    assert torch.equal(first, backbone(x)) and first.std() > 0.05
    for module in backbone.modules():
        if isinstance(module, FromRest):
            assert not any(isinstance(memory, torch.Tensor) for memory in module._memories.values())


@each
def test_stages_and_images(name):
    backbone = build(name, out_indices=(0, 1, 2, 3, 4), output='tuple', time_steps=4)
    image = clip_for(backbone)[:, :, 0]
    awake(backbone, image.unsqueeze(2).expand(-1, -1, 4, -1, -1))
    outs, clip = backbone(image), backbone(image.unsqueeze(2).expand(-1, -1, 4, -1, -1))
    assert len(outs) == 5 and backbone.out_channels == backbone.widths
    for out, still, width, stride in zip(outs, clip, backbone.widths, backbone.strides, strict=True):
        assert out.shape == (2, width, SIZE // stride, SIZE // stride)
        torch.testing.assert_close(out, still.mean(2))


@each
def test_spike_driven(name):
    """Each layer sees binary spikes, but for those named with the backbone."""
    backbone = build(name)
    x = clip_for(backbone)
    awake(backbone, x)
    with OperationCounter(backbone) as counter, torch.no_grad():
        backbone(x)
    others = {layer.name for layer in counter.layers if layer.signal != 'binary'}
    unexpected = [layer for layer in others if not re.fullmatch(BACKBONES[name][2], layer)]
    assert not unexpected
    assert any(layer.signal == 'binary' and layer.rate > 0 for layer in counter.layers)


@each
def test_recomputation_changes_nothing(name):
    plain, recomputed = build(name), build(name, with_cp=True)
    recomputed.load_state_dict(plain.state_dict())
    x = clip_for(plain)
    outs = []
    for backbone in (plain, recomputed):
        outs.append(backbone(x))
        outs[-1].sin().sum().backward()
    assert torch.equal(*outs)
    for (key, p), q in zip(plain.named_parameters(), recomputed.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad), key
    for key, value in plain.state_dict().items():
        assert torch.equal(value, recomputed.state_dict()[key]), key


@pytest.mark.parametrize(
    'kind, options, parameters',
    [
        (SEWResNet, dict(arch='152'), 60_192_808),
        (MSResNet, dict(arch='104'), 77_284_264),
        (MSResNet, dict(arch='104', attention=True), 78_369_598),
        # its attention has no weights of its own: those of the spike-driven transformer
        (STAtten, dict(arch='8-512'), 29_689_384),
        (STAtten, dict(arch='8-768'), 66_338_632),
    ],
    ids=str,
)
def test_parameters(kind, options, parameters):
    """With 1000 classes: 60.2, 77.3 and 78.4 M in Table 8; STAtten's are those of its public code in use."""
    with torch.device('meta'):
        backbone = kind(**options)
        head = nn.Linear(backbone.out_channels[-1], 1000)
    assert sum(p.numel() for m in (backbone, head) for p in m.parameters()) == parameters


def reference(name):
    """spikingjelly's own model, and the way from its features to its scores."""
    if name == 'sew_resnet':
        options = dict(cnf='ADD', spiking_neuron=build_neuron, spec='IF')
        model = sew_resnet.sew_resnet18(num_classes=5, **options)
        functional.set_step_mode(model, 'm')
        return model, lambda y: model.fc(y.flatten(3).mean(-1))
    kind = ms_resnet.MSResNet if name == 'ms_resnet' else masnn.AttMSResNet
    model = kind(4, num_classes=5, layers=(2, 2, 2, 2))

    def scores(y):
        spikes = model.head_lif(y)
        pooled = spikes.mean((3, 4))
        return model.head(pooled).mean(0) if name == 'ms_resnet' else model.head(pooled.mean(0))

    return model, scores


@pytest.mark.parametrize('name', ['sew_resnet', 'ms_resnet', 'ma_snn'])
def test_equal_to_spikingjelly(name):
    """The weights of spikingjelly's model in our stages give its scores; in fp64, where no spike hangs on rounding."""
    model, scores = reference(name)
    backbone = build(name)
    awake(backbone, clip_for(backbone))
    x = clip_for(backbone).double()
    model.double(), backbone.double()
    pairs = zip(_parts(model), [s for stage in backbone.stages for s in stage.state_dict().values()], strict=True)
    with torch.no_grad():
        for theirs, ours in pairs:
            assert theirs.shape == ours.shape
            theirs.copy_(ours)
    model.eval()
    with torch.no_grad():
        functional.reset_net(model)
        expected = model(x.permute(2, 0, 1, 3, 4))
        functional.reset_net(model)
        found = scores(backbone(x).permute(2, 0, 1, 3, 4))
    assert expected.std() > 0
    torch.testing.assert_close(found, expected)


def _parts(model):
    """Tensors of a model without its head, in the order of our stages."""
    skip = ('head', 'fc', 'head_lif')
    return [value for name, value in model.state_dict().items() if name.split('.')[0] not in skip]


@pytest.mark.parametrize('events', [False, True])
def test_statten_fuses(events):
    """mmsvf.fuse: the same function in fp64, 1x1 projections joined, norms gone."""
    attention = dict(scale='volume', pool=True) if events else {}
    model = STAtten(TINY, attention=attention, out_indices=(0, 3, 4), output='tuple')
    awake(model, video(steps=4)).double()
    x = video(steps=4).double()
    fused = mmsvf.fuse(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    with torch.no_grad():
        for expected, found in zip(model(x), fused(x), strict=True):
            assert expected.std() > 0.05
            torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


def test_blocks_alternate():
    blocks = STAtten(dict(depth=3, embed_dim=64), attention=dict(space_time=['neuron', 'temporal'])).stages[4]
    assert [block.attn.space_time for block in blocks] == ['neuron', 'temporal', 'neuron']


@pytest.mark.parametrize(
    'make, message',
    [
        (lambda: STAtten('8-500'), r"arch='8-500'.*8-512"),
        (lambda: STAtten(dict(depth=2, embed_dim=30)), 'embed_dim=30.*multiple of 8'),
        (lambda: STAtten(pooling='0012'), "pooling='0012'.*four digits"),
        (lambda: STAtten(attention=dict(projection='conv')), r"projection='conv'.*pointwise"),
        (lambda: STAtten(attention=dict(pool=True, space_time='factorized')), 'pool=True is not defined'),
        (lambda: STAtten(attention=dict(space_time=[])), r'space_time=\[\]'),
        (lambda: STAtten(TINY)(video(steps=3)), 'block_steps=2 does not divide the 3 time steps'),
        (lambda: Spikformer('8-100'), r"arch='8-100'.*8-768"),
        (lambda: Spikformer(space_time='block'), r"space_time='block'.*joint"),
        (lambda: SEWResNet('153'), r"arch='153'.*152"),
        (lambda: SEWResNet(connect='OR'), r"connect='OR'.*IAND"),
        (lambda: MSResNet(50), r"arch=50.*'104'"),
        (lambda: SEWResNet('18', out_indices=(5,), output='tuple'), r'out_indices=\(5,\)'),
        (lambda: SEWResNet('18')(torch.zeros(1, 2, 4, 32, 32)), r'SEWResNet\(in_channels=3\) takes a video'),
        (
            lambda: STAtten(TINY).load_state_dict(STAtten(dict(depth=2, embed_dim=32)).state_dict()),
            'do not fit STAtten',
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@each
def test_layer_depth(name):
    """mmpretrain's layer-wise rates: a layer a stage, the head behind them."""
    backbone = build(name)
    assert {backbone.get_layer_depth(key, '') for key, _ in backbone.named_parameters()} == {(i, 6) for i in range(5)}
    assert backbone.get_layer_depth('head.fc.weight', 'backbone.') == (5, 6)


def test_frozen_stages():
    backbone = SEWResNet('18', frozen_stages=1, norm_eval=True).train()
    backbone(video()).sum().backward()
    for name, p in backbone.named_parameters():
        assert p.requires_grad != name.startswith(('stages.0.', 'stages.1.')), name
    assert not any(m.training for m in backbone.modules() if isinstance(m, nn.BatchNorm2d))


def test_attention_over_time_does_not_stream():
    with pytest.raises(ValueError, match=r'MSResNet\(attention=True\) weighs each frame by all of the clip'):
        MSResNet('18', attention=True).eval().step(torch.randn(1, 3, 32, 32))
