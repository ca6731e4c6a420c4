"""Models of half precision: every part runs, sums keep their precision, and a trained model keeps its answers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import nn

import mmsvf
from mmsvf.analysis.inputs import loader_inputs, random_inputs
from mmsvf.analysis.models import build_model, calibrate_batchnorm, run_model
from mmsvf.models.backbones.spike_video_former import SpikeVideoFormer
from mmsvf.spiking import ChannelConv, ChannelMLP, Downsample, SepConv, SpikeAttention, SpikeConv
from mmsvf.spiking.attention import AttentionRead
from tests.awake import awake

ROOT = Path(__file__).parent.parent
HALF = [torch.float16, torch.bfloat16]
TINY = dict(embed_dims=(8, 8, 16, 24, 24), depths=(1, 1, 1, 1, 1))
FORMS = {'plain': lambda m: m, 'fused': mmsvf.fuse, 'merged': lambda m: mmsvf.fuse(m, merge=True)}
ATTENTIONS = [
    dict(),
    dict(score='dot', scale=1.0),  # silent otherwise: BatchNorms behind it see constants
    dict(space_time='hierarchical', reference_size=(4, 2, 2)),
    dict(space_time='factorized'),
    dict(space_time='causal', window=2, reference_size=(4, 2, 2)),
    dict(space_time='block', scale='height', projection='pointwise', pool=True),
]
SHAPES = {
    'demo/svf_moving_digits': (3, 8, 48, 48),
    'demo/svf_moving_scenes_vss': (3, 4, 64, 64),
    'demo/svf_moving_body': (3, 8, 64, 64),
    'svf_imagenet_t4_small': (3, 64, 64),
    'compared/vibe_mmhpsd_t8': (3, 8, 64, 64),
}


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('dtype', HALF, ids=str)
@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('attention', ATTENTIONS, ids=str)
def test_backbone(attention, form, dtype):
    x = torch.randn(2, 3, 4, 32, 32)
    model = FORMS[form](awake(SpikeVideoFormer(TINY, attention=attention), x)).to(dtype)
    with torch.no_grad():
        y = model(x)
    assert y.dtype == dtype and y.isfinite().all() and y.std() > 0.1
    assert {p.dtype for p in model.parameters()} <= {dtype, torch.float32}


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('dtype', HALF, ids=str)
@pytest.mark.parametrize('fused', [False, True])
def test_scores_are_summed_in_full_precision(dtype, fused):
    """Spikes of a read are those of fp32, where scores go beyond 65504, the end of fp16."""
    attention = SpikeAttention(64, num_heads=1, scale=1.0).eval()
    read = attention.units[0].read
    norm = read.norm
    q, k, v = ((torch.rand(4, 1, 64, 40, 40) < rate).float() for rate in (0.5, 0.8, 0.9))
    scores = []
    norm.register_forward_pre_hook(lambda _, inputs: scores.append(inputs[0].abs().max()))
    norm.train().momentum = 1.0
    with torch.no_grad():
        read(q, k, v)
        norm.eval()
        assert max(scores) > 65504
        if fused:
            attention = mmsvf.fuse(attention)
            read = attention.units[0].read
        expected = read(q.clone(), k, v)
        attention.to(dtype)
        found = read(*(x.to(dtype) for x in (q, k, v)))
    assert attention.units[0].proj.pointwise1.weight.dtype == found.dtype == dtype
    assert torch.equal(found.float(), expected) and 0.1 < expected.mean() < 0.9


@pytest.mark.usefixtures('device')
def test_only_what_would_lose_digits_is_kept():
    read = AttentionRead(16, 8, 'clip')
    assert read.half().norm.weight.dtype == read.bfloat16().norm.running_var.dtype == torch.float32
    assert read.double().norm.weight.dtype == torch.float64
    assert read.half().norm.weight.dtype == torch.float32
    x = torch.randn(2, 1, 16, 4, 4)
    for dtype in HALF:
        assert SpikeAttention(16).double().to(dtype)(x.to(dtype)).isfinite().all()
    assert read.to('meta', torch.float16).norm.weight.is_meta


def test_folded_weights_beyond_float16():
    """Two BatchNorms of a constant channel multiply by 1e5: in fp16 that weight would be infinite, and then NaN."""
    x = torch.randn(1, 3, 2, 32, 32)
    model = awake(SpikeVideoFormer(TINY), x)
    proj = model.stages[3].blocks[0].attn.units[0].proj
    for norm in (proj.norm2, proj.norm3):
        norm.running_var.zero_()
        norm.weight.data.fill_(3.0)
    fused = mmsvf.fuse(model)
    with pytest.raises(OverflowError, match=r'leaves the range of float16: use bfloat16\(\)'):
        fused.half()
    assert all(weight.isfinite().all() for weight in fused.parameters())
    assert fused.bfloat16()(x).isfinite().all()


@pytest.mark.parametrize(
    ('layer', 'norm'),
    [
        (Downsample(3, 4, 3, 2, None), 'norm'),
        (SepConv(4), 'norm1'),
        (ChannelConv(4), 'norm2'),
        (ChannelMLP(4), 'norm1'),
        (SpikeConv(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)), 'norm'),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_folded_biases_beyond_float16(layer, norm):
    """Of a constant channel of 300 the bias is 300 / sqrt(eps), which is infinite in fp16."""
    getattr(layer, norm).running_var.zero_()
    getattr(layer, norm).running_mean.fill_(300.0)
    fused = mmsvf.fuse(layer)
    with pytest.raises(OverflowError, match=rf'{type(layer).__name__}\.\w+\.bias has .*: use bfloat16'):
        fused.half()
    assert {weight.dtype for weight in fused.parameters()} == {torch.float32}
    layer.half()
    fused.bfloat16()


@pytest.mark.parametrize('dtype', HALF, ids=str)
@pytest.mark.parametrize('name', SHAPES)
def test_whole_models(name, dtype):
    """Pre-processed inputs stay fp32, as the frameworks' preprocessors give them; a body's metres do, too."""
    cfg = Config.fromfile(ROOT / f'configs/{name}.py')
    model, _ = build_model(cfg)
    x = random_inputs(cfg, SHAPES[name])
    if name.startswith(('demo', 'svf')):  # a ResNet of steep norms leaves the range of fp16
        calibrate_batchnorm(cfg, model, x)
    y = run_model(cfg, model.to(dtype), x)
    if cfg.default_scope == 'mmpose':
        assert all(value.dtype == torch.float32 and value.isfinite().all() for value in y.values())
        assert model.head.body.weights.dtype == torch.float32
    else:
        scores = y[0].pred_score if cfg.default_scope == 'mmaction' else y
        assert scores.dtype == dtype and scores.isfinite().all()


@pytest.mark.parametrize('dtype', HALF, ids=str)
@pytest.mark.parametrize('form', ['plain', 'fused'])
def test_a_trained_model_keeps_its_answers(form, dtype, digits):
    cfg = Config.fromfile(ROOT / 'configs/demo/svf_moving_digits.py')
    loader = cfg.test_dataloader
    loader.dataset.update(ann_file=str(digits / 'val.txt'), data_prefix=dict(video=str(digits / 'val')))
    model, _ = build_model(cfg, str(next((ROOT / 'checkpoints').glob('svf_moving_digits-*.pth'))))
    inputs = list(loader_inputs(cfg, model, 4))
    expected = [run_model(cfg, model, x)[0].pred_score for x in inputs]
    half = FORMS[form](model).to(dtype)
    found = [run_model(cfg, half, x)[0].pred_score.float() for x in inputs]
    assert np.mean([a.argmax() == b.argmax() for a, b in zip(expected, found)]) == 1
    assert max(float((a - b).abs().max()) for a, b in zip(expected, found)) < 0.3
