"""Pose estimator for clips, on mmpose's base class."""

from __future__ import annotations

from typing import Any

from mmpose.models.pose_estimators.base import BasePoseEstimator
from torch import Tensor

from mmsvf.models.finite import FiniteInputs
from mmsvf.registry import MODELS


@MODELS.register_module()
class VideoPoseEstimator(FiniteInputs, BasePoseEstimator):
    """Backbone and head on clips BCTHW; a prediction of each frame in ``pred_instances``.

    Arguments are those of mmpose's ``BasePoseEstimator`` (backbone, neck, head, data_preprocessor), and
    ``check_finite`` of :class:`FiniteInputs`.
    """

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses of a batch of clips."""
        return self.head.loss(self.extract_feat(inputs), data_samples, train_cfg=self.train_cfg)

    def predict(self, inputs: Tensor, data_samples: list) -> list:
        """The data samples with the predictions, of finite values."""
        self.check_inputs(inputs)
        for sample, instances in zip(data_samples, self.head.predict(self.extract_feat(inputs), data_samples)):
            sample.pred_instances = instances
        return data_samples

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Any:
        return self.head.forward(self.extract_feat(inputs))
