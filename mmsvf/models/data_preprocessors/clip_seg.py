"""Preprocessing of clips for mmsegmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models import SegDataPreProcessor
from torch import Tensor

from mmsvf.registry import MODELS


@MODELS.register_module()
class ClipSegDataPreProcessor(SegDataPreProcessor):
    """mmsegmentation's preprocessor for clips (C, T, H, W), which become a batch BCTHW, and for images (C, H, W).

    Given a clip as it is, mmsegmentation's would take frames for channels: with three frames it
    would turn their order round. Colours and normalisation are done here, padding there.

    Args:
        mean: Mean of each channel, in the order after the swap; None leaves the values.
        std: Standard deviation of each channel.
        bgr_to_rgb: Swap the channels.
        **kwargs: Further arguments of ``SegDataPreProcessor`` (size, size_divisor, pad_val,
            seg_pad_val, test_cfg).

    Raises:
        ValueError: clips of different lengths in one batch, or another rank.
    """

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        bgr_to_rgb: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.swap_channels = bgr_to_rgb
        self.register_buffer('clip_mean', torch.tensor(mean or [0.0]).view(-1, 1, 1, 1), False)
        self.register_buffer('clip_std', torch.tensor(std or [1.0]).view(-1, 1, 1, 1), False)

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Colours, normalisation and padding, the same for all frames of a clip."""
        clips = self.cast_data(data['inputs'])
        ranks, images = {clip.dim() for clip in clips}, clips[0].dim() == 3
        if len(ranks) > 1 or ranks - {3, 4}:
            raise ValueError(f'images (C, H, W) or clips (C, T, H, W) expected; got {[tuple(c.shape) for c in clips]}')
        if not images and len({clip.shape[1] for clip in clips}) > 1:
            raise ValueError(
                f'clips of {[clip.shape[1] for clip in clips]} frames in one batch: test with batch_size=1, since the '
                'first frames of a video have fewer frames before them'
            )
        clips = [self._colours(clip.unsqueeze(1) if images else clip) for clip in clips]
        # mmsegmentation's padding sees images of C * T channels
        result = super().forward({**data, 'inputs': [clip.flatten(0, 1) for clip in clips]}, training)
        inputs = result['inputs'].unflatten(1, clips[0].shape[:2])
        return {**result, 'inputs': inputs.squeeze(2) if images else inputs}

    def _colours(self, clip: Tensor) -> Tensor:
        clip = clip.flip(0) if self.swap_channels else clip
        return (clip.float() - self.clip_mean) / self.clip_std
