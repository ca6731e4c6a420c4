"""The video segmentor: parameters, stages, inference."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData

import mmsvf  # noqa: F401
from mmsvf.spiking import SpikeConv, unroll

from ...conftest import ROOT

WIDTHS = (8, 8, 16, 16, 24)


def config(name, **model):
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    cfg.model.backbone.arch = dict(embed_dims=WIDTHS, depths=(1, 1, 1, 1, 1))
    cfg.model.neck.update(in_channels=[8, 8, 16, 24], out_channels=8)
    cfg.model.decode_head.update(in_channels=[8] * 4, channels=8, norm_cfg=dict(type='BN'))
    cfg.model.data_preprocessor.size = (64, 64)
    if 'memory' in cfg.model:
        cfg.model.memory.in_channels = [8, 8, 16, 24]
    cfg.model.update(model)
    init_default_scope('mmseg')
    return cfg.model


def awake(model):
    """Norms that let every neuron spike; those that start the memory at zero stay."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.weight.any():
            torch.nn.init.uniform_(module.bias, 0.0, 2.0)
            torch.nn.init.uniform_(module.weight, 1.0, 3.0)
        if isinstance(module, SpikeConv) and module.norm is None:
            torch.nn.init.normal_(module.conv.weight)
            torch.nn.init.uniform_(module.conv.bias, 0.0, 2.0)
    return model.eval()


@pytest.fixture(scope='module')
def stages():
    """Stage 1 and the stage 2 that starts from its weights."""
    torch.manual_seed(0)
    first = awake(MODELS.build(config('svf_cityscapes')))
    second = MODELS.build(config('svf_cityscapes_vss'))
    awake(second)
    missing = second.load_state_dict(first.state_dict(), strict=False)
    assert not missing.unexpected_keys and all(key.startswith('memory.') for key in missing.missing_keys)
    return first, second.eval()


@pytest.mark.parametrize('name, millions', [('svf_cityscapes_vss', 17.70), ('svf_vspw_vss', 65.55)])
def test_parameters(name, millions):
    """The paper's 17.8 M for Cityscapes; its 72.1 M for VSPW has 6.5 M that no stated layer explains."""
    init_default_scope('mmseg')
    with torch.device('meta'):
        model = MODELS.build(Config.fromfile(ROOT / 'configs' / f'{name}.py').model)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


def test_stage_two_begins_at_the_result_of_stage_one(stages):
    """The same logits as the network that takes the last frame of the clip without a memory."""
    first, second = stages
    without = MODELS.build(config('svf_cityscapes_vss'))
    without.memory = MODELS.build(dict(type='MemoryReadFuse', in_channels=[8, 8, 16, 24], read=False))
    without.load_state_dict(first.state_dict(), strict=True)
    clip = torch.randn(2, 3, 4, 64, 64) * 2
    with torch.no_grad():
        expected, logits = without.eval()(clip), second(clip)
        assert logits.std() > 0 and torch.equal(logits, expected)
        image = clip[:, :, -1]
        assert torch.equal(second(image), first(image)), 'a single frame gives the single-frame result'
        assert not torch.equal(first(image), logits), 'the encoder sees the clip'


def samples(count):
    from mmseg.structures import SegDataSample

    result = []
    for _ in range(count):
        sample = SegDataSample(metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64), pad_shape=(64, 64)))
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 19, (1, 64, 64)))
        result.append(sample)
    return result


@pytest.mark.parametrize('norm', [False, True], ids=['no norm', 'norm'])
def test_stage_two_trains_only_the_memory(norm):
    """Parameters, BatchNorm statistics and dropout of the rest stay, bit for bit; with norms in the pyramid, too."""
    settings = config('svf_cityscapes_vss')
    settings.neck.norm = norm
    model = awake(MODELS.build(settings)).train()
    assert not any(m.training for name, m in model.named_modules() if name and not name.startswith(('memory', 'data_')))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        model.loss(torch.randn(2, 3, 4, 64, 64) * 2, samples(2))['decode.loss_ce'].backward()
        optimizer.step()
    after = model.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed and all(key.startswith('memory.') for key in changed)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {f'memory.{name}' for name, _ in model.memory.named_parameters()}
    assert trained <= changed


def test_train_memory_only_needs_a_memory():
    with pytest.raises(ValueError, match=r'train_memory_only=True needs memory'):
        MODELS.build(config('svf_cityscapes', type='mmsvf.ClipEncoderDecoder', train_memory_only=True))


@pytest.mark.parametrize('size', [(60, 107), (64, 128), (120, 213), (128, 256)])
def test_whole_and_slide_inference(stages, size, device):
    """A window as large as the clip is the whole, also for sizes that the strides do not divide."""
    model = copy.deepcopy(stages[1]).to(device)  # the fixture of the module is made before there is a device
    clip = torch.randn(1, 3, 4, *size) * 2
    model.test_cfg = Config(dict(mode='whole'))
    whole = model.predict(clip)[0]
    assert whole.seg_logits.data.shape == (19, *size) and whole.pred_sem_seg.data.shape == (1, *size)
    model.test_cfg = Config(dict(mode='slide', crop_size=size, stride=size))
    torch.testing.assert_close(model.predict(clip)[0].seg_logits.data, whole.seg_logits.data)
    crop = size[0] * 3 // 4, size[1] * 2 // 3
    model.test_cfg = Config(dict(mode='slide', crop_size=crop, stride=(crop[0] - 5, crop[1] - 9)))
    slid = model.predict(clip)[0]
    assert slid.pred_sem_seg.data.shape == (1, *size) and slid.seg_logits.data.std() > 0
    assert model._clip_length is None


def test_slide_inference_of_a_clip_is_that_of_its_windows(stages):
    """Two windows side by side without overlap: each is the whole inference of its crop."""
    _, model = stages
    clip = torch.randn(1, 3, 4, 64, 128) * 2
    try:
        model.test_cfg = Config(dict(mode='slide', crop_size=(64, 64), stride=(64, 64)))
        slid = model.predict(clip)[0].seg_logits.data
        model.test_cfg = Config(dict(mode='whole'))
        parts = [model.predict(clip[..., i : i + 64])[0].seg_logits.data for i in (0, 64)]
        torch.testing.assert_close(slid, torch.cat(parts, -1))
    finally:
        model.test_cfg = Config(dict(mode='whole'))


@pytest.mark.parametrize('levels', [1, 4])
def test_integer_neurons_of_neck_and_head_unroll_to_binary_steps(levels):
    """The paper's rows "Integer-LIF 1 / 4" are two values of one option."""
    neuron = dict(type='IntegerLIF', max_value=levels)
    settings = config('svf_cityscapes')
    settings.neck.neuron = settings.decode_head.neuron = neuron
    model = awake(MODELS.build(settings))
    image = torch.randn(1, 3, 64, 64) * 2
    seen = []
    model.decode_head.lif.register_forward_hook(lambda m, i, o: seen.extend(o.unique().tolist()))
    with torch.no_grad():
        integers = model(image)
        assert set(seen) <= set(range(levels + 1)) and max(seen) > 0
        torch.testing.assert_close(unroll(model)(image), integers, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures('device')
def test_every_gradient_of_stage_one():
    model = awake(MODELS.build(config('svf_cityscapes'))).train()
    model.loss(torch.randn(2, 3, 64, 64) * 2, samples(2))['decode.loss_ce'].backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None]
    # the fourth stage's only use is the last: every parameter has a gradient
    assert not silent


@pytest.mark.parametrize('kind, features, message', [
    ('MemoryReadFuse', [torch.zeros(1, 4, 2, 8, 8)], r'MemoryReadFuse\(in_channels=\(8,\)\) takes a tuple'),
    ('SpikeFPN', [torch.zeros(1, 8, 2, 8, 8)], r'a clip needs MemoryReadFuse before it'),
])  # fmt: skip
def test_necks_name_wrong_features(kind, features, message):
    init_default_scope('mmseg')
    extra = dict(out_channels=8) if kind == 'SpikeFPN' else {}
    neck = MODELS.build(dict(type=kind, in_channels=[8], **extra))
    with pytest.raises(ValueError, match=message):
        neck(features)


def test_head_names_strides_that_do_not_fit():
    init_default_scope('mmseg')
    head = dict(type='SpikeFPNHead', in_channels=[8, 8], in_index=[0, 1], channels=8, num_classes=3)
    with pytest.raises(ValueError, match=r'feature_strides=\[2, 6\]'):
        MODELS.build(dict(**head, feature_strides=[2, 6]))
    with pytest.raises(ValueError, match=r'num_heads=3 does not divide the width 8'):
        MODELS.build(dict(type='MemoryReadFuse', in_channels=[8], num_heads=3))


@pytest.mark.parametrize('shape', [(2, 3, 4, 64, 64), (2, 3, 64, 64)], ids=['clip', 'image'])
def test_what_is_not_finite_has_no_segments(stages, shape):
    inputs = torch.randn(shape)
    inputs[1, 0, 0] = float('nan')
    with pytest.raises(ValueError, match=r'samples \[1\] of a batch of 2'):
        stages[1].predict(inputs)


def test_empty_input(stages):
    with pytest.raises(ValueError, match='ClipEncoderDecoder got an empty input'):
        stages[1].predict(torch.zeros(1, 3, 0, 64, 64))
    with pytest.raises(ValueError, match='SpikeFPNHead got an empty input'):
        stages[1].decode_head([torch.zeros(0, 8, 4, 4)] * 4)
