"""A training that has diverged stops before its weights take what is not finite."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from torch import Tensor

from mmsvf.checkpoints import find_latest_checkpoint
from mmsvf.datasets.wrapper import sample_name
from mmsvf.registry import HOOKS

# steps in a row that a loss scaler may leave out: it halves its scale each time, from 2^16 to below 1
SCALER_STEPS = 20
ADVICE = 'a lower learning rate, optim_wrapper.clip_grad or a longer warm-up are what usually helps'


@HOOKS.register_module()
class FiniteHook(Hook):
    """Looks at the gradient between the backward pass and the optimizer's step, and logs its norm.

    A gradient that is NaN or infinite stops the training, with the weights as they were before the step; so does a
    loss. Weights that are not finite are not written. A look at the losses alone would not do: a membrane that is NaN
    never fires, so losses stay finite. MMEngine has no hook between backward pass and step, and its own norm comes
    with clipping, which spreads a NaN over all tensors.

    Args:
        interval: Optimizer steps between looks, each of which waits for the GPU. Above 1 the weights may have taken
            what is not finite before it is seen; the message then says so.
        max_skipped: So many steps in a row with such a gradient are left out instead. A loss scaler (``--amp``)
            leaves out up to 20 in any case, while it looks for its scale.

    Raises:
        RuntimeError: a gradient, a loss or a weight is not finite; the message has the layers where it began, the
            iteration, the files of the batches and the last checkpoint.
    """

    priority = 'VERY_HIGH'  # before the checkpoint is written

    def __init__(self, interval: int = 1, max_skipped: int = 0) -> None:
        if interval < 1 or max_skipped < 0:
            raise ValueError(f'interval={interval}, max_skipped={max_skipped}; at least 1 and at least 0')
        self.interval, self.max_skipped = interval, max_skipped
        self.skipped = 0  # steps in a row
        self.steps = 0
        self.batches: list[Any] = []  # since the last step: several with accumulated gradients
        self.loss: Tensor | None = None

    def before_train(self, runner: Any) -> None:
        """Put the look in front of each optimizer's step."""
        wrapper = runner.optim_wrapper
        for part in wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]:
            part.backward = self._keep_loss(part.backward)
            part.step = self._look_first(runner, part, part.step)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self.batches.append(data_batch)

    def _keep_loss(self, backward: Callable[..., None]) -> Callable[..., None]:
        @wraps(backward)
        def keep(loss: Tensor, **kwargs: Any) -> None:
            self.loss = loss.detach()
            backward(loss, **kwargs)

        return keep

    def _look_first(self, runner: Any, wrapper: Any, step: Callable[..., None]) -> Callable[..., None]:
        @wraps(step)  # with what the schedulers note on it
        def look(**kwargs: Any) -> None:
            scaler = getattr(wrapper, 'loss_scaler', None)
            batches, self.batches = self.batches, []
            self.steps += 1
            if self.steps % self.interval == 0:
                scale = 1.0 if scaler is None else scaler.get_scale()
                norm, bad = gradient_norm(runner.model)
                if bad:
                    most = self.max_skipped if scaler is None else max(self.max_skipped, SCALER_STEPS)
                    self._skip(runner, bad, batches, most)
                    if scaler is None:
                        return
                else:
                    self.skipped = 0
                    if not getattr(wrapper, 'clip_grad_kwargs', None):  # otherwise it logs the norm itself
                        runner.message_hub.update_scalar('train/grad_norm', norm / scale)
            step(**kwargs)

        return look

    def _skip(self, runner: Any, bad: list[str], batches: list[Any], most: int) -> None:
        """Count a step that is left out; past ``most``, or if the statistics of the norms are gone, stop."""
        self.skipped += 1
        files = ', '.join(dict.fromkeys(batch_files(runner, batch) for batch in batches))
        spoilt = [k for k, v in runner.model.named_buffers() if v.is_floating_point() and not torch.isfinite(v).all()]
        message = (
            f'the gradient of {len(bad)} tensors is not finite in iteration {runner.iter + 1} (epoch '
            f'{runner.epoch + 1}), nearest the loss of {bad[-3:][::-1]}; loss={self.loss}; the batch was {files}'
        )
        if self.skipped > most or spoilt:
            told = f'; with it the statistics {spoilt[:3]}' if spoilt else ''
            gone = [k for k, v in runner.model.named_parameters() if not torch.isfinite(v).all()]
            weights = 'The weights are those before this step'
            if gone:
                weights += f', of which {len(gone)} tensors of the model are not finite already, such as {gone[:3]}'
            raise RuntimeError(
                f'{message}{told}. {weights}; {last_good(runner)}. {ADVICE.capitalize()}; '
                '--cfg-options default_hooks.finite.max_skipped=N leaves out up to N such steps in a row'
            )
        runner.logger.log(logging.WARNING, f'{message}: this step is left out ({self.skipped} of at most {most})')

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        pending = self.batches and self.max_skipped  # no step was due: the next look decides
        if self.skipped or pending or not self.every_n_train_iters(runner, self.interval):
            return
        losses = {k: v for k, v in (outputs or {}).items() if isinstance(v, Tensor)}
        bad = [name for name, value in losses.items() if 'loss' in name and not torch.isfinite(value).all()]
        if bad:
            values = ', '.join(f'{name}={losses[name].detach().float().mean().item()}' for name in bad)
            raise RuntimeError(
                f'{values} in iteration {runner.iter + 1} (epoch {runner.epoch + 1}); the batch was '
                f'{batch_files(runner, data_batch)}; {last_good(runner)}. {ADVICE.capitalize()}'
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


@torch.no_grad()
def gradient_norm(model: torch.nn.Module) -> tuple[float, list[str]]:
    """Norm of all gradients together, and the names of those that are not finite, in the order of the model."""
    gradients = {k.removeprefix('module.'): p.grad for k, p in model.named_parameters() if p.grad is not None}
    if not gradients:
        return 0.0, []
    norms = torch.stack([norm.float() for norm in torch._foreach_norm(list(gradients.values()))])
    total = float(norms.norm())
    bad = [] if torch.isfinite(norms).all() else [k for k, g in gradients.items() if not torch.isfinite(g).all()]
    if not bad and total == float('inf'):  # it is the squares that overflow
        total = float(torch.stack([g.double().norm() for g in gradients.values()]).norm())
    return total, bad


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
