"""A training that was interrupted goes on as if it had not been."""

from __future__ import annotations

import copy
from itertools import chain, repeat
from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper

from mmsvf.engine.exact_resume.seeded import NumberedSampler, seed_generators
from mmsvf.engine.sharded import full_state_dict, plain_name
from mmsvf.files.load_report import compare
from mmsvf.registry import HOOKS


def shared_seed(runner: Any) -> int:
    """The seed that all processes share, by which they divide the data."""
    apart = (runner.cfg.get('randomness') or {}).get('diff_rank_seed', False)
    return runner.seed - get_rank() if apart else runner.seed


def samples_per_step(runner: Any) -> int:
    """How many samples an optimizer step sees, over all processes."""
    sampler = runner.train_dataloader.batch_sampler
    wrapper = runner.optim_wrapper
    accumulated = getattr(wrapper, '_accumulative_counts', 1)
    return int(getattr(sampler, 'batch_size', 1)) * get_world_size() * int(accumulated)


def between_steps(wrapper: Any) -> bool:
    """Whether gradients are accumulated that no step has taken yet."""
    return getattr(wrapper, '_accumulative_counts', 1) > 1 and not wrapper.should_update()


def groups(state: dict) -> list[dict[str, Any]]:
    """Options of each group of an optimizer's state that no schedule changes, and its number of parameters."""
    moved = ('lr', 'momentum', 'betas', 'initial_momentum', 'initial_betas', 'swap_lr_with_dup')
    kept: list[dict[str, Any]] = [{k: v for k, v in g.items() if k not in moved} for g in state.get('param_groups', [])]
    return [{**g, 'params': len(g.get('params', ()))} for g in kept]


def plan(schedule: dict) -> dict[str, Any]:
    """What a schedule's state has of its config, and no step changes; its end moves with that of the training."""
    of_plateau = ('best', 'num_bad_epochs', 'cooldown_counter')
    moved = ('end', 'last_step', '_global_step', 'base_values', '_last_value', *of_plateau)
    plain = (bool, int, float, str, tuple, list, dict)  # a dict are the milestones of MultiStepLR
    named = {k: getattr(v, '__name__', v) for k, v in schedule.items() if k not in moved}  # functions by their names
    kinds = {k: type(schedule[k]).__name__ for k in ('end', '_global_step') if k in schedule}
    return {**kinds, **{k: v for k, v in named.items() if isinstance(v, plain)}}


def changed(had: dict[str, Any], has: dict[str, Any]) -> str:
    """The options that two have otherwise, or one alone, of both; '' if there is none."""
    keys = [k for k in {**had, **has} if k not in had or k not in has or had[k] != has[k]]
    keys = [k for k in keys if str(k)[0] != '_'] or keys  # what is derived of them is long
    before, now = ({k: options[k] for k in keys if k in options} for options in (had, has))
    return f'{before}, this one {now}' if keys else ''


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """The model's random numbers (dropout, mixing) follow the iteration; a resumed loader starts where it stopped.

    With :class:`.seeded.SeededDataset` and its sampler, which ``tools/train.py`` puts into the training
    loader, a resumed training in fp32 ends with the weights of an uninterrupted one, bit for bit, for any number of
    workers, also from within an epoch. In iteration-based training the data of the past is not read again (MMEngine
    reads all of it). A validation that was due when the training stopped is made up for.

    **A resumed training is the same training.** What would make it another one is an error: a file without training
    state, weights that are missing or of another shape, another optimizer, another schedule (the old one would go on),
    another number of samples per step (batch size x processes x accumulated batches), by which the schedule counts. A
    new training from a file's weights is ``load_from``.

    Args:
        strict: False warns of a changed optimizer state, schedule or number of samples instead.

    Raises:
        ValueError: what differs, when ``resume`` is set.
    """

    priority = 'LOWEST'  # the validation needs what the other hooks prepare

    def __init__(self, strict: bool = True) -> None:
        self.strict = strict
        self.done = 0  # batches of this epoch
        self.begun: Any = None  # what a checkpoint says of its epoch
        self.late: list[Any] = []  # schedules that are to take a step

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Note the samples per step, the batches that are done of an epoch and that it has, gradients between steps.

        Of several processes each has its own gradients until the step, and one writes: they are not kept.
        """
        meta = checkpoint['meta']
        meta['samples_a_step'] = samples_per_step(runner)
        if not hasattr(runner.train_loop, 'dataloader_iterator'):
            within = meta.get('epoch') == runner.epoch  # at its end a checkpoint by epochs counts it already
            meta['batches_of_epoch'] = [self.done if within else 0, len(runner.train_dataloader)]
        resumable = 'optimizer' in checkpoint  # the best one is not
        if resumable and between_steps(runner.optim_wrapper) and get_world_size() == 1:
            parameters = runner.model.named_parameters()
            checkpoint['gradients'] = {plain_name(name): p.grad.cpu() for name, p in parameters if p.grad is not None}

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Refuse to resume from a checkpoint of another training."""
        if not runner.cfg.get('resume'):
            return
        instead = 'to start a new training from its weights leave --resume out and give --cfg-options load_from=FILE'
        lacks = [key for key in ('meta', 'state_dict', 'message_hub', 'optimizer') if key not in checkpoint]
        meta = checkpoint.get('meta', {})
        counts = {f'meta.{key}': meta.get(key) for key in ('epoch', 'iter')}
        lacks += [key for key, count in counts.items() if type(count) is not int or count < 0]
        if type(meta.get('seed', 0)) is not int and meta['seed'] is not None:
            raise ValueError(f'the checkpoint to resume from has the seed {meta["seed"]!r}; a whole number expected')
        if lacks:
            raise ValueError(f'the checkpoint to resume from has no training state (it lacks {lacks}); {instead}')
        given = {k.removeprefix('module.'): v for k, v in checkpoint['state_dict'].items()}  # as of DDPStrategy
        report = compare(full_state_dict(runner.model), given)
        if report.new or report.mis_sized:
            raise ValueError(f'the checkpoint to resume from is of another model: {report}; {instead}')
        self.begun = meta.get('batches_of_epoch')
        if gradients := checkpoint.get('gradients'):
            parameters = {plain_name(name): p for name, p in runner.model.named_parameters()}
            try:
                for name, gradient in gradients.items():
                    parameter = parameters[plain_name(name)]
                    parameter.grad = gradient.to(parameter)
            except (AttributeError, KeyError, RuntimeError) as error:  # no dict of tensors, names or shapes of another
                raise ValueError(
                    f'the gradients in the checkpoint to resume from are not of this model; {instead}'
                ) from error
            runner.logger.info('gradients between two steps are restored: a warning that they are lost does not hold')
        differ = []
        if isinstance(runner.optim_wrapper, OptimWrapper):
            saved, mine = (groups(state) for state in (checkpoint['optimizer'], runner.optim_wrapper.state_dict()))
            if len(saved) != len(mine):
                differ.append(f'its optimizer has {len(saved)} groups of parameters, this one {len(mine)}')
            # what else it had, its steps have added
            differences = (changed({k: v for k, v in had.items() if k in has}, has) for had, has in zip(saved, mine))
            differ += [f'its optimizer has {found}' for found in differences if found][:1]
        if isinstance(runner.param_schedulers, list):
            states = checkpoint.get('param_schedulers')
            saved = [state for state in states if isinstance(state, dict)] if isinstance(states, list) else []
            mine = [schedule.state_dict() for schedule in runner.param_schedulers]
            if len(saved) != len(mine):
                differ.append(f'it has {len(saved)} schedules (param_scheduler), this one {len(mine)}')
            for schedule, had, has in zip(runner.param_schedulers, saved, mine):
                if found := changed(plan(had), plan(has)):
                    differ.append(f'its schedule {type(schedule).__name__} has {found}')
                elif {'end', '_global_step'} <= had.keys() and has['end'] != had['end']:
                    # a longer training goes on as one of its length would have: with the steps past the old end
                    late = max(0, had['_global_step'] + 1 - had['end'])
                    had.update(end=has['end'], _global_step=had['_global_step'] - late)
                    self.late += [schedule] * late
        before, now = checkpoint['meta'].get('samples_a_step'), samples_per_step(runner)
        if before is not None and before != now:
            differ.append(
                f'it took {before} samples per step, this training takes {now} (batch size x processes x accumulated '
                'batches)'
            )
        if differ:
            message = f'not the training that the checkpoint to resume from was written by: {"; ".join(differ)}'
            if self.strict:
                raise ValueError(
                    f'{message}. Set them as they were; {instead}; or go on regardless with --cfg-options '
                    'default_hooks.exact_resume.strict=False'
                )
            runner.logger.warning(message)

    def before_train(self, runner: Any) -> None:
        """Set the seed, skip the data of the past, and make up for the steps of schedules and the validation due."""
        for schedule in self.late:
            schedule.step()
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
        if not by_iter and loop.iter:
            self._go_on(runner, loop, sampler)
            due = due and not self.done  # the epoch after it has begun
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
        skipped = repeat(None, loop.iter)  # what the loop would read and leave costs nothing
        loop.dataloader_iterator = chain(skipped, type(loop.dataloader_iterator)(loader))

    def _go_on(self, runner: Any, loop: Any, sampler: NumberedSampler | None) -> None:
        """Have an epoch that a checkpoint by iterations lies in go on at its batch."""
        length = len(loop.dataloader)
        # files from before this was noted: another length of the epoch looks the same as a place within one
        begun = self.begun if self.begun is not None else [loop.iter - loop.epoch * length, None]
        if isinstance(begun, (list, tuple)) and begun[:1] == [0]:
            return
        if sampler is None or begun not in ([done, length] for done in range(1, length + 1)):
            runner.logger.warning(
                f'the checkpoint to resume from is of iteration {loop.iter}, within epoch {loop.epoch + 1}, and where '
                f'its data stopped is not known (batches_of_epoch={self.begun!r}, now {length}): its epoch starts anew '
                'while schedules by iterations go on, so this is not the uninterrupted training. Save by epochs '
                '(default_hooks.checkpoint.by_epoch=True), or train by iterations (IterBasedTrainLoop)'
            )
            return
        done = self.done = begun[0]
        sampler.start = done * loop.dataloader.batch_sampler.batch_size
        run_iter = loop.run_iter
        loop.run_iter = lambda index, batch: run_iter(done + index, batch)  # hooks count from the epoch's beginning

    def after_train_epoch(self, runner: Any) -> None:
        """The next epoch is whole."""
        self.done = 0
        vars(runner.train_loop).pop('run_iter', None)
        if (sampler := self._sampler(runner.train_dataloader)) is not None and hasattr(sampler, 'epoch'):
            sampler.start = 0

    @staticmethod
    def _sampler(loader: Any) -> NumberedSampler | None:
        sampler = getattr(getattr(loader, 'batch_sampler', None), 'sampler', None)
        return sampler if isinstance(sampler, NumberedSampler) else None

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the model's random numbers by the iteration."""
        self.done = batch_idx + 1  # when it is saved
        seed_generators(runner.seed, get_rank(), runner.iter)
        if torch.cuda.is_available():
            torch.cuda.manual_seed(runner.seed + runner.iter * 1_000_003 + get_rank())
