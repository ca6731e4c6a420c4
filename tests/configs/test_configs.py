"""Configs hold what the paper says, build, and name what they need."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

import mmsvf  # noqa: F401
from mmsvf.analysis import model_zoo as make_zoo
from mmsvf.analysis.models import build_without_memory, scores
from mmsvf.spiking.attention import AttentionRead
from mmsvf.spiking.layers import RepConv

from ..conftest import ROOT

FINAL = sorted(p for p in (ROOT / 'configs').rglob('*.py') if '_base_' not in p.parts)


@pytest.mark.parametrize('path', FINAL, ids=lambda p: p.stem)
def test_config_is_complete(path):
    cfg = Config.fromfile(path)
    assert cfg.custom_imports == dict(imports=['mmsvf'], allow_failed_imports=False)
    assert cfg.default_scope in ('mmaction', 'mmseg', 'mmpose', 'mmpretrain')
    assert 'visualization' in cfg.default_hooks
    assert any(backend.type == 'TensorboardVisBackend' for backend in cfg.visualizer.vis_backends)
    build_without_memory(cfg)


@pytest.mark.parametrize('path', [p for p in FINAL if 'live' in p.parts], ids=lambda p: p.stem)
def test_causal_forms_stream_and_take_the_weights_of_joint(path):
    name = f'{path.stem.removesuffix("_causal")}.py'
    (joint,) = (p for p in FINAL if p.name == name)
    model, plain = (build_without_memory(Config.fromfile(p)) for p in (path, joint))
    model.check_streams()
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}


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


def multiply_adds(model, shape):
    """Of one view, counted another way than the zoo does: from the shapes that each layer sees."""
    total = 0

    def layer(module, inputs, output):
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += output.numel() * module.in_features
        elif isinstance(module, RepConv):  # its depth-wise convolution; what that adds at the border is called above
            pixels = output.numel() // module.pointwise2.out_channels
            total += pixels * module.depthwise.weight.numel()
        elif isinstance(module, AttentionRead):
            (t, b, c, h, w), memory = inputs[0].shape, len(inputs[1])
            queries, keys, width = t * h * w, memory * h * w, c // module.num_heads
            total += b * module.num_heads * min((queries + keys) * width**2, 2 * queries * keys * width)

    for module in model.modules():
        module.register_forward_hook(layer)
    with torch.no_grad():
        scores(model, torch.empty(1, *shape, device='meta'))
    return total


def test_zoo_is_what_the_script_writes():
    """Metafiles, model-index.yml and the table of docs/zoo.md are not edited by hand and not out of date."""
    for path, text in make_zoo.make(ROOT).items():
        assert (ROOT / path).read_text() == text, f'{path} is out of date: python tools/misc/make_zoo.py'


def test_zoo_is_true():
    """Configs but ablations, compared systems, causal forms; parameters exact, FLOPs within 0.1 % of another count."""
    facts = yaml.safe_load((ROOT / 'configs' / 'results.yml').read_text())
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    models = [m for path in index['Import'] for m in yaml.safe_load((ROOT / path).read_text())['Models']]
    zoo = {p.relative_to(ROOT).as_posix() for p in FINAL if not {'ablation', 'compared', 'live'} & set(p.parts)}
    assert {m['Config'] for m in models} == zoo
    for entry in models:
        cfg = Config.fromfile(ROOT / entry['Config'])
        model = build_without_memory(cfg)
        assert entry['Name'] == Path(entry['Config']).stem
        meta = entry['Metadata']
        assert meta['Parameters'] == sum(p.numel() for p in model.parameters())
        shape = facts[entry['Config'][len('configs/') : -len('.py')]]['input']
        assert meta['FLOPs'] == pytest.approx(multiply_adds(model, shape), rel=1e-3), entry['Name']
        assert meta['Epochs'] == cfg.train_cfg.max_epochs
        assert meta['Batch Size'] == cfg.auto_scale_lr.base_batch_size


def test_large_and_small_cost_what_the_key_list_says():
    """Protocol 6.5: 6.47 and 24.82 G multiply-adds a frame, attention products apart."""
    models = {m['Name']: m['Metadata'] for m in yaml.safe_load((ROOT / 'configs/metafile.yml').read_text())['Models']}
    assert models['svf_imagenet_t1_small']['FLOPs'] == pytest.approx(6.47e9, rel=5e-3)
    assert models['svf_imagenet_t1']['FLOPs'] == pytest.approx(24.82e9, rel=5e-3)
    assert models['svf_imagenet_t1_small']['Parameters'] == 15_116_720
    assert models['svf_imagenet_t1']['Parameters'] == 55_358_952


def test_no_base_shadows_a_file_of_mmpose():
    """mmpose looks METAINFO files up relative to the working directory first."""
    names = {p.name for p in (ROOT / 'configs' / '_base_').rglob('*.py')}
    assert not names & {'coco.py', 'h36m.py', 'mpii.py'}
    assert not (ROOT / 'configs' / '_base_' / 'datasets').exists()


def test_faithfulness_table_covers_the_list_of_discrepancies():
    text = (ROOT / 'docs' / 'faithfulness.md').read_text()
    first_column = re.findall(r'^\| (D\d[^|]*) \|', text, re.M)
    rows = [number for cell in first_column for number in cell.split(', ')]
    assert sorted(rows, key=lambda row: int(row[1:])) == [f'D{number}' for number in range(1, 56)]
