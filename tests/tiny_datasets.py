"""Tiny data sets in the formats of the frameworks' own data-set classes, and their configs cut down to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config

COUNT = 2  # samples of a split: one batch


def picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Smooth noise, uint8 HWC."""
    coarse = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height))


def cityscapes(folder: Path) -> Path:
    """Cityscapes of two frames a split, as its own scripts lay it out."""
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for i in range(COUNT):
            name = f'city/city_000000_00000{i}'
            for kind, suffix in (('leftImg8bit', 'leftImg8bit'), ('gtFine', 'gtFine_labelTrainIds')):
                path = folder / kind / split / f'{name}_{suffix}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                labels = cv2.resize(rng.integers(0, 19, (4, 8), dtype=np.uint8), (128, 64), interpolation=0)
                cv2.imwrite(str(path), picture(rng, 64, 128) if suffix == kind else labels)
    return folder


def ade20k(folder: Path) -> Path:
    """ADE20K of two pictures a split."""
    rng = np.random.default_rng(0)
    for split in ('training', 'validation'):
        for kind in ('images', 'annotations'):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for i in range(COUNT):
            cv2.imwrite(str(folder / 'images' / split / f'{i}.jpg'), picture(rng, 64, 96))
            labels = cv2.resize(rng.integers(0, 151, (4, 6), dtype=np.uint8), (96, 64), interpolation=0)
            cv2.imwrite(str(folder / 'annotations' / split / f'{i}.png'), labels)
    return folder


def coco(folder: Path) -> Path:
    """COCO of two pictures with a person each: box, polygon and 17 key points."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    (folder / 'images').mkdir(parents=True)
    for i in range(1, COUNT + 1):
        cv2.imwrite(str(folder / 'images' / f'{i:012d}.jpg'), picture(rng, 128, 160))
        images.append(dict(id=i, file_name=f'{i:012d}.jpg', height=128, width=160))
        points = np.c_[rng.uniform(45, 95, 17), rng.uniform(25, 95, 17), np.full(17, 2)]
        box = [40, 20, 60, 80]
        polygon = [40, 20, 100, 20, 100, 100, 40, 100]
        annotations.append(
            dict(id=i, image_id=i, category_id=1, bbox=box, area=4800, iscrowd=0, segmentation=[polygon])
            | dict(keypoints=points.ravel().tolist(), num_keypoints=17)
        )
    from mmdet.datasets import CocoDataset

    categories = [dict(id=i, name=name) for i, name in enumerate(CocoDataset.METAINFO['classes'], 1)]
    categories[0].update(keypoints=[f'k{i}' for i in range(17)], skeleton=[])
    content = dict(images=images, annotations=annotations, categories=categories)
    (folder / 'annotations.json').write_text(json.dumps(content))
    return folder


def loaders(cfg: Config) -> Any:
    """Train and test loader of a config, cut down to one batch without worker processes."""
    for name in ('train_dataloader', 'test_dataloader'):
        loader = cfg[name]
        loader.update(batch_size=COUNT, num_workers=0, persistent_workers=False)
        loader.pop('prefetch_factor', None)
        loader.sampler = dict(type='DefaultSampler', shuffle=False)
        yield loader.dataset, name == 'train_dataloader'


def cut_down(cfg: Config, data: dict[str, Path], work_dir: Path, to_data: Any = None) -> Config:
    """The config on tiny data: small pictures, a batch of training, one of testing; ``to_data`` puts it there."""
    (to_data or globals()[f'_{cfg.default_scope}'])(cfg, data)
    # what is logged goes to the first of the runs of a name and a second
    cfg.work_dir, cfg.experiment_name = str(work_dir), f'{work_dir.parent.name}_{work_dir.name}'
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = dict(type='TestLoop')
    cfg.param_scheduler, cfg.load_from, cfg.resume, cfg.custom_hooks = [], None, False, []
    cfg.auto_scale_lr = dict(enable=False, base_batch_size=1)
    if cfg.optim_wrapper.get('type') == 'AmpOptimWrapper':  # needs a GPU
        cfg.optim_wrapper.type = 'OptimWrapper'
        cfg.optim_wrapper.pop('loss_scale', None)
        cfg.optim_wrapper.pop('dtype', None)
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=-1, save_last=False)
    cfg.default_hooks.logger.interval = 1
    cfg.visualizer.vis_backends = []
    return cfg


def _mmaction(cfg: Config, data: dict[str, Path]) -> None:
    digits = data['digits']
    for dataset, training in loaders(cfg):
        split = 'train' if training else 'val'
        lines = (digits / f'{split}.txt').read_text().splitlines()[:COUNT]
        (digits / f'{split}_{COUNT}.txt').write_text('\n'.join(lines) + '\n')
        dataset.type, dataset.ann_file = 'VideoDataset', str(digits / f'{split}_{COUNT}.txt')
        dataset.data_prefix = dict(video=str(digits / split))
        dataset.pop('filename_tmpl', None)
        for step in dataset.pipeline:
            if step.type == 'Resize':  # frames are square; ThreeCrop wants their own height
                step.scale = (32, 32)
            elif 'crop_size' in step:
                step.crop_size = 32
            elif step.type == 'RandomCrop':
                step.size = 32
            elif step.type == 'MultiScaleCrop':
                step.input_size = (32, 32)


def _mmseg(cfg: Config, data: dict[str, Path]) -> None:
    for dataset, _ in loaders(cfg):
        dataset.data_root = str(data['ade20k' if 'ADE' in dataset.type else 'cityscapes'])
        for step in dataset.pipeline:
            if 'scales' in step:
                step.scales = [64, 72]
            elif 'scale' in step:
                step.scale = (128, 64)
            if 'crop_size' in step:
                step.crop_size = (64, 64)
    cfg.model.data_preprocessor.size = (64, 64)
    if cfg.model.test_cfg.mode == 'slide':
        cfg.model.test_cfg.update(crop_size=(64, 64), stride=(48, 48))


def _mmpose(cfg: Config, data: dict[str, Path]) -> None:
    for dataset, _ in loaders(cfg):
        dataset.update(data_root=str(data['coco']), ann_file='annotations.json', data_prefix=dict(img='images/'))
        dataset.pop('bbox_file', None)
        dataset.pipeline = [step for step in dataset.pipeline if step.type != 'Albumentation']  # a package not here
    cfg.test_evaluator.ann_file = str(data['coco'] / 'annotations.json')


def _mmdet(cfg: Config, data: dict[str, Path]) -> None:
    for dataset, _ in loaders(cfg):
        dataset.update(data_root=str(data['coco']), ann_file='annotations.json', data_prefix=dict(img='images/'))
        _shrink(dataset.pipeline)
    cfg.test_evaluator.ann_file = str(data['coco'] / 'annotations.json')
    for rule in (cfg.model.test_cfg, *cfg.model.test_cfg.values()):  # let some boxes of an untrained network pass
        if isinstance(rule, dict) and 'score_thr' in rule:
            rule.update(score_thr=0.0, nms_pre=50)
        if isinstance(rule, dict) and 'max_per_img' in rule:
            rule.max_per_img = 10
    for step in cfg.model.data_preprocessor.get('batch_augments') or []:
        step.size = (64, 96)


def _shrink(steps: Any) -> None:
    """Sizes of mmdetection's transforms, nested ones too."""
    for step in steps:
        if isinstance(step, list):
            _shrink(step)
            continue
        if 'scales' in step:
            step.scales = [(96, 64)]
        elif 'scale' in step:
            step.scale = (96, 64)
        if 'crop_size' in step:
            step.crop_size = (48, 64)
        _shrink(step.get('transforms') or [])


def _mmpretrain(cfg: Config, data: dict[str, Path]) -> None:
    for dataset, training in loaders(cfg):
        split = 'train' if training else 'val'
        dataset.type = 'ImageNet'  # the data set of 1000 classes, whatever the config's way of naming its files
        dataset.update(data_root=str(data['imagenet']), ann_file=f'meta/{split}.txt', data_prefix=split)
        dataset.pop('split', None)
        dataset.indices = COUNT
        for step in dataset.pipeline:
            if 'scale' in step:
                step.scale = 72 if step.type == 'ResizeEdge' else 64
            if 'crop_size' in step:
                step.crop_size = 64
