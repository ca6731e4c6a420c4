"""The recipes of App. I (protocol 3.4, D13-D20), read from the configs."""

import math

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, PARAM_SCHEDULERS, init_default_scope

import mmsvf  # noqa: F401

from ..conftest import ROOT

RECIPES = {  # epochs, learning rate, T_max, crop, classes, arch, frames before the last
    'svf_cityscapes': (300, 1e-3, 400, (768, 768), 19, 'small', 0),
    'svf_cityscapes_vss': (100, 1e-4, 400, (768, 768), 19, 'small', 3),
    'svf_vspw': (60, 1e-3, 80, (480, 480), 124, 'large', 0),
    'svf_vspw_vss': (20, 1e-4, 80, (480, 480), 124, 'large', 3),
}


@pytest.mark.parametrize('name', RECIPES)
def test_recipe(name):
    epochs, lr, t_max, crop, classes, arch, before = RECIPES[name]
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    assert cfg.train_cfg.max_epochs == epochs and cfg.param_scheduler.T_max == t_max
    assert cfg.optim_wrapper.optimizer.type == 'AdamW' and cfg.optim_wrapper.optimizer.lr == lr
    assert cfg.train_dataloader.batch_size * 8 == 16 == cfg.auto_scale_lr.base_batch_size
    transforms = {
        t.type: t
        for t in cfg.train_dataloader.dataset.get('dataset', cfg.train_dataloader.dataset).pipeline[0].transforms
    }
    assert transforms['RandomCrop'].crop_size == crop == cfg.model.data_preprocessor.size
    assert {'RandomResize', 'RandomFlip', 'PhotoMetricDistortion'} <= set(transforms)
    assert cfg.model.decode_head.num_classes == classes and cfg.model.backbone.arch == arch
    for part in ('train', 'val', 'test'):
        dataset = cfg[f'{part}_dataloader'].dataset
        assert len(dataset.get('dataset', dataset).offsets) == before
    assert bool(cfg.model.get('train_memory_only')) == bool(before)
    assert (cfg.load_from is not None) == bool(before), 'stage 2 starts from stage 1'


def test_rate_ends_where_the_paper_leaves_it():
    """0.146 of the start after 300 of 400 and 60 of 80 epochs."""
    for name in ('svf_cityscapes', 'svf_vspw'):
        cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
        init_default_scope('mmseg')
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler = PARAM_SCHEDULERS.build(dict(**cfg.param_scheduler, optimizer=optimizer))
        for _ in range(cfg.train_cfg.max_epochs):
            optimizer.step()
            scheduler.step()
        assert optimizer.param_groups[0]['lr'] == pytest.approx((1 + math.cos(0.75 * math.pi)) / 2, rel=1e-6)


@pytest.mark.parametrize('levels', [1, 4])
def test_integer_lif_rows_are_two_values(levels):
    cfg = Config.fromfile(ROOT / 'configs' / 'svf_cityscapes.py')
    cfg.merge_from_dict({'model.neck.neuron.max_value': levels, 'model.decode_head.neuron.max_value': levels})
    init_default_scope('mmseg')
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert model.decode_head.lif.max_value == levels == model.neck.lateral[0].lif.max_value
