"""Pose estimator for clips, on mmpose's base class."""

from __future__ import annotations

from typing import Any

from mmengine.structures import InstanceData
from mmpose.models.pose_estimators.base import BasePoseEstimator
from mmpose.structures import PoseDataSample
from torch import Tensor

from mmsvf.models.chunked import ChunkedTraining
from mmsvf.models.finite import FiniteInputs
from mmsvf.registry import MODELS
from mmsvf.spiking.continuation import Continuation
from mmsvf.spiking.state import State


@MODELS.register_module()
class VideoPoseEstimator(ChunkedTraining, FiniteInputs, BasePoseEstimator):
    """Backbone and head on clips BCTHW; a prediction of each frame in ``pred_instances``.

    A picture (B, C, H, W) is a clip in which nothing moves: it is shown ``time_steps`` times, and the pose of the last
    step, which has seen the others, is its one prediction. Pictures, and videos frame by frame, are what mmpose's
    ``inference_topdown``, ``MMPoseInferencer`` and ``get_flops.py`` hand over. (mmpose's ``TopdownPoseEstimator`` moves
    key points from a crop's pixels to the picture's, which metres are not.)

    Args:
        *args: As of mmpose's ``BasePoseEstimator`` (backbone, neck, head, data_preprocessor, ...).
        time_steps: How often a picture is shown: the time steps of the training's clips.
        **kwargs: As ``args``, ``check_finite`` of :class:`FiniteInputs`, and ``chunk_frames`` of
            :class:`ChunkedTraining`: a frame's loss is that of its own pose.

    Raises:
        ValueError: no such number of time steps.
    """

    sample_type = PoseDataSample

    def __init__(self, *args: Any, time_steps: int = 8, **kwargs: Any) -> None:
        if type(time_steps) is not int or time_steps < 1:
            raise ValueError(f'time_steps={time_steps!r}; a whole number of time steps, at least 1')
        super().__init__(*args, **kwargs)
        self.time_steps = time_steps

    def extract_feat(self, inputs: Tensor) -> Any:
        """Features of clips BCTHW, or of pictures BCHW shown ``time_steps`` times."""
        clips = inputs.unsqueeze(2).expand(-1, -1, self.time_steps, -1, -1) if inputs.dim() == 4 else inputs
        return super().extract_feat(clips)

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses of a batch of clips, in chunks if they are asked for."""
        if self.chunk_frames is not None:
            return self.losses_in_chunks(inputs, data_samples)
        return self.head.loss(self.extract_feat(inputs), data_samples, train_cfg=self.train_cfg)

    def chunk_losses(self, run: Continuation, maps: Any, data_samples: list, first: int) -> dict[str, Tensor]:
        """Losses of the poses of a chunk's frames."""
        frames = slice(first, first + maps[-1].shape[2])
        samples = []
        for sample in data_samples:
            samples.append(PoseDataSample(gt_instance_labels=sample.gt_instance_labels[frames]))
        return run.of(self.head, 'head').loss(maps, samples, train_cfg=self.train_cfg)

    def predict(self, inputs: Tensor, data_samples: list) -> list:
        """The data samples with the predictions, of finite values.

        To those of the head come ``transformed_keypoints`` (T, 24, 2), the 2D joints in pixels of the picture that was
        given, which mmpose's visualizer draws, and the boxes of ``gt_instances``.
        """
        self.check_inputs(inputs)
        predictions = self.head.predict(self.extract_feat(inputs), data_samples)
        for sample, instances in zip(data_samples, predictions):
            sample.pred_instances = in_the_picture(instances[-1:] if inputs.dim() == 4 else instances, sample)
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
            sample.pred_instances = in_the_picture(instances, sample)
        return samples, run.state(inputs, 1)

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Any:
        return self.head.forward(self.extract_feat(inputs))


def in_the_picture(instances: InstanceData, sample: Any) -> InstanceData:
    """Predictions with ``transformed_keypoints`` and the sample's boxes."""
    pixels = instances.joints_2d.float().cpu().numpy()
    if 'input_center' in sample:
        scale = sample.input_scale
        pixels = pixels / sample.input_size * scale + sample.input_center - scale / 2
    instances.transformed_keypoints = pixels
    truth = sample.get('gt_instances', {})
    for name in ('bboxes', 'bbox_scores'):
        if name in truth:
            instances.set_field(truth[name], name)
    return instances
