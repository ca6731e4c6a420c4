"""Video recognizer for any number of views and videos at a time, on mmaction2's."""

from __future__ import annotations

from typing import Any

from mmaction.models.recognizers import Recognizer3D
from torch import Tensor

from mmsvf.arguments import check_filled
from mmsvf.models.finite import FiniteInputs
from mmsvf.registry import MODELS


@MODELS.register_module()
class ClipRecognizer(FiniteInputs, Recognizer3D):
    """mmaction2's ``Recognizer3D``, whose ``test_cfg.max_testing_views`` works for any batch size.

    So many views go through the backbone at a time in validation and testing. mmaction2's own stops where a batch has
    more than one video, in validation and in ``MMAction2Inferencer(batch_size=...)``. The scores are the same.
    Arguments are those of ``Recognizer3D``, and ``check_finite`` of :class:`FiniteInputs`.
    """

    def predict(self, inputs: Tensor, data_samples: list, **kwargs: Any) -> list:
        """As ``Recognizer3D.predict``, of finite values."""
        self.check_inputs(inputs)
        return super().predict(inputs, data_samples, **kwargs)

    def extract_feat(
        self, inputs: Tensor, stage: str = 'neck', data_samples: Any = None, test_mode: bool = False
    ) -> tuple:
        """Features of clips (B, views, C, T, H, W), those of all views one after the other.

        Raises:
            ValueError: no video, view or frame.
        """
        check_filled('ClipRecognizer', inputs, 'videos, views, channels, time, height, width')
        if test_mode:  # as views of one video; what takes the features apart again counts the videos itself
            inputs = inputs.flatten(0, 1).unsqueeze(0)
        return super().extract_feat(inputs, stage, data_samples, test_mode)
