"""A log line that says what a checkpoint gave to the model."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper

from mmsvf.load_report import compare
from mmsvf.registry import HOOKS


@HOOKS.register_module()
class LoadReportHook(Hook):
    """Logs how many tensors of a checkpoint were loaded, how many of the model are new, how many were dropped.

    It runs for ``load_from``, ``resume`` and testing. A file of which nothing fits is an error.
    """

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        model = runner.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        given = checkpoint.get('state_dict', checkpoint)
        given = {k[len('module.') :] if k.startswith('module.') else k: v for k, v in given.items()}
        report = compare(model.state_dict(), {k: v for k, v in given.items() if hasattr(v, 'shape')})
        if not report.loaded:
            raise ValueError(
                f'no tensor of the checkpoint fits this {type(model).__name__}: {report}. Is it a checkpoint of '
                'another model?'
            )
        runner.logger.info(f'{type(model).__name__}: {report}')
