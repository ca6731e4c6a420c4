"""MMEngine's CheckpointHook, but it removes old checkpoints once the new one is there, not before."""

from __future__ import annotations

import logging
import os
import shutil
from functools import wraps
from itertools import chain
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log

from mmsvf.files.work_dir import WorkDirLock, note_removals, step_of, tidy


class _Deferred:
    """A file backend that keeps removals for later.

    The names come from the checkpoint that was resumed from: only checkpoints of the hook's own folder are removed.
    """

    def __init__(self, backend: Any, folder: str, out_dir: str) -> None:
        self._backend, self._folder, self._out_dir = backend, folder, out_dir
        self._later: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def _note(self) -> None:
        note_removals(self._folder, [path for _, path in self._later])

    def _keep(self, call: str, path: str) -> None:
        name = self._backend.join_path(self._out_dir, os.path.basename(path))
        if step_of(path) is None or os.path.realpath(path) != os.path.realpath(name):
            print_log(f'{path} is no checkpoint of {self._out_dir}, and is not removed', 'current', logging.WARNING)
            return
        self._later.append((call, path))
        self._note()

    def remove(self, path: str) -> None:
        self._keep('remove', str(path))

    def rmtree(self, path: str) -> None:
        self._keep('rmtree', str(path))

    def remove_now(self, keep: set[str]) -> None:
        """Remove what was asked for, but not what has been written again since."""
        if not self._later:
            return
        later, self._later = self._later, []
        for call, path in later:
            if path not in keep and self._backend.exists(path):
                getattr(self._backend, call)(path)
        self._note()


def save_first(hook: Any) -> None:
    """Have a CheckpointHook save before it removes, hold its folder's lock, and tidy what a kill left unfinished.

    The class itself is changed, so that it does not matter who has imported it before.
    """
    before_train, after_train = hook.before_train, getattr(hook, 'after_train', None)
    with_step, best = hook._save_checkpoint_with_step, hook._save_best_checkpoint

    @wraps(before_train)
    def locked(self: Any, runner: Any) -> None:
        problem: list[Any] = [None]
        if is_main_process():
            try:
                Path(runner.work_dir).mkdir(parents=True, exist_ok=True)
                self.lock = WorkDirLock(runner.work_dir)
                tidy(runner.work_dir)
                _check_room(runner)
            except (OSError, RuntimeError) as error:
                problem = [error]
        broadcast_object_list(problem)  # all processes stop together
        if problem[0] is not None:
            raise problem[0]
        known = runner.message_hub.runtime_info.get('keep_ckpt_ids')
        if known is not None:  # it stands in the checkpoint: none is removed that the training has not come to
            done = runner.epoch if self.by_epoch else runner.iter
            known = [step for step in known if type(step) is int and 0 <= step <= done]
            runner.message_hub.update_info('keep_ckpt_ids', known)
        before_train(self, runner)
        if not isinstance(self.file_backend, _Deferred):
            self.file_backend = _Deferred(self.file_backend, runner.work_dir, self.out_dir)

    def released(self: Any, runner: Any) -> None:
        if after_train is not None:
            after_train(self, runner)
        if is_main_process():
            self.lock.release()

    @wraps(with_step)
    def saved(self: Any, runner: Any, step: int, meta: dict) -> None:
        with_step(self, runner, step, meta)
        self.file_backend.remove_now(_written(self))

    @wraps(best)
    def saved_best(self: Any, runner: Any, metrics: dict) -> None:
        best(self, runner, metrics)
        self.file_backend.remove_now(_written(self))

    hook.before_train, hook.after_train = locked, released
    hook._save_checkpoint_with_step, hook._save_best_checkpoint = saved, saved_best


def _check_room(runner: Any) -> None:
    folder = Path(runner.work_dir)
    # no state_dict(), which a sharded model gathers from all processes: the others are not here
    needed = sum(value.nbytes for value in chain(runner.model.parameters(), runner.model.buffers()))
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            f'{free / 2**20:.1f} MiB are free in {folder}, and the weights alone take '
            f'{needed / 2**20:.1f} MiB: no checkpoint could be written. Make room, or give another --work-dir'
        )


def _written(hook: Any) -> set[str]:
    best = getattr(hook, 'best_ckpt_path_dict', None) or {}
    found = (hook.last_ckpt, getattr(hook, 'best_ckpt_path', None), *best.values())
    return {str(path) for path in found if path}
