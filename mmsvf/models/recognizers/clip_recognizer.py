"""Video recognizer for any number of views and videos at a time, on mmaction2's."""

from __future__ import annotations

from typing import Any

from mmaction.models.recognizers import Recognizer3D
from torch import Tensor

from mmsvf.registry import MODELS


@MODELS.register_module()
class ClipRecognizer(Recognizer3D):
    """mmaction2's ``Recognizer3D``, whose ``test_cfg.max_testing_views`` works for any batch size.

    So many views go through the backbone at a time in validation and testing. mmaction2's own stops where a batch has
    more than one video, in validation and in ``MMAction2Inferencer(batch_size=...)``. The scores are the same.
    Arguments are those of ``Recognizer3D``.
    """

    def extract_feat(
        self, inputs: Tensor, stage: str = 'neck', data_samples: Any = None, test_mode: bool = False
    ) -> tuple:
        """Features of clips (B, views, C, T, H, W), those of all views one after the other."""
        if test_mode:  # as views of one video; what takes the features apart again counts the videos itself
            inputs = inputs.flatten(0, 1).unsqueeze(0)
        return super().extract_feat(inputs, stage, data_samples, test_mode)
