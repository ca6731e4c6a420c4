"""Configs of the compared systems, at their full size: one training and one test iteration of each on tiny data."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmsvf.apis.analysis import strip_pretrained
from mmsvf.engine.launch import lose_nothing

from .. import tiny_datasets
from ..conftest import ROOT
from ..tools.test_train_and_test import tool

CONFIGS = sorted((ROOT / 'configs' / 'compared').glob('*.py'))


@pytest.fixture(scope='module')
def data(tmp_path_factory, digits, imagenet):
    folder = tmp_path_factory.mktemp('compared')
    tool('dataset_converters/moving_scenes', folder / 'scenes', '--train', '2', '--val', '1', '--frames', '11',
         '--sequences', '2')  # fmt: skip
    tool('dataset_converters/moving_body', folder / 'body', '--train', '1', '--test', '1', '--frames', '20',
         '--workers', '1')  # fmt: skip
    made = {name: globals()[name](folder / name) for name in ('cifar10', 'cifar100', 'cifar10_dvs')}
    return dict(made, scenes=folder / 'scenes', body=folder / 'body', digits=digits, imagenet=imagenet)


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


def datasets(cfg):
    """The data sets of a config's loaders, cut down to one batch of two."""
    for found, _ in tiny_datasets.loaders(cfg):
        dataset = found
        if dataset.type == 'RepeatDataset':
            dataset.times = 1
            dataset = dataset.dataset
        dataset.indices = tiny_datasets.COUNT
        yield dataset


def action(cfg, data):
    tiny_datasets._mmaction(cfg, data)
    for loader in ('train_dataloader', 'test_dataloader'):
        for step in cfg[loader].dataset.pipeline:
            if 'clip_len' in step:
                step.update(clip_len=8, num_clips=1, frame_interval=1)
            if step.type == 'ThreeCrop':
                step.type = 'CenterCrop'
    cfg.test_dataloader.batch_size = 1
    for key, value in dict(img_size=32, pretrained2d=False).items():
        if key in cfg.model.backbone:
            cfg.model.backbone[key] = value


def segmentation(cfg, data):
    for dataset in datasets(cfg):
        dataset.data_root = str(data['scenes'] / ('vspw' if 'VSPW' in dataset.type else 'cityscapes'))
        for step in dataset.pipeline[0].transforms:
            if 'scale' in step:
                step.scale = (128, 64)
            if 'crop_size' in step:
                step.crop_size = (64, 64)
    cfg.model.data_preprocessor.size = (64, 64)


def pose(cfg, data):
    for dataset in datasets(cfg):
        dataset.update(data_root=str(data['body']), steps=4, durations=(1,))
        dataset.pipeline.insert(0, dict(type='mmsvf.ResizeClip', size=64))
    cfg.model.head.body = None


def image(cfg, data):
    kind = cfg.train_dataloader.dataset.type
    if kind == 'ImageNet':
        tiny_datasets._mmpretrain(cfg, data)
        if 'img_size' in cfg.model.backbone:
            cfg.model.backbone.img_size = 64
        return
    for dataset in datasets(cfg):
        dataset.data_root = str(data['cifar10_dvs' if kind == 'CustomDataset' else kind.lower()])


CUT = dict(mmaction=action, mmseg=segmentation, mmpose=pose, mmpretrain=image)


@pytest.mark.usefixtures('plain_config_text')
@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_trains_and_tests(path, data, tmp_path, monkeypatch):
    from mmpretrain.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, '_check_integrity', lambda self: True)  # of the true archive
    cfg = Config.fromfile(path)
    hooks = cfg.get('custom_hooks', [])
    cfg = tiny_datasets.cut_down(cfg, data, tmp_path / path.stem, CUT[cfg.default_scope])
    cfg.custom_hooks = hooks
    strip_pretrained(cfg.model)
    cfg.model = Config(dict(model=plain_norms(cfg.model.to_dict()))).model
    lose_nothing(cfg, tmp_path / 'unreadable.txt')
    runner = Runner.from_cfg(cfg)
    before = {k: v.clone() for k, v in runner.model.named_parameters() if v.requires_grad}
    runner.train()
    assert runner.iter == 1
    assert torch.isfinite(torch.as_tensor(runner.message_hub.get_scalar('train/loss').data[0])).all()
    if 'sparsity' in str(hooks).lower():
        assert 'train/loss_sparsity' in runner.message_hub.log_scalars
    assert any(not torch.equal(v, before[k]) for k, v in runner.model.named_parameters() if k in before)
    assert runner.test(), 'no metric'


def plain_norms(value):
    """BatchNorm in the place of its synchronised form, which wants several processes."""
    if isinstance(value, dict):
        return {k: 'BN' if v == 'SyncBN' else plain_norms(v) for k, v in value.items()}
    return [plain_norms(v) for v in value] if isinstance(value, list) else value
