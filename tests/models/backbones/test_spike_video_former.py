import copy

import pytest
import torch
from torch import nn

from mmsvf.models.backbones import clip_backbone
from mmsvf.models.backbones.spike_video_former import ARCHS, SpikeVideoFormer
from mmsvf.spiking.attention import AttentionRead
from mmsvf.spiking.neuron import FromRest

TINY = dict(embed_dims=(8, 16, 16, 24, 32), depths=(1, 1, 1, 2, 1))
ATTENTIONS = [
    dict(score=score, space_time=design)
    for score in ('hamming', 'dot')
    for design in ('joint', 'hierarchical', 'factorized', 'neuron', 'spatial')
]


def tiny(**kwargs):
    return SpikeVideoFormer(**{'arch': TINY, **kwargs})


def video(batch=2, steps=3, size=32, channels=3):
    return torch.randn(batch, channels, steps, size, size)


def calibrated(backbone):
    """In evaluation, with the BatchNorm statistics of a random clip: an untouched tiny model never spikes."""
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        for _ in range(3):  # RepConv's border reads the statistics
            backbone.train()(video(4, 4))
    backbone.eval()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 2.0)
    return backbone


@pytest.mark.parametrize('arch, parameters', [('small', 15_116_720), ('large', 55_358_952)])
def test_parameters_with_a_1000_way_head(arch, parameters):
    with torch.device('meta'):
        backbone = SpikeVideoFormer(arch)
        head = nn.Linear(backbone.out_channels[-1], 1000)
    assert sum(p.numel() for m in (backbone, head) for p in m.parameters()) == parameters


@pytest.mark.parametrize('arch', ARCHS)
def test_every_arch_builds(arch):
    with torch.device('meta'):
        backbone = SpikeVideoFormer(arch)
    assert backbone.out_channels == ARCHS[arch]['embed_dims'][-1:]


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('neuron', ['official', 'paper'])
@pytest.mark.parametrize('attention', ATTENTIONS, ids=lambda a: '-'.join(a.values()))
def test_contract(attention, neuron):
    """Forward, backward with every gradient, the same again on a second call, no state left."""
    backbone = tiny(attention=attention, neuron=neuron)
    x = video()
    y = backbone(x)
    assert y.shape == (2, 32, 3, 2, 2)
    y.square().mean().backward()
    assert not [name for name, p in backbone.named_parameters() if p.grad is None]
    calibrated(backbone)
    first = backbone(x)
    assert torch.equal(first, backbone(x)) and first.std() > 0.1
    for module in backbone.modules():
        if isinstance(module, FromRest):
            assert not any(isinstance(memory, torch.Tensor) for memory in module._memories.values())
    assert not [key for key in backbone.state_dict() if key.endswith('.v')]


def test_strides_and_channels():
    backbone = tiny(out_indices=(0, 1, 2, 3, 4), output='tuple')
    outs = backbone(video(size=64))
    assert backbone.out_channels == TINY['embed_dims']
    assert [tuple(o.shape) for o in outs] == [
        (2, c, 3, 64 // s, 64 // s) for c, s in zip(TINY['embed_dims'], (2, 4, 8, 16, 16))
    ]
    chosen = tiny(out_indices=(0, 1, 2, 4), output='tuple')
    assert chosen.out_channels == (8, 16, 16, 32) and len(chosen(video())) == 4


@pytest.mark.usefixtures('device')
def test_image_is_a_still_clip():
    backbone = calibrated(tiny(time_steps=4, output='tuple', out_indices=(4,)))
    image = torch.randn(2, 3, 32, 32)
    (out,) = backbone(image)
    (clip,) = backbone(image.unsqueeze(2).expand(-1, -1, 4, -1, -1))
    assert out.shape == (2, 32, 2, 2)
    torch.testing.assert_close(out, clip.mean(2))
    once = calibrated(tiny())
    torch.testing.assert_close(once(image), once(image.unsqueeze(2))[:, :, 0])


@pytest.mark.usefixtures('device')
def test_spatial_design_sees_single_frames():
    """Membranes of the whole network restart at each step: frames in another order, outputs in that order."""
    x = video(steps=4)
    backbone = calibrated(tiny(attention=dict(space_time='spatial')))
    torch.testing.assert_close(backbone(x.flip(2)), backbone(x).flip(2))
    joint = calibrated(tiny())
    assert not torch.allclose(joint(x.flip(2)), joint(x).flip(2))


@pytest.mark.usefixtures('device')
def test_neuron_design_is_causal():
    """In fp64: cuDNN sums in another order for another number of images, and a spike may hang on that."""
    backbone = calibrated(tiny(attention=dict(space_time='neuron'))).double()
    x = video(steps=4).double()
    torch.testing.assert_close(backbone(x[:, :, :2]), backbone(x)[:, :, :2])
    joint = calibrated(tiny()).double()
    assert not torch.allclose(joint(x[:, :, :2]), joint(x)[:, :, :2])


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('attention', [{}, dict(score='dot'), dict(reference_size=(2, 3, 1))])
def test_recomputation_changes_nothing(attention):
    """with_cp: the same outputs, gradients and BatchNorm statistics, bit for bit."""
    plain, recomputed = tiny(attention=attention), tiny(attention=attention, with_cp=True)
    recomputed.load_state_dict(plain.state_dict())
    x = video()
    outs = []
    for backbone in (plain, recomputed):
        for _ in range(2):
            backbone.zero_grad()
            y = backbone(x)
            y.sin().sum().backward()
        outs.append(y)
    assert torch.equal(*outs)
    for (name, p), q in zip(plain.named_parameters(), recomputed.parameters()):
        assert torch.equal(p.grad, q.grad), name
    for (name, p), q in zip(plain.state_dict().items(), recomputed.state_dict().values()):
        assert torch.equal(p, q), name


@pytest.mark.usefixtures('device')
def test_recomputation_after_another_forward():
    """with_cp: statistics that another clip has changed before the backward pass, and two backward passes."""
    plain, recomputed = tiny(), tiny(with_cp=True)
    recomputed.load_state_dict(plain.state_dict())
    one, other = video(), 3 * video() + 1
    for backbone in (plain, recomputed):
        loss = backbone(one).sin().sum() + backbone(other).cos().sum()
        for _ in range(2):
            loss.backward(retain_graph=True)
    for (name, p), q in zip(plain.named_parameters(), recomputed.parameters()):
        assert torch.equal(p.grad, q.grad), name
    for (name, p), q in zip(plain.state_dict().items(), recomputed.state_dict().values()):
        assert torch.equal(p, q), name


def step(backbone, x, autocast=False):
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        y = backbone(x)
    y.float().sin().sum().backward()
    return y


def test_recomputation_in_mixed_precision():
    """bf16: the same outputs and fp32 gradients, bit for bit."""
    plain, recomputed = tiny(), tiny(with_cp=True)
    recomputed.load_state_dict(plain.state_dict())
    x = video()
    assert torch.equal(step(plain, x, autocast=True), step(recomputed, x, autocast=True))
    for (name, p), q in zip(plain.named_parameters(), recomputed.named_parameters()):
        assert p.grad.dtype == torch.float32 and torch.equal(p.grad, q[1].grad), name


def distributed_step(rank, folder):
    """One step of DDP with and without recomputation, each rank with its own clip."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    grads = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        backbone = torch.nn.parallel.DistributedDataParallel(tiny(with_cp=with_cp))
        torch.manual_seed(1 + rank)
        step(backbone, video())
        grads.append([p.grad for p in backbone.parameters()])
    torch.save(grads, f'{folder}/{rank}.pth')
    torch.distributed.destroy_process_group()


def test_recomputation_on_two_processes(tmp_path):
    torch.multiprocessing.start_processes(distributed_step, (str(tmp_path),), nprocs=2, start_method='fork')
    first, second = (torch.load(tmp_path / f'{rank}.pth', weights_only=True) for rank in (0, 1))
    assert all(torch.equal(a, b) for a, b in zip(*first)), 'with and without'
    assert all(torch.equal(a, b) for a, b in zip(first[1], second[1])), 'both ranks'


@pytest.mark.parametrize('attention', ATTENTIONS, ids=lambda a: '-'.join(a.values()))
def test_device_and_layout_make_no_difference(attention, device, monkeypatch):
    """Outputs and gradients in fp64: of a GPU, or of contiguous images on a CPU, against channels-last ones there."""
    with torch.device('cpu'):
        reference, x = calibrated(tiny(attention=attention)).double(), video().double()
    tested = copy.deepcopy(reference).to(device)
    expected = reference(x)
    monkeypatch.setattr(clip_backbone, 'channels_last', torch.contiguous_format)
    found = tested(x.to(device))
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-9, atol=1e-9)
    for y in (found, expected):
        y.square().mean().backward()
    for mine, theirs in zip(tested.parameters(), reference.parameters()):
        torch.testing.assert_close(mine.grad.cpu(), theirs.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
def test_mixed_precision(device, dtype):
    """Forward and backward in half precision, with finite gradients."""
    if (device, dtype) == ('cpu', torch.float16):
        pytest.skip('convolutions of a backward pass in float16 are for GPU')
    backbone, x = calibrated(tiny()), video()
    with torch.autocast(device, dtype):
        y = backbone.train()(x)
    y.float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in backbone.parameters())


def test_frozen_stages_and_norms():
    backbone = tiny(frozen_stages=1, norm_eval=True).train()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    backbone(video()).sum().backward()
    assert all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())  # no statistic moved
    for name, p in backbone.named_parameters():
        frozen = name.startswith(('stages.0.', 'stages.1.'))
        assert p.requires_grad != frozen and (p.grad is None) == frozen, name
    assert tiny(norm_eval=True).train().stages[0].downsample.norm.training is False


def test_frozen_modules():
    backbone = tiny(frozen_stages=0, frozen_modules=('stages.1.downsample', 'stages.3.blocks.0.attn')).train()
    frozen = ('stages.0.', 'stages.1.downsample.', 'stages.3.blocks.0.attn.')
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    backbone(video()).sum().backward()
    for name, p in backbone.named_parameters():
        assert p.requires_grad != name.startswith(frozen) and (p.grad is None) == name.startswith(frozen), name
    moved = {k for k, v in backbone.state_dict().items() if not torch.equal(v, before[k])}
    assert moved and not any(k.startswith(frozen) for k in moved)
    backbone.eval().train()
    assert not backbone.stages[1].downsample.training and backbone.stages[1].blocks.training
    assert tiny(frozen_modules='stages.2').frozen_modules == ('stages.2',)
    for none in ('', None, [], ()):  # '' is what --cfg-options model.backbone.frozen_modules= gives
        backbone = tiny(frozen_modules=none).train()
        assert all(p.requires_grad for p in backbone.parameters()) and all(m.training for m in backbone.modules())


def test_training_starts_with_every_block_as_the_identity():
    backbone = tiny()
    backbone.init_weights()
    seen = []
    for stage in backbone.stages:
        for block in stage.blocks:
            block.register_forward_hook(lambda _, args, out: seen.append(torch.equal(args[0], out)))
    backbone(video()).square().mean().backward()
    assert seen == [True] * sum(TINY['depths'])
    for stage in backbone.stages:
        for norm in (norm for block in stage.blocks for norm in block.last_norms()):
            assert norm.weight.grad.abs().sum() > 0
    other = tiny(zero_init_residual=False)
    before = {k: v.clone() for k, v in other.state_dict().items()}
    other.init_weights()
    assert all(torch.equal(v, before[k]) for k, v in other.state_dict().items())


@pytest.mark.parametrize('neuron', ['official', 'paper', 'IF', dict(type='LearnableLIF')])
@pytest.mark.parametrize('clips', [1, 2])
def test_no_read_is_silent_at_the_start(neuron, clips):
    """From a bias of zero all were, with one clip: BatchNorms behind them multiplied the gradient by 316 each."""
    backbone = tiny(neuron=neuron)
    backbone.init_weights()
    rates = []
    for module in backbone.modules():
        if isinstance(module, AttentionRead):
            module.register_forward_hook(lambda module, inputs, out: rates.append(out.mean().item()))
    backbone(video(clips)).square().mean().backward()
    assert rates and all(0.2 < rate < 0.95 for rate in rates), rates
    norm = torch.nn.utils.get_total_norm([p.grad for p in backbone.parameters()])
    assert norm < 1e3, norm


def test_pretrained_weights_load(tmp_path):
    source, target = tiny(), None
    torch.save({'state_dict': {f'backbone.{k}': v for k, v in source.state_dict().items()}}, tmp_path / 'w.pth')
    target = tiny(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'w.pth'), prefix='backbone.'))
    target.init_weights()
    assert all(torch.equal(p, q) for p, q in zip(source.parameters(), target.parameters()))
    assert tiny(pretrained=None).init_cfg is None


def test_layer_depth():
    backbone = tiny()
    names = [
        'stages.0.downsample.conv.weight',
        'stages.0.blocks.0.sep_conv.norm1.bias',
        'stages.3.blocks.1.mlp.fc1.bias',
    ]
    assert [backbone.get_layer_depth(f'backbone.{n}', 'backbone.') for n in names] == [(0, 7), (0, 7), (4, 7)]
    assert backbone.get_layer_depth('head.fc.weight', 'backbone.') == (6, 7)
    depths = [backbone.get_layer_depth(name, '')[0] for name, _ in backbone.named_parameters()]
    assert depths == sorted(depths) and set(depths) == set(range(6))


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(arch='smal'), r"arch='smal'.*small"),
        (dict(arch=dict(embed_dims=(8, 16))), r'embed_dims=\(8, 16\).*five positive integers'),
        (dict(arch=dict(dims=(8,) * 5)), r"arch has no option 'dims'"),
        (dict(attention=dict(spacetime='joint')), r"no option 'spacetime'; did you mean 'space_time'"),
        (dict(out_indices=(0, 5), output='tuple'), r'out_indices=\(0, 5\)'),
        (dict(out_indices=(0, 4)), r"output='tensor' with out_indices=\(0, 4\).*tuple"),
        (dict(output='list'), r"output='list'"),
        (dict(frozen_stages=7), r'frozen_stages=7'),
        (
            dict(frozen_modules=['stages.3.down']),
            r"no module 'stages\.3\.down'; did you mean .*'stages\.3\.downsample'",
        ),
        (dict(frozen_modules=['']), r"no module ''; did you mean one of \['stages"),
        (dict(time_steps=0), r'time_steps=0; at least 1, a whole number, or None'),
        (dict(time_steps=-4), r'time_steps=-4'),
        (dict(time_steps=2.5), r'time_steps=2\.5'),
        (dict(num_heads=0), r'num_heads=0; at least 1'),
        (dict(num_heads=-8), r'num_heads=-8; at least 1'),
        (dict(mlp_ratio=0), r'mlp_ratio=0; a number'),
        (dict(mlp_ratio=-2), r'mlp_ratio=-2; a number'),
        (dict(neuron='official', num_heads=7), r'num_heads=7 does not divide the width 24'),
    ],
    ids=str,
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)


@pytest.mark.parametrize('shape', [(2, 2, 3, 32, 32), (2, 1, 32, 32), (3, 32, 32)])
def test_bad_input(shape):
    with pytest.raises(ValueError, match=r'in_channels=3\) takes a video.*got shape'):
        tiny()(torch.zeros(shape))


@pytest.mark.parametrize('shape', [(2, 3, 0, 32, 32), (0, 3, 2, 32, 32), (0, 3, 32, 32), (2, 3, 2, 0, 32)])
def test_empty_input(shape):
    with pytest.raises(ValueError, match=r'SpikeVideoFormer got an empty input of shape .* at least 1 of each'):
        tiny()(torch.zeros(shape))
