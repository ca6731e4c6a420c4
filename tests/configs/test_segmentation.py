"""The recipes of App. I (docs/faithfulness.md, D13 to D20), read from the configs."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import MODELS, PARAM_SCHEDULERS, init_default_scope

import mmsvf  # noqa: F401

from ..conftest import ROOT

RECIPES = {  # epochs, learning rate, T_max, crop, classes, arch, frames before the last
    'svf_cityscapes': (300, 1e-3, 400, (768, 768), 19, 'small', 0),
    'svf_cityscapes_vss': (100, 1e-4, 400, (768, 768), 19, 'small', 3),
    'svf_vspw': (60, 1e-3, 80, (480, 480), 124, 'large', 0),
    'svf_vspw_vss': (20, 1e-4, 80, (480, 480), 124, 'large', 3),
}


def transforms_of(cfg, part):
    """The image transforms of the data of a part, by type."""
    dataset = cfg[f'{part}_dataloader'].dataset
    return {t.type.removeprefix('mmsvf.Clip'): t for t in dataset.get('dataset', dataset).pipeline}


@pytest.mark.parametrize('name', RECIPES)
def test_recipe(name):
    epochs, lr, t_max, crop, classes, arch, before = RECIPES[name]
    start = 'svf_imagenet_t4' + ('_small' if arch == 'small' else '')
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    assert cfg.train_cfg.max_epochs == epochs and cfg.param_scheduler.T_max == t_max
    assert cfg.optim_wrapper.optimizer.type == 'AdamW' and cfg.optim_wrapper.optimizer.lr == lr
    assert cfg.train_dataloader.batch_size * 8 == 16 == cfg.auto_scale_lr.base_batch_size
    transforms = transforms_of(cfg, 'train')
    assert transforms['RandomCrop'].crop_size == crop == cfg.model.data_preprocessor.size
    assert {'RandomResize', 'RandomFlip', 'PhotoMetricDistortion'} <= set(transforms)
    assert cfg.model.decode_head.num_classes == classes and cfg.model.backbone.arch == arch
    for part in ('train', 'val', 'test'):
        dataset = cfg[f'{part}_dataloader'].dataset
        assert len(dataset.get('dataset', dataset).get('offsets', ())) == before
    assert bool(cfg.model.get('train_memory_only')) == bool(before)
    assert Path(cfg.load_from).parts[1] == (name.removesuffix('_vss') if before else start), 'where the paper starts'


CONFIGS = sorted(  # the ablation's differ from these in what they name alone (test_ablation.py)
    path.relative_to(ROOT / 'configs').as_posix()
    for folder in ('.', 'compared')
    for path in (ROOT / 'configs' / folder).glob('*.py')
    if 'cityscapes' in path.stem or 'vspw' in path.stem
)


@pytest.mark.parametrize('name', CONFIGS)
def test_training_is_around_the_scale_of_the_test(name):
    """D45; a crop that is larger than its picture is padded to one, with void labels."""
    cfg = Config.fromfile(ROOT / 'configs' / name)
    transforms, model = transforms_of(cfg, 'train'), cfg.model.data_preprocessor
    test = transforms_of(cfg, 'test')['Resize']
    assert transforms['RandomResize'].scale == test.scale == ((853, 480) if 'vspw' in name else (1024, 512))
    assert transforms['RandomResize'].ratio_range == (0.5, 2.0)
    assert transforms['RandomCrop'].crop_size == model.size and (model.pad_val, model.seg_pad_val) == (0, 255)


@pytest.mark.parametrize('name', ['svf_cityscapes', 'svf_cityscapes_vss', 'compared/segformer_b1_cityscapes'])
@pytest.mark.parametrize('ratio', [0.5, 1.0, 2.0])
def test_cityscapes_crops(name, ratio, tmp_path):
    """A frame of 1024 x 2048 through training's own transforms: what of the crop is picture, the rest is void."""
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    init_default_scope('mmseg')
    transforms_of(cfg, 'train')['RandomResize'].ratio_range = (ratio, ratio)
    picture, mask = str(tmp_path / 'a.png'), str(tmp_path / 'b.png')
    cv2.imwrite(picture, np.full((1024, 2048, 3), 255, np.uint8))
    cv2.imwrite(mask, np.kron([[0, 1], [2, 3]], np.ones((512, 1024))).astype(np.uint8))
    offsets = cfg.train_dataloader.dataset.get('offsets', ())
    info = dict(img_path=picture, clip_paths=[picture] * (len(offsets) + 1), seg_map_path=mask, seg_fields=[])
    sample = Compose(cfg.train_dataloader.dataset.pipeline)(dict(**info, reduce_zero_label=False, label_map=None))
    batch = MODELS.build(cfg.model.data_preprocessor)(pseudo_collate([sample]), True)
    inputs, (labels,) = batch['inputs'], batch['data_samples'][0].gt_sem_seg.data
    assert inputs.shape == (1, 3, *([4] if offsets else []), 768, 768) and labels.shape == (768, 768)
    height, width = min(768, int(512 * ratio)), min(768, int(1024 * ratio))
    assert (labels[:height, :width] < 4).all() and (labels != 255).sum() == height * width
    assert (inputs[..., :height, :width] != 0).float().mean() > 0.99
    assert not inputs[..., height:, :].any() and not inputs[..., width:].any()


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
