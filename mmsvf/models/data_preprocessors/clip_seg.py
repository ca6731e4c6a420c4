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
    """mmsegmentation's preprocessor for clips as :class:`LoadEarlierFrames` loads them.

    An image of 3 T channels, the last frame first and the others back in time, becomes one of a batch BCTHW, oldest
    frame first, as does a clip (3, T, H, W). Images (3, H, W) become BCHW, as in mmsegmentation, whose preprocessor
    swaps the colours of three channels alone, and wants as many means as there are channels; here each frame gets the
    same. Padding is left to it.

    Args:
        mean: Mean of each channel of a frame, in the order after the swap; None leaves the values.
        std: Standard deviation of each channel.
        bgr_to_rgb: Swap the channels.
        **kwargs: Further arguments of ``SegDataPreProcessor`` (size, size_divisor, pad_val,
            seg_pad_val, test_cfg).

    Raises:
        ValueError: clips of different lengths in one batch, or no images.
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
        images = self.cast_data(data['inputs'])
        ranks = {image.dim() for image in images}
        if len(ranks) > 1 or ranks - {3, 4} or any(image.shape[0] % 3 for image in images):
            shapes = [tuple(image.shape) for image in images]
            raise ValueError(
                f'images (3, H, W), or clips of T frames as (3 T, H, W) or (3, T, H, W), expected; got {shapes}'
            )
        clips = [self._colours(_clip(image) if image.dim() == 3 else image) for image in images]
        lengths = [clip.shape[1] for clip in clips]
        if len(set(lengths)) > 1:
            raise ValueError(
                f'clips of {lengths} frames in one batch: test with batch_size=1, since the first frames of a video '
                'have fewer frames before them'
            )
        # mmsegmentation's padding sees images of C * T channels
        result = super().forward({**data, 'inputs': [clip.flatten(0, 1) for clip in clips]}, training)
        inputs = result['inputs'].unflatten(1, clips[0].shape[:2])
        picture = images[0].dim() == 3 and lengths[0] == 1
        return {**result, 'inputs': inputs.squeeze(2) if picture else inputs}

    def _colours(self, clip: Tensor) -> Tensor:
        clip = clip.flip(0) if self.swap_channels else clip
        return (clip.float() - self.clip_mean) / self.clip_std


def _clip(image: Tensor) -> Tensor:
    """A clip (C, T, H, W), oldest frame first, of an image (T C, H, W) with its last frame first."""
    return image.unflatten(0, (-1, 3)).flip(0).transpose(0, 1)
