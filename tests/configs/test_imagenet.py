"""The recipe of ImageNet (docs/training.md), read from what the configs build, not from the files."""

import math

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, TRANSFORMS, init_default_scope

import mmsvf  # noqa: F401

from ..conftest import ROOT

STAGES = {  # epochs, warm-up epochs, images a step on 8 GPUs, learning rate, time steps
    'svf_imagenet_t1': (200, 10, 1024, 6e-4 * 1024 / 256, 1),
    'svf_imagenet_t4': (20, 5, 192, 2e-5 * 192 / 256, 4),
}
MIN_LR = 1e-6


@pytest.fixture(params=STAGES)
def stage(request):
    cfg = Config.fromfile(ROOT / 'configs' / f'{request.param}.py')
    cfg.model.backbone.arch = dict(embed_dims=(8, 8, 8, 8, 8), depths=(1, 1, 1, 1, 1))
    cfg.model.head.in_channels = 8
    init_default_scope('mmpretrain')
    return cfg, STAGES[request.param]


def test_lamb_as_built(stage):
    cfg, (_, _, _, lr, steps) = stage
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    optimizer = wrapper.optimizer
    assert type(optimizer).__name__ == 'Lamb' and wrapper.clip_grad_kwargs is None
    assert optimizer.defaults['max_grad_norm'] == 1.0 and optimizer.defaults['bias_correction']
    decays = {id(p): group['weight_decay'] for group in optimizer.param_groups for p in group['params']}
    assert len(decays) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert decays[id(parameter)] == (0 if parameter.dim() == 1 else 0.05), name
    for group in optimizer.param_groups:
        assert (group['lr'], group['betas'], group['eps']) == (pytest.approx(lr), (0.9, 0.999), 1e-6)
        assert group['trust_clip'] is True
    assert model.backbone.time_steps == steps


def test_trust_ratio_is_clipped_at_one(stage):
    """The step of a decayed tensor is at most lr times its Adam update, however large the weights."""
    cfg, (_, _, _, lr, _) = stage
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    weight = model.head.fc.weight
    with torch.no_grad():
        weight.fill_(100.0)
    weight.grad = torch.full_like(weight, 1e-6)
    optimizer.step()
    update = (100.0 - weight) / lr  # without the clip, the norm of the weights over that of the update: 17
    assert update.max() <= 0.05 * 100 + 1 + 1e-2


def test_schedule_as_built(stage):
    """Each iteration: linear from 0, then half a cosine to 1e-6."""
    cfg, (epochs, warmup, batch, lr, _) = stage
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.train_dataloader.batch_size * 8 == batch == cfg.auto_scale_lr.base_batch_size
    length = 50  # iterations an epoch
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=lr)
    schedulers = [_build(settings, optimizer, length) for settings in cfg.param_scheduler]
    rates = []
    for _ in range(epochs * length):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    epoch = np.arange(epochs * length) / length
    cosine = MIN_LR + (lr - MIN_LR) * 0.5 * (1 + np.cos(math.pi * (epoch - warmup) / (epochs - warmup)))
    expected = np.where(epoch < warmup, lr * epoch / warmup, cosine)
    # MMEngine's warm-up is complete one iteration earlier
    assert np.abs(np.array(rates) - expected).max() <= 1.5 * lr / (warmup * length)
    assert rates[0] <= 1e-5 * lr and rates[-1] < 2 * MIN_LR


def _build(settings, optimizer, length):
    kind = PARAM_SCHEDULERS.get(settings.type)
    arguments = {k: v for k, v in settings.items() if k not in ('type', 'convert_to_iter_based')}
    assert settings.convert_to_iter_based
    return kind.build_iter_from_epoch(optimizer=optimizer, epoch_length=length, **arguments)


def transforms(cfg, loader):
    return {type(t).__name__: t for t in map(TRANSFORMS.build, cfg[loader].dataset.pipeline)}


def test_augmentation_as_built(stage):
    cfg, _ = stage
    train = transforms(cfg, 'train_dataloader')
    assert list(train) == [
        'LoadImageFromFile',
        'RandomResizedCrop',
        'RandomFlip',
        'RandAugment',
        'RandomErasing',
        'PackInputs',
    ]
    crop, erase, augment = train['RandomResizedCrop'], train['RandomErasing'], train['RandAugment']
    assert crop.scale == (224, 224) and crop.crop_ratio_range == (0.08, 1.0) and crop.interpolation == 'bicubic'
    assert crop.backend == 'pillow' and train['RandomFlip'].prob == 0.5
    assert (erase.erase_prob, erase.mode, erase.max_area_ratio) == (0.25, 'rand', 1 / 3)
    # rand-m9-mstd0.5-inc1: two of 15 operations, each at probability 0.5, magnitude 9 of 10, deviation 0.5
    assert augment.num_policies == 2 and len(augment.policies) == 15
    for operation in augment.transforms:
        assert operation.prob == 0.5
        if operation.magnitude_range is not None:
            assert (operation.magnitude_level, operation.magnitude_std, operation.total_level) == (9, 0.5, 10)
    test = transforms(cfg, 'test_dataloader')
    assert list(test) == ['LoadImageFromFile', 'ResizeEdge', 'CenterCrop', 'PackInputs']
    assert test['ResizeEdge'].scale == 256 and test['ResizeEdge'].interpolation == 'bicubic'
    assert test['CenterCrop'].crop_size == (224, 224)


def test_what_the_recipe_leaves_out(stage):
    """No mixup or cutmix, no EMA, no drop path; label smoothing 0.1; seed 0 + rank."""
    cfg, _ = stage
    model = MODELS.build(cfg.model)
    assert model.data_preprocessor.batch_augments is None
    assert not any('EMA' in hook.type for hook in cfg.get('custom_hooks', []))
    assert not any('drop' in type(module).__name__.lower() for module in model.modules())
    loss = model.head.loss_module
    assert type(loss).__name__ == 'LabelSmoothLoss' and loss.label_smooth_val == 0.1 and loss.mode == 'original'
    assert cfg.randomness.seed == 0 and cfg.randomness.diff_rank_seed


def test_four_steps_start_from_one_and_small_is_small():
    for size in ('', '_small'):
        cfg = Config.fromfile(ROOT / 'configs' / f'svf_imagenet_t4{size}.py')
        assert cfg.load_from == f'work_dirs/svf_imagenet_t1{size}/epoch_200.pth'
        assert cfg.model.backbone.arch == ('small' if size else 'large')


def test_distillation_is_an_option():
    """D27: hard, half of the loss, CAFormer-B36 as the teacher, from timm."""
    cfg = Config.fromfile(ROOT / 'configs' / 'svf_imagenet_t4_distilled.py')
    init_default_scope('mmpretrain')
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
        assert model.teacher_cfg.pretrained
        teacher = MODELS.build({**model.teacher_cfg, 'pretrained': False})  # nothing is downloaded in a test
    assert model.options == dict(kind='hard', alpha=0.5, tau=1.0)
    assert sum(p.numel() for p in teacher.parameters()) == pytest.approx(98.75e6, rel=1e-3)
