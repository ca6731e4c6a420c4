"""Models and inputs of configs, ours and the frameworks' own, for analysis."""

import numpy as np
import pytest
import torch
from mmengine.config import Config

import mmsvf  # noqa: F401
from mmsvf.analysis.energy import CONVENTIONS, OperationCounter
from mmsvf.analysis.inputs import frames_and_steps, guess_shape, random_inputs, video_inputs
from mmsvf.analysis.models import NOT_COUNTED, build_model, calibrate_batchnorm, run_model, strip_pretrained
from mmsvf.engine.run_config import config_path, load_config
from mmsvf.visualization.video import write_video
from tests.conftest import ROOT


def counted(cfg, shape=None):
    model, notes = build_model(cfg)
    inputs = random_inputs(cfg, shape or guess_shape(cfg))
    with OperationCounter(model, ignore=NOT_COUNTED) as counter:
        run_model(cfg, model, inputs)
    return model, counter.layers, notes


# published multiply-adds, and the power the paper's Tables 2 and 8 print (4.6 pJ each)
@pytest.mark.parametrize('config, gmacs, mj', [
    ('mmaction::recognition/swin/swin-base-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb.py', 282.0, 1297.2),
    ('mmpretrain::resnet/resnet152_8xb32_in1k.py', 11.6, 53.4),
    ('mmpretrain::vision_transformer/vit-base-p16_32xb128-mae_in1k.py', 17.6, 81.0),
])  # fmt: skip
def test_published_networks(config, gmacs, mj):
    """Within 1 %, whatever the convention: nothing spikes. No weights are fetched."""
    shape = (3, 32, 224, 224) if 'mmaction' in config else (3, 224, 224)
    model, layers, notes = counted(load_config(config), shape)
    assert sum(layer.macs for layer in layers) / 1e9 == pytest.approx(gmacs, rel=0.01)
    for convention in CONVENTIONS.values():
        energy = sum(charge.energy() for charge in convention.charge(layers, model))
        assert 1e3 * energy == pytest.approx(mj, rel=0.01)
    if 'mmaction' in config:
        assert any('pre-trained weights not loaded: model.backbone.pretrained=https' in note for note in notes)


@pytest.mark.parametrize('config, shape', [
    ('configs/svf_k400.py', (3, 32, 224, 224)),
    ('configs/svf_imagenet_t4.py', (3, 224, 224)),
    ('configs/svf_mmhpsd_t32.py', (3, 32, 256, 256)),
    ('configs/demo/svf_moving_digits.py', (3, 8, 48, 48)),
    ('configs/demo/svf_moving_body_event.py', (3, 8, 64, 64)),
    ('mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py', (3, 256, 192)),
    ('mmaction::recognition/tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb.py', (3, 224, 224)),
])  # fmt: skip
def test_sizes_come_from_the_pipeline(config, shape):
    path = config_path(config) if '::' in config else ROOT / config
    found = guess_shape(Config.fromfile(path))
    assert found == shape


def test_a_missing_size_is_named():
    cfg = Config(dict(model=dict(type='X'), test_dataloader=dict(dataset=dict(pipeline=[]))))
    with pytest.raises(ValueError, match='give it, as --shape 3 224 224'):
        guess_shape(cfg)


def test_pretrained_weights_are_taken_out_everywhere():
    cfg = dict(
        pretrained='a.pth', backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='b.pth'), pretrained=True),
        heads=[dict(init_cfg=dict(type='Normal'))],
    )  # fmt: skip
    found = strip_pretrained(cfg)
    assert found == [
        'model.pretrained=a.pth', 'model.backbone.init_cfg=b.pth', 'model.backbone.pretrained=True',
    ]  # fmt: skip
    assert cfg['pretrained'] is None and cfg['backbone'] == dict(init_cfg=None, pretrained=False)
    assert cfg['heads'][0]['init_cfg'] == dict(type='Normal')


@pytest.mark.parametrize('config', ['svf_moving_digits', 'svf_moving_scenes_vss', 'svf_moving_body'])
def test_every_task_runs_and_wakes(config):
    """After waking, every layer of the embedded defaults' models sees spikes but those of the real input."""
    cfg = Config.fromfile(ROOT / 'configs' / 'demo' / f'{config}.py')
    model, _ = build_model(cfg)
    shape = (3, 4, 64, 96) if 'scenes' in config else guess_shape(cfg)
    inputs = random_inputs(cfg, shape)
    calibrate_batchnorm(cfg, model, inputs)
    frames, steps = frames_and_steps(cfg, model, inputs)
    assert frames == steps == shape[1]
    with OperationCounter(model, steps, NOT_COUNTED) as counter:
        run_model(cfg, model, inputs)
    assert not any('body' in layer.name for layer in counter.layers)
    assert not [layer.name for layer in counter.layers if layer.rate == 0]


def test_video_inputs(tmp_path):
    """Frames by brightness, through the config's preprocessor."""
    write_video(tmp_path / 'a.mp4', [np.full((48, 64, 3), 10 * k, np.uint8) for k in range(20)], 10)
    cfg = Config.fromfile(ROOT / 'configs' / 'demo' / 'svf_moving_digits.py')
    model, _ = build_model(cfg)
    inputs = video_inputs(cfg, model, str(tmp_path / 'a.mp4'), (3, 8, 48, 48))
    assert inputs.shape == (1, 1, 3, 8, 48, 48)
    means = inputs.mean((0, 1, 2, 4, 5))
    assert (means.diff() > 0).all()
    with pytest.raises(ValueError, match='20 frames can be read, 21 are needed'):
        video_inputs(cfg, model, str(tmp_path / 'a.mp4'), (3, 21, 48, 48))


def test_counting_does_not_change_the_result():
    cfg = Config.fromfile(ROOT / 'configs' / 'demo' / 'svf_moving_body.py')
    model, _ = build_model(cfg)
    inputs = random_inputs(cfg, (3, 8, 64, 64))
    calibrate_batchnorm(cfg, model, inputs)
    plain = run_model(cfg, model, inputs)
    with OperationCounter(model) as counter:
        watched = run_model(cfg, model, inputs)
    assert counter.layers
    for name, value in plain.items():
        assert torch.equal(value, watched[name])
