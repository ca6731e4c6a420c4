#!/usr/bin/env python
"""The first ten steps from random weights: norm of the gradient and loss on one repeated batch, of every task.

Configs as shipped but for the arch (small), the size of a frame, the length of a clip and the batch, on the embedded
defaults' data (make demo, demo-seg, demo-pose write it; for ImageNet noise). "before" undoes what keeps the start
healthy: reads that fire, blocks that start as the identity, norms in the pyramid.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
from mmengine.runner import Runner

from mmsvf.engine.hooks.finite_hook import gradient_norm
from mmsvf.engine.run_config import load_config
from mmsvf.spiking.attention import AttentionRead

ROOT = Path(__file__).resolve().parents[1]
DATA = dict(mmaction='moving_digits', mmseg='moving_scenes/vspw', mmpose='moving_body')
CONFIGS = ['svf_k400_small', 'svf_mmhpsd_t8_small', 'svf_mmhpsd_t32_small', 'svf_mmhpsd_event_t8_small']
CONFIGS += ['svf_cityscapes', 'svf_vspw', 'svf_vspw_vss', 'svf_imagenet_t1_small', 'svf_imagenet_t4_small']


def options(cfg: Any, name: str, size: int, steps: int) -> dict[str, Any]:
    """Arch, sizes and data of a config, as options."""
    data = str(ROOT / 'data' / DATA.get(cfg.default_scope, ''))
    dataset = 'train_dataloader.dataset.'
    if cfg.default_scope == 'mmaction':
        return {
            dataset + 'ann_file': f'{data}/train.txt',
            dataset + 'data_prefix.video': f'{data}/train',
            dataset + 'pipeline.1.clip_len': steps,
            dataset + 'pipeline.3.scale': (-1, size + size // 8),
            dataset + 'pipeline.5.scale': (size, size),
        }
    if cfg.default_scope == 'mmpose':
        pipeline = [dict(type='mmsvf.ResizeClip', size=size), dict(type='mmsvf.PackPoseClip')]
        seconds = 2 if 't8' in name else 4
        return {
            dataset + 'data_root': data,
            dataset + 'durations': (seconds,),
            dataset + 'pipeline': pipeline,
            'model.head.body': None,
        }
    if cfg.default_scope == 'mmseg':
        inner = dataset + ('dataset.' if 'dataset' in cfg.train_dataloader.dataset else '')
        found: dict[str, Any] = {inner + 'data_root': data, 'model.data_preprocessor.size': (size, size)}
        if 'VSPW' not in str(cfg.train_dataloader.dataset):
            found[inner + 'data_root'] = data.replace('vspw', 'cityscapes')
        types = [step.type for step in cfg.train_pipeline]
        found[f'{inner}pipeline.{types.index("RandomResize")}.scale'] = (size, size)
        found[f'{inner}pipeline.{types.index("RandomCrop")}.crop_size'] = (size, size)
        found['model.backbone.arch'] = 'small'
        found['model.neck.in_channels'] = [32, 64, 128, 360]
        if 'memory' in cfg.model:
            found['model.memory.in_channels'] = [32, 64, 128, 360]
        return found
    return {}


def first_batch(cfg: Any, count: int, size: int) -> Any:
    """The batch that is repeated."""
    if cfg.default_scope == 'mmpretrain':
        from mmpretrain.structures import DataSample

        noise = torch.nn.functional.interpolate(
            torch.rand(count, 3, size // 8, size // 8), (size, size), mode='bicubic'
        )
        images = (255 * noise.clamp(0, 1)).to(torch.uint8)
        return dict(inputs=list(images), data_samples=[DataSample().set_gt_label(7 * i) for i in range(count)])
    loader = dict(cfg.train_dataloader, batch_size=count, num_workers=0, persistent_workers=False)
    return next(iter(Runner.build_dataloader(loader, seed=0)))


def run(name: str, count: int, before: bool, args: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Norms and losses of the steps, up to one that is not finite."""
    torch.manual_seed(args.seed)
    cfg = load_config(str(ROOT / 'configs' / f'{name}.py'))
    cfg.merge_from_dict(options(cfg, name, args.size, args.steps), allow_list_keys=True)
    cfg.load_from = None
    if before:
        cfg.model.backbone.zero_init_residual = False
        if 'neck' in cfg.model:
            cfg.model.neck.norm = False
    with tempfile.TemporaryDirectory() as folder:
        cfg.work_dir, cfg.log_level, cfg.visualizer.vis_backends = folder, 'ERROR', []
        cfg.experiment_name = f'{name}-{count}-{before}'
        runner = Runner.from_cfg(cfg)
        model = runner.model.train()
        model.init_weights()
        for module in model.modules() if before else ():
            if isinstance(module, AttentionRead) and module.norm is not None:
                torch.nn.init.zeros_(module.norm.bias)
        wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    norms: list[float] = []
    wrapper.optimizer.register_step_pre_hook(lambda *_: norms.append(gradient_norm(model)[0]))
    batch, losses = first_batch(cfg, count, args.size), []
    for _ in range(10):
        losses.append(model.train_step(copy.deepcopy(batch), wrapper)['loss'].item())
        if not torch.isfinite(torch.tensor(norms[-1])):
            break
    return norms, losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='*', default=CONFIGS)
    parser.add_argument('--batches', type=int, nargs='+', default=[1, 2, 4])
    parser.add_argument('--size', type=int, default=64, help='side of a frame (default: %(default)s)')
    parser.add_argument('--steps', type=int, default=8, help='time steps of a video clip (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    print(f'small, {args.size} x {args.size}, torch {torch.__version__}, fp32, {torch.get_num_threads()} threads, CPU')
    print('| config | batch | norm before: first, largest | now: first, largest of ten | loss now: first -> tenth |')
    print('|---|---|---|---|---|')
    for name in args.configs:
        for count in args.batches:
            (was, _), (now, losses) = (run(name, count, before, args) for before in (True, False))
            norms = [
                f'{norm[0]:.3g}, {max(norm):.3g}' if norm[-1] < float('inf') else 'NaN or inf' for norm in (was, now)
            ]
            print(f'| {name} | {count} | {norms[0]} | {norms[1]} | {losses[0]:.6g} -> {losses[-1]:.6g} |', flush=True)


if __name__ == '__main__':
    main()
