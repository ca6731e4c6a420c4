"""Configs hold what the paper says, build, and name what they need."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

import mmsvf  # noqa: F401

from ..conftest import ROOT

FINAL = sorted(p for p in (ROOT / 'configs').rglob('*.py') if '_base_' not in p.parts)


@pytest.mark.parametrize('path', FINAL, ids=lambda p: p.stem)
def test_config_is_complete(path):
    cfg = Config.fromfile(path)
    assert cfg.custom_imports == dict(imports=['mmsvf'], allow_failed_imports=False)
    assert cfg.default_scope in ('mmaction', 'mmseg', 'mmpose', 'mmpretrain')
    assert 'visualization' in cfg.default_hooks
    assert any(backend.type == 'TensorboardVisBackend' for backend in cfg.visualizer.vis_backends)
    init_default_scope(cfg.default_scope)
    with torch.device('meta'):
        MODELS.build(cfg.model)


def test_kinetics_recipe():
    """App. G and D24, D25."""
    cfg = Config.fromfile(ROOT / 'configs' / 'svf_k400.py')
    sampling = cfg.train_dataloader.dataset.pipeline[1]
    assert (sampling.clip_len, sampling.frame_interval) == (32, 2)
    assert cfg.train_dataloader.batch_size * 8 == 32 == cfg.auto_scale_lr.base_batch_size
    optimizer = cfg.optim_wrapper
    assert optimizer.optimizer.type == 'AdamW' and optimizer.optimizer.lr == 6e-4
    assert optimizer.optimizer.lr * optimizer.paramwise_cfg.custom_keys.backbone.lr_mult == pytest.approx(6e-5)
    assert cfg.train_cfg.max_epochs == 30 and cfg.param_scheduler.T_max == 35
    views = cfg.test_dataloader.dataset.pipeline
    assert views[1].num_clips == 4 and views[4].type == 'ThreeCrop' and views[4].crop_size == 224
    assert cfg.model.cls_head.average_clips == 'prob' and cfg.model.backbone.arch == 'large'


def test_learning_rate_ends_where_the_paper_leaves_it():
    """After 30 of the 35 epochs of the cosine: 0.0495 of the start; the backbone at a tenth of the head."""
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import PARAM_SCHEDULERS

    cfg = Config.fromfile(ROOT / 'configs' / 'svf_k400_small.py')
    init_default_scope('mmaction')
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    scheduler = PARAM_SCHEDULERS.build(dict(**cfg.param_scheduler, optimizer=wrapper))
    rates = {p.numel(): g['lr'] for g in wrapper.param_groups for p in g['params']}
    assert rates[model.cls_head.fc.weight.numel()] == 6e-4
    assert rates[model.backbone.stages[0].downsample.conv.weight.numel()] == pytest.approx(6e-5)
    for _ in range(30):
        wrapper.optimizer.step()
        scheduler.step()
    assert wrapper.param_groups[-1]['lr'] == pytest.approx(0.0495 * 6e-4, rel=1e-2)


def test_metafile_is_true():
    models = yaml.safe_load((ROOT / 'configs' / 'metafile.yml').read_text())['Models']
    assert {m['Config'] for m in models} == {f'configs/{p.name}' for p in FINAL if p.parent.name == 'configs'}
    for entry in models:
        cfg = Config.fromfile(ROOT / entry['Config'])
        init_default_scope(cfg.default_scope)
        with torch.device('meta'):
            model = MODELS.build(cfg.model)
        assert entry['Name'] == Path(entry['Config']).stem
        assert entry['Metadata']['Parameters'] == sum(p.numel() for p in model.parameters())
        assert entry['Metadata']['Epochs'] == cfg.train_cfg.max_epochs
        assert entry['Metadata']['Batch Size'] == cfg.auto_scale_lr.base_batch_size
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert all((ROOT / path).is_file() for path in index['Import'])


def test_no_base_shadows_a_file_of_mmpose():
    """mmpose looks METAINFO files up relative to the working directory first."""
    names = {p.name for p in (ROOT / 'configs' / '_base_').rglob('*.py')}
    assert not names & {'coco.py', 'h36m.py', 'mpii.py'}
    assert not (ROOT / 'configs' / '_base_' / 'datasets').exists()


def test_faithfulness_table_covers_what_is_built():
    text = (ROOT / 'docs' / 'faithfulness.md').read_text()
    rows = set(re.findall(r'^\| (D\d+) \|', text, re.M))
    assert {'D1', 'D2', 'D3', 'D4', 'D11', 'D16', 'D22', 'D23', 'D24', 'D25', 'D28', 'D33', 'D34', 'D42'} <= rows
