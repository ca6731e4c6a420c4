"""Does memory grow over a long training, or over a long stream of clips?

    python benchmarks/soak.py --iterations 4000 --clips 4000

Trains a tiny model through MMEngine's Runner with its logging, validation and checkpoints, then sends clips of changing
length through the fused model. Prints the resident memory of this process in each quarter; its means and their ratio.
"""

from __future__ import annotations

import argparse
import platform
import resource
import tempfile
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from torch.utils.data import Dataset

import mmsvf
from mmsvf.engine.exact_resume.seeded import seeded

ROOT = Path(__file__).parent.parent
ARCH = dict(embed_dims=(8, 8, 8, 8, 8), depths=(1, 1, 1, 1, 1))


def resident() -> int:
    """Bytes of this process in memory (Linux)."""
    return int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize()


class RandomClips(Dataset):
    """Clips of noise, as mmaction2's pipelines pack them."""

    metainfo: dict = {}  # noqa: RUF012

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> dict:
        from mmaction.structures import ActionDataSample

        clip = torch.randint(0, 256, (1, 3, 2, 32, 32), dtype=torch.uint8)
        return dict(inputs=clip, data_samples=ActionDataSample().set_gt_label(index % 8))


class Memory(Hook):
    """Resident memory after each iteration."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def after_train_iter(self, *_: object, **__: object) -> None:
        self.seen.append(resident())


def config(iterations: int, work_dir: str) -> Config:
    cfg = Config.fromfile(ROOT / 'configs' / 'demo' / 'svf_moving_digits.py')
    cfg.model.backbone.arch = ARCH
    cfg.model.cls_head.in_channels = 8
    loader = dict(
        batch_size=2,
        num_workers=0,
        dataset=dict(type='RandomClips'),
        sampler=dict(type='InfiniteSampler'),
        collate_fn=dict(type='pseudo_collate'),
    )
    cfg.train_dataloader = dict(loader)
    seeded(cfg.train_dataloader)
    cfg.val_dataloader = dict(loader, sampler=dict(type='DefaultSampler', shuffle=False))
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=max(1, iterations // 20))
    cfg.param_scheduler = []
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    interval = max(1, iterations // 40)
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=interval, max_keep_ckpts=1)
    cfg.default_hooks.logger.interval = 10
    cfg.custom_hooks = [dict(type='mmsvf.ExactResumeHook'), dict(type='mmsvf.FiniteHook')]
    cfg.work_dir = work_dir
    return cfg


def quarters(name: str, seen: list[int]) -> None:
    means = [np.mean(part) / 2**20 for part in np.array_split(np.array(seen), 4)]
    shown = ', '.join(f'{mean:.1f}' for mean in means)
    print(f'{name}: {len(seen)} steps, MiB in each quarter {shown}; last / first {means[-1] / means[0]:.4f}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--iterations', type=int, default=4000, help='of training (default: %(default)s)')
    parser.add_argument('--clips', type=int, default=4000, help='of inference (default: %(default)s)')
    args = parser.parse_args()
    DATASETS.register_module(module=RandomClips)
    memory = Memory()
    with tempfile.TemporaryDirectory() as work_dir:
        runner = Runner.from_cfg(config(args.iterations, work_dir))
        runner.register_hook(memory)
        runner.train()
    print(f'torch {torch.__version__}, Python {platform.python_version()}, {torch.get_num_threads()} threads')
    quarters('training', memory.seen[len(memory.seen) // 10 :])

    model = mmsvf.fuse(runner.model.eval())
    seen = []
    for i in range(args.clips):
        clip = torch.randn(1, 3, 1 + i % 8, 32 + 16 * (i % 3), 48)
        with torch.no_grad():
            model.backbone(clip)
        seen.append(resident())
    quarters('inference', seen[len(seen) // 10 :])


if __name__ == '__main__':
    main()
