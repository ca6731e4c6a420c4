"""A training that has diverged stops before its weights are NaN or infinite."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, get_comm_device, get_world_size
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from torch import Tensor

from mmsvf.datasets.wrapper import sample_name
from mmsvf.engine.sharded import plain_name, total_square
from mmsvf.files.work_dir import find_latest_checkpoint
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
        interval: Optimizer steps between looks, each of which waits for the GPU. Above 1 the weights may be NaN
            or infinite before it is seen; the message then says so, and names the files since the last look.
        max_skipped: So many steps in a row with such a gradient are left out instead, and the statistics of the norms
            are put back to what they were before. A loss scaler (``--amp``) leaves out up to 20 in any case, while it
            looks for its scale.

    Raises:
        RuntimeError: a gradient, a loss or a weight is not finite; the message has the layers where it began, the
            iteration, the files of the batches (of all processes) and the last checkpoint. All processes raise it.
    """

    priority = 'VERY_HIGH'  # before the checkpoint is written

    def __init__(self, interval: int = 1, max_skipped: int = 0) -> None:
        if type(interval) is not int or type(max_skipped) is not int or interval < 1 or max_skipped < 0:
            raise ValueError(f'interval={interval!r}, max_skipped={max_skipped!r}; whole numbers, at least 1 and 0')
        self.interval, self.max_skipped = interval, max_skipped
        self.skipped = 0  # steps in a row
        self.steps = 0
        self.drawn: list[list[int | None]] = []  # batches since the last look: several with accumulated gradients
        self.loss: Tensor | None = None
        self.before: dict[str, Tensor] | None = None  # the model's buffers, from the first batch of a step on

    def before_train(self, runner: Any) -> None:
        """Put the look in front of each optimizer's step."""
        wrapper = runner.optim_wrapper
        for part in wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]:
            part.backward = self._keep_loss(part.backward)
            part.step = self._look_first(runner, part, part.step)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Note the batch's samples, whose files an error names, and the statistics that it will change."""
        self.drawn.append(drawn_indices(data_batch))
        if self.max_skipped and self.before is None:
            self.before = {name: value.clone() for name, value in runner.model.named_buffers()}

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
            before, self.before = self.before or {}, None
            self.steps += 1
            if self.steps % self.interval == 0:
                drawn, self.drawn = [index for batch in self.drawn for index in batch], []
                scale = 1.0 if scaler is None else scaler.get_scale()
                norm, bad = gradient_norm(runner.model)
                if anywhere(bool(bad)):
                    most = self.max_skipped if scaler is None else max(self.max_skipped, SCALER_STEPS)
                    buffers = dict(runner.model.named_buffers())
                    for name, value in before.items():
                        buffers[name].copy_(value)
                    self._skip(runner, bad, drawn, most)
                    if scaler is None:
                        return
                else:
                    self.skipped = 0
                    if not getattr(wrapper, 'clip_grad_kwargs', None):  # otherwise it logs the norm itself
                        runner.message_hub.update_scalar('train/grad_norm', norm / scale)
            step(**kwargs)

        return look

    def _skip(self, runner: Any, bad: list[str], drawn: list[int | None], most: int) -> None:
        """Count a step that is left out; past ``most``, or if the statistics of the norms are gone, stop."""
        self.skipped += 1
        spoilt = not_finite(runner.model.named_buffers())
        seen = all_gather_object((sample_files(runner, drawn), spoilt, bad))
        files, spoilt, bad = (list(dict.fromkeys(name for part in parts for name in part)) for parts in zip(*seen))
        message = (
            f'the gradient of {len(bad)} tensors is not finite in iteration {runner.iter + 1} (epoch '
            f'{runner.epoch + 1}), nearest the loss of {bad[-3:][::-1]}; loss={self.loss}; {batch_of(files)}'
        )
        if self.skipped > most or spoilt:
            told = f'; with it the statistics {spoilt[:3]}' if spoilt else ''
            gone = not_finite(runner.model.named_parameters())
            weights, advice = 'The weights are those before this step', ADVICE.capitalize()
            if gone:
                weights += f', of which {len(gone)} tensors of the model are not finite already, such as {gone[:3]}'
                advice = 'Start from a file whose weights are finite'
            raise RuntimeError(
                f'{message}{told}. {weights}; {last_good(runner)}. {advice}; '
                '--cfg-options default_hooks.finite.max_skipped=N leaves out up to N such steps in a row'
            )
        runner.logger.log(logging.WARNING, f'{message}: this step is left out ({self.skipped} of at most {most})')

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Stop at a loss that is not finite."""
        pending = self.drawn and self.max_skipped  # no step was due: the next look decides
        if self.skipped or pending or not self.every_n_train_iters(runner, self.interval):
            return
        losses = {k: v for k, v in (outputs or {}).items() if isinstance(v, Tensor)}
        bad = [name for name, value in losses.items() if 'loss' in name and not torch.isfinite(value).all()]
        if anywhere(bool(bad)):
            values = [f'{name}={losses[name].detach().float().mean().item()}' for name in bad]
            seen = all_gather_object((values, sample_files(runner, drawn_indices(data_batch)) if bad else []))
            values, files = ([name for part in parts for name in part] for parts in zip(*seen))
            raise RuntimeError(
                f'{", ".join(values)} in iteration {runner.iter + 1} (epoch {runner.epoch + 1}); {batch_of(files)}; '
                f'{last_good(runner)}. {ADVICE.capitalize()}'
            )

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Refuse to write weights that are not finite."""
        weights = checkpoint.get('state_dict', {})
        bad = not_finite(weights.items())
        if bad:
            raise RuntimeError(
                f'{len(bad)} of {len(weights)} tensors of the model are not finite after '
                f'iteration {checkpoint["meta"]["iter"]}, '
                f'such as {bad[:3]}: no checkpoint is written; {last_good(runner)}'
            )


@torch.no_grad()
def gradient_norm(model: torch.nn.Module) -> tuple[float, list[str]]:
    """Norm of all gradients together, and the names of those that are not finite, in the order of the model."""
    parameters = dict(model.named_parameters())
    gradients = {plain_name(k): p.grad for k, p in parameters.items() if p.grad is not None}
    if not parameters:
        return 0.0, []
    found = [norm.float() for norm in torch._foreach_norm(list(gradients.values()))] if gradients else []
    norms = torch.stack(found or [next(iter(parameters.values())).new_zeros((), dtype=torch.float32)])
    total = float(total_square(model, norms.square().sum()).sqrt())
    bad = [] if torch.isfinite(norms).all() else [k for k, g in gradients.items() if not torch.isfinite(g).all()]
    if not bad and total == float('inf'):  # it is the squares that overflow
        total = float(torch.stack([g.double().norm() for g in gradients.values()]).norm())
    return total, bad


def anywhere(here: bool) -> bool:
    """Whether it is so in any process: they stop together, or the others would wait for the one that did."""
    if get_world_size() == 1:
        return here
    seen = torch.tensor(float(here), device=get_comm_device())
    all_reduce(seen, 'max')
    return bool(seen)


def not_finite(tensors: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Names of those that are NaN or infinite somewhere."""
    floating = [(name, value) for name, value in tensors if value.is_floating_point()]
    return [plain_name(name) for name, value in floating if not torch.isfinite(value).all()]


def drawn_indices(batch: Any) -> list[int | None]:
    """Indices of a batch's samples; None where the data set does not tell."""
    samples = batch.get('data_samples') if isinstance(batch, dict) else None
    return [getattr(sample, 'drawn_index', None) for sample in samples or []]


def sample_files(runner: Any, indices: list[int | None]) -> list[str]:
    """Names of the files of samples."""
    dataset = runner.train_dataloader.dataset
    return [sample_name(dataset, index) for index in indices if index is not None]


def batch_of(files: list[str], most: int = 32) -> str:
    """The files of a batch, for a message."""
    if not files:
        return 'the batch was not named by this data set'
    more = f' and {len(files) - most} more' if len(files) > most else ''
    return f'the batch was {", ".join(files[:most])}{more}'


def last_good(runner: Any) -> str:
    """The last checkpoint that was written, for a message."""
    named = runner.message_hub.runtime_info.get('last_ckpt')  # set before it is written
    path = named if named and os.path.exists(named) else find_latest_checkpoint(runner.work_dir)
    return f'the last good checkpoint is {path}' if path else 'there is no checkpoint yet'
