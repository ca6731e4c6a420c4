"""From image to video: what a checkpoint gives to another model, and what says so."""

import logging
import types

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import BaseLoop, CheckpointLoader, load_checkpoint, save_checkpoint

import mmsvf
from mmsvf.engine.hooks.load_report_hook import LoadReportHook
from mmsvf.files.load_report import compare
from mmsvf.models.backbones.spike_video_former import SpikeVideoFormer
from tests.conftest import ROOT

TINY = dict(embed_dims=(8, 8, 16, 16, 24), depths=(1, 1, 2, 1, 1))


def tiny(name):
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    cfg.model.backbone.arch = TINY
    head = cfg.model.get('head') or cfg.model.cls_head
    head.in_channels = TINY['embed_dims'][-1]
    init_default_scope(cfg.default_scope)
    return MODELS.build(cfg.model).eval()


@pytest.fixture(scope='module')
def image_checkpoint(tmp_path_factory):
    """An ImageNet classifier with statistics that let it spike, and its file."""
    torch.manual_seed(0)
    model = tiny('svf_imagenet_t1').train()
    with torch.no_grad():
        for _ in range(8):
            model.backbone(torch.randn(2, 3, 64, 64) * 3)
    path = tmp_path_factory.mktemp('image') / 'svf_imagenet_t1.pth'
    save_checkpoint(dict(state_dict=model.state_dict(), meta={}), str(path))
    return model.eval(), path


class TrainLoop(BaseLoop):
    def __init__(self):
        pass

    def run(self):
        pass


def run_hook(model, path, caplog, training=True):
    """What ``load_from`` does in the Runner."""
    checkpoint = CheckpointLoader.load_checkpoint(str(path), 'cpu')
    logger = logging.getLogger('test_load_report')
    with caplog.at_level(logging.INFO, 'test_load_report'):
        runner = types.SimpleNamespace(model=model, logger=logger, _train_loop=TrainLoop() if training else None)
        LoadReportHook().after_load_checkpoint(runner, checkpoint)
    load_checkpoint(model, str(path))
    return caplog.text


def same_features(image_model, backbone):
    """The outputs on one frame at T = 1 equal those before the transfer."""
    frame = torch.randn(2, 3, 64, 64) * 3
    with torch.no_grad():
        (before,) = image_model.backbone(frame)
        after = backbone(frame.unsqueeze(2))
    after = after if isinstance(after, torch.Tensor) else after[-1]
    assert before.shape == after.shape == (2, 24, 1, 4, 4) and before.std() > 0
    assert torch.equal(before, after)


def test_into_the_kinetics_config(image_checkpoint, caplog):
    image_model, path = image_checkpoint
    recognizer = tiny('svf_k400')
    text = run_hook(recognizer, path, caplog)
    tensors = len(recognizer.backbone.state_dict())
    assert (
        f'ClipRecognizer: {tensors} tensors loaded, 2 new (cls_head.fc.bias, cls_head.fc.weight), '
        '2 dropped (head.fc.bias, head.fc.weight)'
    ) in text
    same_features(image_model, recognizer.backbone)


OTHERS = {
    'mmseg': dict(
        type='EncoderDecoder',
        decode_head=dict(type='FCNHead', in_channels=24, in_index=0, channels=8, num_classes=3),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    ),
    'mmpose': dict(
        type='TopdownPoseEstimator',
        head=dict(
            type='HeatmapHead',
            in_channels=24,
            out_channels=17,
            loss=dict(type='KeypointMSELoss'),
            decoder=dict(type='MSRAHeatmap', input_size=(64, 64), heatmap_size=(16, 16), sigma=2),
        ),
    ),
}


@pytest.mark.parametrize('scope', OTHERS)
def test_into_models_of_the_other_frameworks(scope, image_checkpoint, caplog):
    image_model, path = image_checkpoint
    init_default_scope(scope)
    backbone = dict(type='mmsvf.SpikeVideoFormer', arch=TINY, output='tuple')
    model = MODELS.build(dict(**OTHERS[scope], backbone=backbone)).eval()
    assert ' 2 dropped (head.fc.bias, head.fc.weight)' in run_hook(model, path, caplog)
    same_features(image_model, model.backbone)


def test_as_init_cfg_of_the_backbone(image_checkpoint):
    image_model, path = image_checkpoint
    init = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    backbone = SpikeVideoFormer(arch=TINY, init_cfg=init)
    backbone.init_weights()
    same_features(image_model, backbone.eval())


def test_four_steps_start_from_one(image_checkpoint, caplog):
    _, path = image_checkpoint
    model = tiny('svf_imagenet_t4')
    assert '0 new, 0 dropped' in run_hook(model, path, caplog)
    assert model.backbone(torch.zeros(1, 3, 64, 64))[0].shape == (1, 24, 4, 4, 4)


def test_another_arch_is_an_error_not_a_warning(image_checkpoint):
    _, path = image_checkpoint
    wider = SpikeVideoFormer(arch=dict(embed_dims=(8, 8, 16, 16, 32), depths=(1, 1, 2, 1, 1)))
    wider.init_cfg = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    with pytest.raises(ValueError, match=r'do not fit SpikeVideoFormer of widths .*of another size \(stages\.4'):
        wider.init_weights()


def test_plain_weights_into_the_fused_form_are_an_error(image_checkpoint):
    model, path = image_checkpoint
    with pytest.raises(ValueError, match=r'SpikeVideoFormer is the fused form.* then take mmsvf\.fuse\(model\)'):
        load_checkpoint(mmsvf.fuse(model.eval()), str(path))


def test_the_whole_model_without_a_prefix_is_an_error(image_checkpoint):
    _, path = image_checkpoint
    backbone = SpikeVideoFormer(arch=TINY, pretrained=str(path))
    with pytest.raises(ValueError, match=r"0 tensors loaded.*prefix='backbone\.'"):
        backbone.init_weights()


def test_nothing_fits():
    hook, runner = LoadReportHook(), types.SimpleNamespace(model=torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r'no tensor of the checkpoint fits this Linear.*dropped \(conv1\.weight\)'):
        hook.after_load_checkpoint(runner, dict(state_dict={'conv1.weight': torch.zeros(1)}))


def test_report_sorts_every_tensor():
    model = {'a': torch.zeros(1), 'b': torch.zeros(2), 'c': torch.zeros(3)}
    report = compare(model, {'a': torch.ones(1), 'b': torch.zeros(5), 'd': torch.zeros(1)})
    assert (report.loaded, report.new, report.dropped) == (['a'], ['c'], ['d'])
    assert str(report).endswith('1 of another size (b: (5,) in the file, (2,) in the model)')


def test_a_head_that_nothing_came_for_is_refused():
    names = ('backbone.fc.weight', 'cls_head.fc.weight', 'cls_head.fc.bias', 'cls_head.edges', 'aux_head.fc.weight')
    model = {name: torch.zeros(2) for name in names}
    parameters = [name for name in names if not name.endswith('edges')]

    def check(*given):
        compare(model, {name: model[name] for name in given}).check_head('x.pth', parameters)

    for given in (names[:1], (names[0], 'cls_head.edges')):
        with pytest.raises(
            ValueError, match=r'x\.pth has no weights of the head \(cls_head\.fc\.bias, .*load_from=FILE'
        ):
            check(*given)
    check(*names[:2])  # a bias that is new
    check(*names[:3])  # a buffer and an auxiliary head that are new
    no_head = {k: v for k, v in model.items() if 'cls_head.fc' not in k}
    compare(no_head, {names[0]: model[names[0]]}).check_head('x.pth', parameters)


def test_a_test_with_a_backbone_alone_is_refused_and_a_training_is_not(image_checkpoint, caplog):
    _, path = image_checkpoint
    model = tiny('svf_k400')
    run_hook(model, path, caplog, training=True)
    with pytest.raises(ValueError, match=r'the checkpoint has no weights of the head \(cls_head\.fc\.bias'):
        run_hook(model, path, caplog, training=False)


@pytest.mark.parametrize('loaded', ['nothing', 'file', 'init_cfg'])
def test_a_start_from_random_weights_is_said(image_checkpoint, caplog, loaded):
    _, path = image_checkpoint
    model = SpikeVideoFormer(arch=TINY)
    if loaded == 'init_cfg':
        model.init_cfg = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    hook = LoadReportHook(start='ImageNet-1K weights')
    runner = types.SimpleNamespace(model=model, logger=logging.getLogger('test_load_report'))
    with caplog.at_level(logging.INFO, 'test_load_report'):
        if loaded == 'file':
            hook.after_load_checkpoint(runner, dict(state_dict=model.state_dict()))
        hook.before_train(runner)
    said = 'from random weights; the paper starts from ImageNet-1K weights. --cfg-options load_from=FILE' in caplog.text
    assert said == (loaded == 'nothing')
