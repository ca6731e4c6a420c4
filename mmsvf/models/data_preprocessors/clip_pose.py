"""Preprocessing of pose clips."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor

from mmsvf.registry import MODELS


@MODELS.register_module()
class ClipPoseDataPreprocessor(BaseDataPreprocessor):
    """Clips (C, T, H, W) of one size to a float batch BCTHW.

    Args:
        scale: Factor of the values: 1/255 for frames, 1 for binary events. The authors use no mean
            or standard deviation.
        **kwargs: As in MMEngine's ``BaseDataPreprocessor``.
    """

    def __init__(self, scale: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Batch and scale."""
        data = self.cast_data(data)
        inputs = data['inputs'] if isinstance(data['inputs'], torch.Tensor) else torch.stack(list(data['inputs']))
        return {**data, 'inputs': inputs.float() * self.scale}
