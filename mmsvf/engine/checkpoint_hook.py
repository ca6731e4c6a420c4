"""MMEngine's CheckpointHook, but what it removes goes after the new checkpoint is there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process

from mmsvf.checkpoints import PARTIAL


class _Deferred:
    """A file backend that keeps removals for later."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._later: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self._later.append(('remove', str(path)))

    def rmtree(self, path: str) -> None:
        self._later.append(('rmtree', str(path)))

    def remove_now(self, keep: set[str]) -> None:
        """What was asked for, but for files that have been written again since."""
        later, self._later = self._later, []
        for call, path in later:
            if path not in keep and self._backend.exists(path):
                getattr(self._backend, call)(path)


def save_first(base: Any) -> Any:
    """A subclass of a CheckpointHook that saves before it removes, and tidies what a kill left unfinished."""

    class CheckpointHook(base):
        __doc__ = base.__doc__
        file_backend: Any

        def before_train(self, runner: Any) -> None:
            super().before_train(runner)
            if is_main_process():
                for unfinished in Path(runner.work_dir).glob(f'*{PARTIAL}'):
                    unfinished.unlink(missing_ok=True)
                self._check_room(runner)
            self.file_backend = _Deferred(self.file_backend)

        def _check_room(self, runner: Any) -> None:
            folder = Path(runner.work_dir)
            needed = sum(value.nbytes for value in runner.model.state_dict().values())
            free = shutil.disk_usage(folder).free
            if free < needed:
                raise OSError(
                    f'{free / 2**20:.1f} MiB are free in {folder}, and the weights alone take '
                    f'{needed / 2**20:.1f} MiB: no checkpoint could be written. Make room, or give another --work-dir'
                )

        def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict) -> None:
            super()._save_checkpoint_with_step(runner, step, meta)
            self.file_backend.remove_now(self._written())

        def _save_best_checkpoint(self, runner: Any, metrics: dict) -> None:
            super()._save_best_checkpoint(runner, metrics)
            self.file_backend.remove_now(self._written())

        def _written(self) -> set[str]:
            best = getattr(self, 'best_ckpt_path_dict', None) or {}
            found = (self.last_ckpt, getattr(self, 'best_ckpt_path', None), *best.values())
            return {str(path) for path in found if path}

    CheckpointHook.__module__, CheckpointHook.__qualname__ = base.__module__, base.__qualname__
    return CheckpointHook
