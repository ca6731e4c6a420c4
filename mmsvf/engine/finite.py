"""A training that has diverged stops before it overwrites what was good."""

from __future__ import annotations

import os
from typing import Any

import torch
from mmengine.hooks import Hook

from mmsvf.checkpoints import find_latest_checkpoint
from mmsvf.datasets.wrapper import sample_name
from mmsvf.registry import HOOKS


@HOOKS.register_module()
class FiniteHook(Hook):
    """Stops when a loss is NaN or infinite, and refuses to write a checkpoint with such weights.

    The error has the iteration, the files of the batch and the last checkpoint.

    Args:
        interval: Iterations between looks at the loss, each of which waits for the GPU.

    Raises:
        RuntimeError: a loss or a weight is not finite.
    """

    priority = 'VERY_HIGH'  # before the checkpoint is written

    def __init__(self, interval: int = 1) -> None:
        self.interval = interval

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if not self.every_n_train_iters(runner, self.interval):
            return
        losses = {k: v for k, v in (outputs or {}).items() if isinstance(v, torch.Tensor)}
        bad = [name for name, value in losses.items() if 'loss' in name and not torch.isfinite(value).all()]
        if bad:
            values = ', '.join(f'{name}={losses[name].detach().float().mean().item()}' for name in bad)
            raise RuntimeError(
                f'{values} in iteration {runner.iter + 1} (epoch {runner.epoch + 1}); the batch was '
                f'{batch_files(runner, data_batch)}; {last_good(runner)}. A lower learning rate, '
                'optim_wrapper.clip_grad or a longer warm-up are what usually helps'
            )

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        weights = checkpoint.get('state_dict', {})
        bad = [k for k, v in weights.items() if torch.is_floating_point(v) and not torch.isfinite(v).all()]
        if bad:
            raise RuntimeError(
                f'{len(bad)} of {len(weights)} tensors of the model are not finite after '
                f'iteration {checkpoint["meta"]["iter"]}, '
                f'such as {bad[:3]}: no checkpoint is written; {last_good(runner)}'
            )


def batch_files(runner: Any, batch: Any) -> str:
    """Names of the files of a batch, or the indices of its samples where the data set does not tell."""
    samples = batch.get('data_samples') if isinstance(batch, dict) else None
    indices = [getattr(sample, 'drawn_index', None) for sample in samples or []]
    dataset = runner.train_dataloader.dataset
    names = [sample_name(dataset, index) for index in indices if index is not None]
    return ', '.join(names) if names else 'not named by this data set'


def last_good(runner: Any) -> str:
    """The last checkpoint that was written, for a message."""
    named = runner.message_hub.runtime_info.get('last_ckpt')  # set before it is written
    path = named if named and os.path.exists(named) else find_latest_checkpoint(runner.work_dir)
    return f'the last good checkpoint is {path}' if path else 'there is no checkpoint yet'
