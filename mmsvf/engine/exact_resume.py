"""A training that was interrupted goes on as if it had not been."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from mmsvf.datasets.seeded import NumberedSampler, seed_generators
from mmsvf.registry import HOOKS


class _Advanced:
    """An iterator that stands where the training stopped: the steps that the loop would skip cost nothing."""

    def __init__(self, iterator: Iterator[Any], skip: int) -> None:
        self.iterator, self.skip = iterator, skip

    def __iter__(self) -> _Advanced:
        return self

    def __next__(self) -> Any:
        if self.skip:
            self.skip -= 1
            return None
        return next(self.iterator)


def shared_seed(runner: Any) -> int:
    """The seed that all processes share, by which they divide the data."""
    apart = (runner.cfg.get('randomness') or {}).get('diff_rank_seed', False)
    return runner.seed - get_rank() if apart else runner.seed


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """The model's random numbers (dropout, mixing) follow the iteration; a resumed loader starts where it stopped.

    With :class:`mmsvf.datasets.seeded.SeededDataset` and its sampler, which ``tools/train.py`` puts into the training
    loader, a resumed training in fp32 ends with the weights of an uninterrupted one, bit for bit, for any number of
    workers. In iteration-based training the data of the past is not read again (MMEngine reads all of it). A validation
    that was due when the training stopped is made up for.
    """

    priority = 'LOWEST'  # the validation needs what the other hooks prepare

    def before_train(self, runner: Any) -> None:
        loop = runner.train_loop
        sampler = self._sampler(loop.dataloader)
        if sampler is not None:
            sampler.reseed(shared_seed(runner))  # of the checkpoint, where none is given
        endless = sampler is not None and not hasattr(sampler, 'epoch')
        if loop.iter and endless and hasattr(loop, 'dataloader_iterator'):
            self._advance(runner, loop)
        by_iter = hasattr(loop, 'dataloader_iterator')
        done, total = (loop.iter, loop.max_iters) if by_iter else (loop.epoch, loop.max_epochs)
        due = done and done >= loop.val_begin and (done % loop.val_interval == 0 or done == total)
        if runner.val_loop is not None and due:
            runner.val_loop.run()

    def _advance(self, runner: Any, loop: Any) -> None:
        """A new loader whose sampler starts at the batch of this iteration."""
        config = copy.deepcopy(runner.cfg.train_dataloader)
        loader = runner.build_dataloader(config, seed=shared_seed(runner))
        size = loader.batch_sampler.batch_size
        sampler = self._sampler(loader)
        assert sampler is not None
        sampler.start = loop.iter * size
        loop.dataloader = loader
        loop.dataloader_iterator = _Advanced(type(loop.dataloader_iterator)(loader), loop.iter)

    @staticmethod
    def _sampler(loader: Any) -> NumberedSampler | None:
        sampler = getattr(getattr(loader, 'batch_sampler', None), 'sampler', None)
        return sampler if isinstance(sampler, NumberedSampler) else None

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        seed_generators(runner.seed, get_rank(), runner.iter)
        if torch.cuda.is_available():
            torch.cuda.manual_seed(runner.seed + runner.iter * 1_000_003 + get_rank())
