"""What a swap changes, what it refuses, and that the file and the command line are the same config."""

import re
import runpy
import shlex

import pytest
import torch
from mmengine.config import Config, DictAction

from mmsvf.engine.run_config import config_path
from mmsvf.models.backbones.spike_video_former import ARCHS
from mmsvf.registry import MODELS
from mmsvf.swapping.rules import PYRAMID, stages_of
from mmsvf.swapping.swap import swap
from mmsvf.swapping.written import check, command_line, config_text
from tests.conftest import ROOT

TOOL = str(ROOT / 'tools' / 'misc' / 'swap_backbone.py')
WIDTHS = ARCHS['small']['embed_dims']


def load(name):
    return Config.fromfile(config_path(name))


@pytest.mark.parametrize('name', ['SpikeVideoFormer', 'STAtten', 'Spikformer', 'SEWResNet', 'MSResNet'])
def test_strides_are_the_backbones(name):
    """What the rules rely on is what a backbone delivers."""
    stages = stages_of(dict(type=f'mmsvf.{name}'))
    model = MODELS.build(dict(type=f'mmsvf.{name}', out_indices=range(5), output='tuple', time_steps=2)).eval()
    outs = model.to('meta')(torch.empty(1, 3, 64, 64, device='meta'))
    assert tuple(out.shape[1] for out in outs) == stages.widths
    assert tuple(64 // out.shape[-1] for out in outs) == stages.strides


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        (
            'mmaction::recognition/slowfast/slowfast_r50_8xb8-4x16x1-256e_kinetics400-rgb.py',
            {'cls_head.type': 'I3DHead', 'cls_head.in_channels': 360, 'cls_head.num_classes': 400},
        ),
        (
            'mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024.py',
            {
                'pretrained': None,
                'backbone.out_indices': [1, 2, 3, 4],
                'decode_head.in_channels': 360,
                'decode_head.c1_in_channels': 64,
                'auxiliary_head.in_channels': 256,
            },
        ),
        (
            'mmseg::sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py',
            {
                'neck.in_channels': [64, 128, 256, 360],
                'decode_head.in_channels': [256] * 4,
                'decode_head.feature_strides': [4, 8, 16, 16],
            },
        ),
        (
            'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py',
            {'head.in_channels': 360, 'head.deconv_out_channels': [256, 256]},
        ),
        (
            'mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-s_8xb256-420e_coco-256x192.py',
            {'head.in_channels': 360, 'head.in_featuremap_size': [12, 16]},
        ),
        (
            'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
            {'backbone.out_indices': [1, 2, 4], 'neck.in_channels': [64, 128, 360], 'neck.start_level': 1},
        ),
        (
            'mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
            {'backbone.out_indices': [2, 4], 'neck.in_channels': [128, 360], 'neck.num_outs': 4},
        ),
        (
            'mmpretrain::vision_transformer/vit-base-p16_32xb128-mae_in1k.py',
            {'neck.type': 'GlobalAveragePooling', 'head.type': 'LinearClsHead', 'head.num_classes': 1000},
        ),
    ],
)
def test_values(name, expected):
    """The channels and levels that are set; and that file and command line give the same config."""
    cfg = load(name)
    change = swap(cfg, 'small')
    model = change.apply(cfg).model
    found = {}
    for key in expected:
        value = model
        for part in key.split('.'):
            value = value[part]
        found[key] = list(value) if isinstance(value, (list, tuple)) else value
    assert found == expected
    assert model.backbone.type == 'mmsvf.SpikeVideoFormer' and model.backbone.arch == 'small'


def without_scope(value):
    if isinstance(value, dict):
        return {k: without_scope(v) for k, v in value.items() if k not in ('_scope_', 'custom_imports')}
    return [without_scope(v) for v in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize(
    'name',
    [
        'mmaction::recognition/swin/swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb.py',
        'mmseg::ocrnet/ocrnet_r101-d8_4xb2-40k_cityscapes-512x1024.py',  # a list of heads
        'mmseg::beit/beit-base_upernet_8xb2-160k_ade20k-640x640.py',  # loses its neck, and rates by layer
        'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py',
        'mmpretrain::convnext/convnext-tiny_32xb128_in1k.py',  # gains a neck
        str(ROOT / 'configs' / 'demo' / 'svf_moving_digits.py'),
    ],
)
def test_file_and_command_line_agree(name, tmp_path):
    cfg = load(name)
    change = swap(cfg, 'large', attention=dict(score='dot'))
    (tmp_path / 'swapped.py').write_text(config_text(name, cfg, change))
    written = Config.fromfile(tmp_path / 'swapped.py')
    assert 'mmsvf' in written.custom_imports.imports and not written.custom_imports.allow_failed_imports

    # as argparse hands them over
    typed = shlex.split(command_line(change.options))
    options = {}
    for item in typed:
        key, value = item.split('=', 1)
        options[key] = DictAction._parse_iterable(value)
    again = load(name)
    again.merge_from_dict(options)
    assert without_scope(written.to_dict()) == without_scope(again.to_dict())
    assert written.model.backbone.attention.score == 'dot' and written.model.backbone.arch == 'large'


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('mmaction::skeleton/stgcn/stgcn_8xb16-joint-u100-80e_ntu60-xsub-keypoint-2d.py', 'RecognizerGCN'),
        ('mmaction::recognition/tpn/tpn-slowonly_imagenet-pretrained-r50_8xb8-8x8x1-150e_kinetics400-rgb.py', 'TPN'),
        ('mmaction::localization/bmn/bmn_2xb8-400x100-9e_activitynet-feature.py', 'no backbone'),
        ('mmseg::unet/unet-s5-d16_fcn_4xb4-160k_cityscapes-512x1024.py', 'UNet.*part of it'),
        ('mmseg::setr/setr_vit-l_pup_8xb2-160k_ade20k-512x512.py', 'SETRUPHead.*UPerHead'),
        ('mmseg::fastfcn/fastfcn_r50-d32_jpu_psp_4xb4-80k_ade20k-512x512.py', 'JPU'),
        ('mmpose::body_2d_keypoint/rtmo/coco/rtmo-s_8xb32-600e_coco-640x640.py', 'BottomupPoseEstimator'),
        ('mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_cpm_8xb32-210e_coco-384x288.py', 'CPMHead'),
        ('mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py', 'CSPNeXtPAFPN.*levels'),
        ('mmdet::yolox/yolox_s_8xb8-300e_coco.py', 'YOLOXPAFPN'),
        ('mmdet::faster_rcnn/faster-rcnn_r50-caffe-c4_ms-1x_coco.py', 'neck'),
        ('mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py', 'MAE.*ImageClassifier'),
    ],
)
def test_refusals_name_what_is_not_known(name, message):
    with pytest.raises(ValueError, match=message):
        swap(load(name), 'small')


def test_optimizer_rules_by_name_move_to_custom_keys():
    """Swin's constructor takes {name: rule}; the default one takes the same under custom_keys."""
    cfg = load('mmaction::recognition/swin/swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb.py')
    wrapper = swap(cfg, 'small').apply(cfg).optim_wrapper
    assert wrapper.constructor == 'DefaultOptimWrapperConstructor'
    assert wrapper.paramwise_cfg.custom_keys.backbone == dict(lr_mult=0.1)


def test_weights_of_the_old_network_are_dropped():
    cfg = load('mmpose::body_2d_keypoint/integral_regression/coco/ipr_res50_8xb64-210e_coco-256x256.py')
    change = swap(cfg, 'small')
    assert change.apply(cfg).model.init_cfg is None
    assert any('td-hm_res50' in note for note in change.notes)


def test_tool(tmp_path, capsys, monkeypatch):
    """The tool writes the file, prints both ways, and sends an input through the model."""
    out = tmp_path / 'new' / 'fcn.py'
    name = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
    monkeypatch.setattr('sys.argv', ['swap_backbone.py', name, str(out), '--arch', 'small',
                                     '--backbone-options', 'attention.score=dot', 'time_steps=2'])  # fmt: skip
    runpy.run_path(TOOL, run_name='__main__')
    printed = capsys.readouterr().out
    assert 'ResNet replaced, with its options depth, num_stages, out_indices, style' in printed
    assert re.search(r'python tools/train.py mmpretrain::.* --cfg-options model.backbone._delete_=True ', printed)
    assert 'checked: an input of 3 x 224 x 224 goes through' in printed
    model = Config.fromfile(out).model
    assert model.head.in_channels == WIDTHS[PYRAMID[-1]]
    assert (model.backbone.attention, model.backbone.time_steps) == (dict(score='dot'), 2)


def test_tool_says_what_it_cannot_adapt(tmp_path, monkeypatch):
    name = 'mmseg::setr/setr_vit-l_pup_8xb2-160k_ade20k-512x512.py'
    monkeypatch.setattr('sys.argv', ['swap_backbone.py', name, str(tmp_path / 'x.py')])
    with pytest.raises(SystemExit, match=r'setr.*SETRUPHead.* cannot be adapted; known here: .*UPerHead'):
        runpy.run_path(TOOL, run_name='__main__')
    assert not (tmp_path / 'x.py').exists()


def test_tool_replaces_no_file_unasked(tmp_path, monkeypatch):
    """OUT inherits from CONFIG, so it cannot be that file; another one it replaces when told."""
    own, other = tmp_path / 'own.py', tmp_path / 'other.py'
    own.write_text(f'_base_ = {str(config_path("mmpretrain::resnet/resnet18_8xb32_in1k.py"))!r}\n')
    other.write_text('mine = 1\n')
    text = own.read_text()

    def run(out, *flags):
        monkeypatch.setattr('sys.argv', ['swap_backbone.py', str(own), str(out), '--no-check', *flags])
        runpy.run_path(TOOL, run_name='__main__')

    for flags in [], ['--force']:
        with pytest.raises(SystemExit, match=r'own\.py is CONFIG itself'):
            run(own, *flags)
    with pytest.raises(SystemExit, match=r'other\.py is there already; .*--force'):
        run(other)
    assert (own.read_text(), other.read_text()) == (text, 'mine = 1\n')
    run(other, '--force')
    assert Config.fromfile(other).model.backbone.type == 'mmsvf.SpikeVideoFormer'


def test_tool_takes_widths_and_depths(tmp_path, capsys, monkeypatch):
    out, name = tmp_path / 'tiny.py', 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
    sizes = 'arch.embed_dims=[8,8,16,16,24]', 'arch.depths=[1,1,1,1,1]'
    monkeypatch.setattr('sys.argv', ['swap_backbone.py', name, str(out), '--no-check', '--backbone-options', *sizes])
    runpy.run_path(TOOL, run_name='__main__')
    model = Config.fromfile(out).model
    assert (model.backbone.arch, model.head.in_channels) == (dict(embed_dims=[8, 8, 16, 16, 24], depths=[1] * 5), 24)
    assert all(f'model.backbone.{size}' in capsys.readouterr().out for size in sizes[:1])


def test_check_of_a_detector(tmp_path):
    """Two stages, whose second one needs operators that mmcv-lite lacks: what the heads get is shown."""
    cfg = load('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    cfg = swap(cfg, dict(embed_dims=[8, 8, 16, 16, 24], depths=[1, 1, 1, 1, 1])).apply(cfg)
    cfg.test_dataloader.dataset.pipeline[1].scale = (128, 64)
    assert check(cfg).endswith('256 x 16 x 32, 256 x 8 x 16, 256 x 4 x 8, 256 x 2 x 4, 256 x 1 x 2')
