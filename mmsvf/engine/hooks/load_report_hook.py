"""A log line that says what a checkpoint gave to the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop

from mmsvf.engine.sharded import full_state_dict, plain_name, unwrapped
from mmsvf.files.load_report import compare
from mmsvf.registry import HOOKS


@HOOKS.register_module()
class LoadReportHook(Hook):
    """Logs how many tensors of a checkpoint were loaded, how many of the model are new, how many were dropped.

    MMEngine lists names that do not match, and goes on where nothing was loaded.

    It runs for ``load_from``, ``resume`` and testing. A file of which nothing fits is an error, in testing also one
    without the head's weights, or whose head has other classes. A training that starts without a file says so.

    Args:
        start: What the paper starts this training from, for that line.
    """

    def __init__(self, start: str | None = None) -> None:
        self.start = start
        self.loaded = False

    def before_train(self, runner: Any) -> None:
        """Say that training starts from random weights, if nothing was loaded and no part loads its own."""
        parts = [f'{getattr(m, "init_cfg", "")}{getattr(m, "pretrained", None) or ""}' for m in runner.model.modules()]
        if self.loaded or any('Pretrained' in part or '/' in part for part in parts):
            return
        paper = '' if self.start is None else f'; the paper starts from {self.start}'
        runner.logger.info(
            f'Training starts from random weights{paper}. --cfg-options load_from=FILE starts from those of a file'
        )

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Log what was loaded.

        Raises:
            ValueError: no checkpoint, not one tensor of it fits, or in testing the head's do not.
        """
        self.loaded = True
        if not isinstance(checkpoint, Mapping):
            raise ValueError(f'the file holds a {type(checkpoint).__name__}; a checkpoint is a dict with a state_dict')
        given = checkpoint.get('state_dict', checkpoint)
        given = {k[len('module.') :] if k.startswith('module.') else k: v for k, v in given.items()}
        report = compare(full_state_dict(runner.model), {k: v for k, v in given.items() if hasattr(v, 'shape')})
        model = unwrapped(runner.model)
        if not report.loaded:
            raise ValueError(
                f'no tensor of the checkpoint fits this {type(model).__name__}: {report}. Is it a checkpoint of '
                'another model?'
            )
        runner.logger.info(f'{type(model).__name__}: {report}')
        if not isinstance(getattr(runner, '_train_loop', None), BaseLoop):  # a training has built its loop by now
            report.check_head('the checkpoint', {plain_name(name) for name, _ in model.named_parameters()})
