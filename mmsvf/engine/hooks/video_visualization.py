"""Predictions on video clips as pictures."""

from __future__ import annotations

from typing import Any

from mmaction.engine.hooks import VisualizationHook
from torch import Tensor

from mmsvf.registry import HOOKS


def first_view(clip: Tensor) -> Tensor:
    """One view as (C, T, H, W), from views (M, C, T, H, W) or frames (T, C, H, W)."""
    return clip[0] if clip.dim() == 5 else clip.transpose(0, 1)


@HOOKS.register_module()
class VideoVisualizationHook(VisualizationHook):
    """mmaction2's ``VisualizationHook`` for clips in NCTHW too, of which the first view is drawn.

    It also hands the visualizer the option under the name it has there (``show_frames``).
    """

    def __init__(
        self,
        enable: bool = False,
        interval: int = 5000,
        show: bool = False,
        wait_time: float = 2,
        out_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(enable, interval, show, out_dir, wait_time=wait_time, **kwargs)
        self.draw_args['show_frames'] = self.draw_args.pop('show')

    def _draw_samples(self, batch_idx: int, data_batch: dict, data_samples: Any, step: int = 0) -> None:
        if self.enable:
            data_batch = {**data_batch, 'inputs': [first_view(clip) for clip in data_batch['inputs']]}
            super()._draw_samples(batch_idx, data_batch, data_samples, step)
