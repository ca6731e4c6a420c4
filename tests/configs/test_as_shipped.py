"""Every config as it is shipped: trained, validated, resumed and tested by the tools' own code.

What is changed: where the data is, how long the training is, the number of worker processes, the arch, and the size of
a frame. Never batch sizes, views, pipelines or hooks.
"""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmsvf.analysis.models import strip_pretrained
from mmsvf.engine import launch, run_config
from mmsvf.files.checkpoints import load_checkpoint

from ..conftest import ROOT
from ..tools.test_train_and_test import tool

# one of each family; --all-configs runs all of configs/compared
FAMILIES = """meta_spikeformer_k400 meta_spikeformer_vspw_vss spikformer_8_512_cityscapes ma_snn_mmhpsd_t8
    sew_resnet152_mmhpsd_event_t8 ms_resnet104_imagenet statten_2_512_cifar10 statten_2_256_cifar10_dvs
    statten_note_cifar10 timesformer_k400 vibe_mmhpsd_t8 segformer_b1_cityscapes vit_base_p16_imagenet"""
CONFIGS = [*sorted((ROOT / 'configs').glob('*.py')), *sorted((ROOT / 'configs' / 'demo').glob('*.py'))]
COMPARED = sorted((ROOT / 'configs' / 'compared').glob('*.py'))

SIZES = ('scale', 'scale_range', 'crop_size', 'size')
WIDTHS = (8, 16, 24, 32, 40)
ARCH = dict(embed_dims=WIDTHS, depths=(1, 1, 1, 1, 1))
SCALES = [WIDTHS[i] for i in (0, 1, 2, 4)]
# arch of a backbone, and the channels of its last stage
SMALL: dict[str, tuple[Any, list[int]]] = {
    'SpikeVideoFormer': (ARCH, SCALES),
    'Spikformer': (dict(depth=1, embed_dim=64, num_heads=8), [8, 16, 32, 64]),
    'STAtten': (dict(depth=2, embed_dim=64), [64]),
    'SEWResNet': ('18', [512]),
    'MSResNet': ('18', [512]),
    'SwinTransformer3D': ('tiny', [768]),
    'VisionTransformer': ('deit-tiny', [192]),
}


def pytest_generate_tests(metafunc):
    if 'path' in metafunc.fixturenames:
        every = metafunc.config.getoption('--all-configs')
        compared = [path for path in COMPARED if every or path.stem in FAMILIES.split()]
        metafunc.parametrize('path', CONFIGS + compared, ids=lambda path: path.stem)


@pytest.fixture(scope='module')
def data(tmp_path_factory, digits, imagenet):
    folder = tmp_path_factory.mktemp('shipped')
    tool('dataset_converters/moving_scenes', folder / 'scenes', '--train', '2', '--val', '1', '--frames', '11',
         '--sequences', '2')  # fmt: skip
    tool('dataset_converters/moving_body', folder / 'body', '--train', '1', '--test', '1', '--frames', '130',
         '--workers', '1')  # fmt: skip
    tool('dataset_converters/delayed_match', folder / 'match', '--train', '20', '--val', '20')
    made = {name: globals()[name](folder / name) for name in ('cifar10', 'cifar100', 'cifar10_dvs')}
    made.update({name: folder / name for name in ('scenes', 'body', 'match')})
    return dict(made, digits=digits, imagenet=imagenet)


def cifar10(folder):
    """Four pictures a file, as CIFAR-10's archive is unpacked."""
    write(folder / 'cifar-10-batches-py', [*(f'data_batch_{i}' for i in range(1, 6)), 'test_batch'], 'labels', 10)
    (folder / 'cifar-10-batches-py' / 'batches.meta').write_bytes(pickle.dumps(dict(label_names=[])))
    return folder


def cifar100(folder):
    write(folder / 'cifar-100-python', ['train', 'test'], 'fine_labels', 100)
    (folder / 'cifar-100-python' / 'meta').write_bytes(pickle.dumps(dict(fine_label_names=[])))
    return folder


def write(folder, names, key, classes):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in names:
        content = {'data': rng.integers(0, 256, (4, 3072), dtype=np.uint8), key: rng.integers(0, classes, 4).tolist()}
        (folder / name).write_bytes(pickle.dumps(content))


def cifar10_dvs(folder):
    """Ten recordings of each of ten classes, split by the converter."""
    rng = np.random.default_rng(0)
    for label in range(10):
        (folder / 'events_np' / f'class{label}').mkdir(parents=True)
        for i in range(10):
            x, y = rng.integers(0, 128, (2, 400))
            events = dict(t=np.sort(rng.integers(0, 10**6, 400)), x=x, y=y, p=rng.integers(0, 2, 400))
            np.savez(folder / 'events_np' / f'class{label}' / f'cifar10_class{label}_{i}.npz', **events)
    log = tool('dataset_converters/cifar10_dvs', folder)
    assert 'train.txt: 90 recordings' in log and 'val.txt: 10 recordings' in log
    assert 'class3/cifar10_class3_9.npz 3' in (folder / 'val.txt').read_text()
    return folder


def data_options(cfg: Config, data: dict[str, Path]) -> dict[str, Any]:
    """Where the data of each loader is, as options of the config; at most two batches, the last one not whole."""
    options: dict[str, Any] = {}
    for part in ('train', 'val', 'test'):
        loader = cfg[f'{part}_dataloader']
        inner = 'dataset.dataset' if 'dataset' in loader.dataset else 'dataset'
        dataset = loader.dataset.get('dataset', loader.dataset)
        kind, split = dataset.type.split('.')[-1], 'train' if part == 'train' else 'val'
        own: dict[str, Any] = {'indices': min(loader.batch_size, 16) + 1}
        if kind == 'MMHPSDDataset' and 'compared' in str(cfg.filename):
            own['indices'] = 2  # in networks that have no arch so small
        if cfg.default_scope == 'mmaction':
            name, match = data['digits'] / split, 'delayed_match' in dataset.ann_file
            name = data['match'] / Path(dataset.ann_file).stem if match else name
            own.update({'ann_file': f'{name}.txt', 'data_prefix.video': str(name.parent / split)})
        elif kind == 'VSPWDataset':
            own['data_root'] = str(data['scenes'] / 'vspw')
        elif kind == 'MMHPSDDataset':
            own['data_root'] = str(data['body'])
        else:
            city = 'scenes/cityscapes'
            folder = {'CityscapesDataset': city, 'CityscapesClipDataset': city, 'CustomDataset': 'cifar10_dvs'}
            name, _, rest = folder.get(kind, kind.lower()).partition('/')
            own['data_root'] = str(data[name] / rest)
        options.update({f'{part}_dataloader.{inner}.{key}': value for key, value in own.items()})
        if 'times' in loader.dataset:
            options[f'{part}_dataloader.dataset.times'] = 1
        options.update({f'{part}_dataloader.num_workers': 0, f'{part}_dataloader.persistent_workers': False})
    if 'body' in cfg.model.get('head', {}) and cfg.model.head.body:
        options['model.head.body'] = str(ROOT / 'mmsvf' / 'body' / 'embedded_body.npz')
    return options


def shrink_frames(step: Any, path: str, options: dict[str, Any]) -> None:
    """Sizes in a pipeline's transforms, an eighth of what they are (at least 32), as options."""

    def small(value: Any) -> Any:
        return (
            tuple(map(small, value)) if isinstance(value, (list, tuple)) else max(32, value // 8) if value > 0 else -1
        )

    for i, part in enumerate(step):
        options.update({f'{path}.{i}.{key}': small(part[key]) for key in SIZES if key in part})
        if 'transforms' in part:
            shrink_frames(part.transforms, f'{path}.{i}.transforms', options)


def small_clips(cfg: Config, options: dict[str, Any]) -> None:
    """MMHPSD's frames have one size: made small in the end, by the transform that the demo's configs have for it."""
    small = dict(type='mmsvf.ResizeClip', size=64)
    for part in ('train', 'val', 'test'):
        *steps, pack = cfg[f'{part}_dataloader'].dataset.pipeline
        assert pack.type == 'mmsvf.PackPoseClip'
        options[f'{part}_dataloader.dataset.pipeline'] = [*steps, small, pack]


def size_options(cfg: Config) -> dict[str, Any]:
    """A small arch, with what follows from its channels, and small frames."""
    options: dict[str, Any] = {}
    model, backbone = cfg.model, cfg.model.backbone
    arch, channels = SMALL.get(backbone.type.split('.')[-1], (None, []))
    if arch is not None and (isinstance(backbone.arch, str) or max(backbone.arch.get('embed_dims', [0])) > 128):
        options['model.backbone.arch'] = dict(_delete_=True, **arch) if isinstance(arch, dict) else arch
        for part in ('neck', 'memory'):
            if 'in_channels' in (model.get(part) or {}):
                options[f'model.{part}.in_channels'] = channels
        for part in ('cls_head', 'head'):
            if part in model:
                options[f'model.{part}.in_channels'] = channels[-1]
    if backbone.type == 'TimeSformer':
        options.update({'model.backbone.embed_dims': 96, 'model.cls_head.in_channels': 96})
    if backbone.get('depth', 0) > 50 and 'inflate' not in backbone:
        options['model.backbone.depth'] = 50
    if 'pretrained2d' in backbone:
        options['model.backbone.pretrained2d'] = False  # tells the kind of a file that is not there
    if 'backbone' in backbone:  # of each frame, at the full size
        options.update(
            {'model.backbone.backbone.depth': 18, 'model.neck.in_channels': 512, 'model.head.in_channels': 512}
        )
    if 'cifar' in str(cfg.filename) or '/demo/' in str(cfg.filename):
        return options
    if cfg.default_scope == 'mmpose':
        small_clips(cfg, options)
        return options
    for part in ('train', 'val', 'test'):
        dataset = cfg[f'{part}_dataloader'].dataset
        inner = 'dataset.dataset' if 'dataset' in dataset else 'dataset'
        pipeline = dataset.get('dataset', dataset).pipeline
        shrink_frames(pipeline, f'{part}_dataloader.{inner}.pipeline', options)
    if 'size' in model.data_preprocessor:
        options['model.data_preprocessor.size'] = tuple(side // 8 for side in model.data_preprocessor.size)
    if 'img_size' in backbone:
        options['model.backbone.img_size'] = 32
    return options


def start_of(cfg: Config, folder: Path) -> str | None:
    """What stands for the checkpoint that a config starts from: random weights of the config that would write it."""
    if cfg.get('load_from') is None:
        return None
    name = Path(cfg.load_from).parent.name
    name = dict(stage1='svf_moving_scenes').get(name, name)
    (path,) = (p for p in (ROOT / 'configs').rglob('*.py') if p.stem == name)
    source = Config.fromfile(path)
    assert Path(cfg.load_from).name == f'epoch_{source.train_cfg.max_epochs}.pth'
    source.merge_from_dict(size_options(source))
    init_default_scope(source.default_scope)
    file = folder / f'{name}.pth'
    torch.save(dict(state_dict=MODELS.build(source.model).state_dict(), meta={}), file)
    return str(file)


def test_trains_validates_resumes_and_tests(path, data, tmp_path, monkeypatch):
    from mmpretrain.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, '_check_integrity', lambda self: True)  # of the true archive
    monkeypatch.setattr(launch, 'keep_freed_memory', lambda: None)  # for good, in the process of all tests
    cfg = run_config.load_config(str(path))
    options = {
        **data_options(cfg, data),
        **size_options(cfg),
        'visualizer.vis_backends': [dict(type='LocalVisBackend')],
    }
    start = start_of(cfg, tmp_path)
    strip_pretrained(cfg.model)  # files that would be downloaded
    monkeypatch.setattr(run_config, 'load_config', lambda name: cfg.copy())
    work_dir = tmp_path / 'work'
    common = dict(config=str(path), work_dir=str(work_dir), launcher='none', local_rank=0)
    flags = dict.fromkeys(['no_validate', 'amp', 'auto_scale_lr', 'diff_rank_seed', 'deterministic'], False)

    def train(epochs, resume=None):
        changes = {**options, 'load_from': start, 'train_cfg.max_epochs': epochs}
        if isinstance(cfg.param_scheduler, dict) and cfg.param_scheduler.get('total_steps') == 1:
            changes['param_scheduler.total_steps'] = 2  # a one-cycle schedule is as long as the whole training
        more = dict(resume=resume, seed=None, max_unreadable=None, cfg_options=changes)
        launch.train(argparse.Namespace(**common, **flags, **more))
        return load_checkpoint(work_dir / f'epoch_{epochs}.pth')

    first = train(1)
    second = train(2, resume='auto')
    assert second['meta']['epoch'] == 2 and second['meta']['iter'] == 2 * first['meta']['iter'] > 0
    assert any(not torch.equal(v, first['state_dict'][k]) for k, v in second['state_dict'].items())
    scalars = [s for s in second['message_hub']['log_scalars'] if s.startswith('val/')]
    test = dict.fromkeys(['dump', 'out', 'show_dir']) | dict.fromkeys(['tta', 'fuse', 'compile', 'show'], False)
    test['engine'] = 'dense'
    checkpoint = str(work_dir / 'epoch_2.pth')
    metrics = launch.test(argparse.Namespace(**common, **test, checkpoint=checkpoint, cfg_options=options))
    assert metrics and scalars, 'validated and tested'
