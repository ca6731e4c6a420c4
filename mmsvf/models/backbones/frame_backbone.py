"""An image backbone on the frames of a clip."""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModule
from torch import Tensor

from mmsvf.arguments import check_filled
from mmsvf.registry import MODELS


@MODELS.register_module()
class FrameBackbone(BaseModule):
    """Any image backbone on each frame of a clip, for a neck that joins them.

    Args:
        backbone: Config of an image backbone that returns a tuple, such as ``dict(type='mmpose.ResNet', depth=50)``.
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(self, backbone: dict[str, Any], init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(backbone)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Feature maps BCTHW of a clip BCTHW.

        Raises:
            ValueError: another rank, or an empty clip.
        """
        if x.dim() != 5:
            raise ValueError(
                f'FrameBackbone takes a clip (batch, channels, time, height, width); got shape {tuple(x.shape)}'
            )
        check_filled('FrameBackbone', x, 'batch, channels, time, height, width')
        batch = len(x)
        x = x.to(next(self.parameters()).dtype)  # preprocessors give fp32 whatever the model is in
        maps = self.backbone(x.transpose(1, 2).flatten(0, 1))
        return tuple(y.unflatten(0, (batch, -1)).transpose(1, 2) for y in maps)
