"""Pose estimator for clips, on mmpose's base class."""

from __future__ import annotations

from typing import Any

from mmpose.models.pose_estimators.base import BasePoseEstimator
from mmpose.structures import PoseDataSample
from torch import Tensor

from mmsvf.models.finite import FiniteInputs
from mmsvf.models.streamed import StreamedModel
from mmsvf.registry import MODELS
from mmsvf.spiking.continuation import Continuation
from mmsvf.spiking.state import State


@MODELS.register_module()
class VideoPoseEstimator(StreamedModel, FiniteInputs, BasePoseEstimator):
    """Backbone and head on clips BCTHW; a prediction of each frame in ``pred_instances``.

    Arguments are those of mmpose's ``BasePoseEstimator`` (backbone, neck, head, data_preprocessor), and
    ``check_finite`` of :class:`FiniteInputs`.
    """

    sample_type = PoseDataSample

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses of a batch of clips."""
        return self.head.loss(self.extract_feat(inputs), data_samples, train_cfg=self.train_cfg)

    def predict(self, inputs: Tensor, data_samples: list) -> list:
        """The data samples with the predictions, of finite values."""
        self.check_inputs(inputs)
        for sample, instances in zip(data_samples, self.head.predict(self.extract_feat(inputs), data_samples)):
            sample.pred_instances = instances
        return data_samples

    def step(self, inputs: Tensor, state: State | None = None, data_samples: list | None = None) -> tuple[list, State]:
        """The pose in the next frame of each video, and the state that the one after it needs.

        Args:
            inputs: The frames (B, C, H, W), normalised.
            state: What the last step returned; None before the first frame.
            data_samples: Where the poses go; None: into new ones.

        Returns:
            Data samples whose ``pred_instances`` are those of :meth:`predict`, of one frame.

        Raises:
            ValueError: a model that cannot go frame by frame, or a state of other frames or another model.
        """
        self.check_inputs(inputs)
        run = Continuation(state)
        samples = self.samples(inputs, data_samples)
        poses = run.of(self.head, 'head').predict(self.features(run, inputs), samples)
        for sample, instances in zip(samples, poses):
            sample.pred_instances = instances
        return samples, run.state(inputs, 1)

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Any:
        return self.head.forward(self.extract_feat(inputs))
