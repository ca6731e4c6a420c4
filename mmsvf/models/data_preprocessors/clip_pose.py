"""Preprocessing of pose clips."""

from __future__ import annotations

from typing import Any

from mmpose.models.data_preprocessors import PoseDataPreprocessor

from mmsvf.registry import MODELS


@MODELS.register_module()
class ClipPoseDataPreprocessor(PoseDataPreprocessor):
    """mmpose's preprocessor for clips (C, T, H, W) to BCTHW, and for pictures (C, H, W) to BCHW, times a factor.

    The authors use no mean or standard deviation. A factor rather than ``std=[255]``, since the quotient rounds half of
    the grey values otherwise, and one flipped spike changes all that follows; and mmpose's takes no batch of clips that
    is one tensor.

    Args:
        scale: Factor of the values: 1/255 for frames, 1 for binary events.
        **kwargs: As in mmpose's ``PoseDataPreprocessor``.

    Raises:
        ValueError: samples of several shapes; or a picture, from elsewhere than the data set, for a model of events.
    """

    def __init__(self, scale: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Batch and scale."""
        inputs = list(data['inputs'])
        samples = [sample for sample in data.get('data_samples') or [] if sample is not None]
        shapes = {tuple(x.shape) for x in inputs}
        if len(shapes) > 1:
            raise ValueError(f'a batch of shapes {sorted(shapes)}; its clips must have one length and one size')
        if self.scale == 1 and any('modality' not in sample and x.max() > 1 for x, sample in zip(inputs, samples)):
            raise ValueError(
                f'a picture with values up to {max(int(x.max()) for x in inputs)} for a model of events, which takes '
                'binary clips (T, 256, 256, 3) such as mmsvf.BinEvents makes; tools/track_pose.py takes recordings '
                '(.npz) of events. A model of frames has model.data_preprocessor.scale=1/255'
            )
        result = super().forward({**data, 'inputs': inputs, 'data_samples': samples}, training)
        return {**data, **result, 'inputs': result['inputs'] * self.scale}
