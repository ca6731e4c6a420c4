"""One continuous track of a body's pose through a source of any length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from torch import Tensor

from mmsvf.body import matrix_to_axis_angle, nearest_rotation, project
from mmsvf.datasets.mmhpsd import ACTION
from mmsvf.models.pose_estimators.video_pose_estimator import VideoPoseEstimator

from .person import PersonChooser
from .pose_steps import Action, EventsFile, Step, StepSource, steps_of
from .predictor import Predictor
from .records import ARRAYS, PoseRecord
from .sources import EVENTS, Source, SourceLike
from .stream import Stream
from .windows import blended


class PosePredictor(Predictor):
    """A body's pose, a record a time step: frame by frame, or by overlapping windows of as many steps as in training.

    Of frames the model sees a grey square. Sources are also a .npz of events with x, y (of 256 x 256 pixels) and t
    (microseconds), and an action of the config's data set (subjectNN_groupG_timeK).

    Args:
        model, cfg: See :class:`Predictor`.
        step: Seconds between time steps; the test data set's by default.
        window: Time steps of a window; the test data set's by default.
        overlap: Share of a window that the next one sees again; None: 0.5.
        windows: Have a model see windows that could go frame by frame.
        person: What chooses the square; the one in the middle by default.

    Raises:
        ValueError: another model of mmpose's than a :class:`VideoPoseEstimator`.
    """

    scope = 'mmpose'

    def __init__(
        self,
        model: Any,
        cfg: Config,
        step: float | None = None,
        window: int | None = None,
        overlap: float | None = None,
        windows: bool = False,
        person: PersonChooser | None = None,
    ) -> None:
        if not isinstance(model, VideoPoseEstimator):
            raise ValueError(
                f'a {type(model).__name__} is not predicted here, a mmsvf.VideoPoseEstimator is (docs/pose.md); '
                "take mmpose's MMPoseInferencer(pose2d=CONFIG, pose2d_weights=CHECKPOINT)"
            )
        super().__init__(model, cfg)
        self.choose(windows, window=window, overlap=overlap)
        data = self.dataset
        self.step = step or data.durations[0] / data.time_steps
        self.overlap = 0.5 if overlap is None else overlap
        self.window, self.modality = window or data.time_steps, data.modality
        self.person = person or PersonChooser()
        pipeline = [transform for transform in data.pipeline if not transform['type'].endswith('PackPoseClip')]
        self._tracker = WindowTracker(model, self.modality, pipeline)

    def open(self, source: SourceLike, fps: float = 25.0) -> Source:
        """As :meth:`Predictor.open`, also of events and of actions of the data set.

        Raises:
            ValueError: the source is of the other modality.
        """
        if isinstance(source, (str, Path)):
            path = Path(source)
            if self.takes(str(source)):
                return Action(str(source), self.modality, self.step, self.dataset.data_root)
            if path.exists() and (path.suffix == EVENTS) != (self.modality == 'events'):
                raise ValueError(
                    f'{source} has events, and the model takes frames; take a model trained with events'
                    if path.suffix == EVENTS
                    else f'{source} is no .npz, and the model takes events: give a .npz with x, y and t'
                )
            if path.suffix == EVENTS:
                return EventsFile(path, self.step)
        elif self.modality == 'events' and not isinstance(source, StepSource):
            raise ValueError('the model takes events: give a .npz with x, y and t, or an action of the data set')
        return super().open(source, fps)

    def takes(self, name: str) -> bool:
        """Whether a name that no file has is an action's."""
        return ACTION.fullmatch(name) is not None and not Path(name).exists()

    def expected(self, source: Source) -> int | None:
        """Number of time steps to come, if it is known."""
        if source.length is None or isinstance(source, StepSource):
            return source.length
        return int((source.length - 1) / source.fps / self.step) + 1

    def output_fps(self, source: Source) -> float:
        """Time steps a second."""
        return source.fps if isinstance(source, StepSource) else 1 / self.step

    def predict(self, source: Source) -> Iterator[PoseRecord]:
        """Predict an open source, lazily."""
        steps = steps_of(source, self.step, self.person)
        if self.frame_by_frame:
            stream, state = Stream(self.model, fuse=False), None
            for step in steps:
                samples, state = stream.step(self._tracker.clip(step.picture[None])[:, 0][None], state)
                said = samples[0].pred_instances
                arrays = {name: said.get(name)[0].float().cpu().numpy() for name in ARRAYS}
                yield PoseRecord(step.frame, step.last, step.square, step.chosen, truth=step.truth, **arrays)
            return
        for step, values in blended(steps, self.window, self.overlap, self._run):
            arrays = {name: value[0].cpu().numpy() for name, value in self._tracker.joined(values).items()}
            yield PoseRecord(step.frame, step.last, step.square, step.chosen, truth=step.truth, **arrays)

    def _run(self, window: list[Step]) -> dict[str, Tensor]:
        return self._tracker(np.stack([step.picture for step in window]))


class WindowTracker:
    """What a model says of a window, and of what is blended of windows.

    Args:
        model: :class:`mmsvf.models.VideoPoseEstimator` with an :class:`SMPLHead`.
        modality: 'frames' or 'events'.
        pipeline: Transforms of the pictures, such as ``[dict(type='mmsvf.ResizeClip', size=64)]``.
    """

    def __init__(self, model: Any, modality: str, pipeline: Sequence[dict]) -> None:
        self.model, self.modality, self.pipeline = model, modality, Compose(list(pipeline))

    def clip(self, pictures: np.ndarray) -> Tensor:
        """What the data preprocessor takes, (C, T, H, W), of pictures uint8 (T, 256, 256, 3)."""
        clip = self.pipeline(dict(img=pictures, modality=self.modality))['img']
        return torch.from_numpy(np.ascontiguousarray(clip.transpose(3, 0, 1, 2)))

    @torch.no_grad()
    def __call__(self, pictures: np.ndarray) -> dict[str, Tensor]:
        """Rotations (T, 24, 3, 3), shape and translation of pictures uint8 (T, 256, 256, 3)."""
        inputs = self.model.data_preprocessor(dict(inputs=[self.clip(pictures)]))['inputs']
        output = self.model.head(self.model.extract_feat(inputs))
        return {name: output[name][0].float() for name in ('pose', 'shape', 'translation')}

    @torch.no_grad()
    def joined(self, means: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of a step's means the pose (the chordal mean: rotations again) and the joints of the body in it, (1, ...)."""
        pose = nearest_rotation(means['pose'][None])
        shape, translation = means['shape'][None], means['translation'][None]
        joints = self.model.head.body(pose, shape, translation).joints
        pixels = project(joints, self.model.head.intrinsics)
        values = (joints, translation, pixels, matrix_to_axis_angle(pose), shape)
        return dict(zip(ARRAYS, values))


def track_pose(
    model: Any,
    pictures: np.ndarray,
    window: int,
    overlap: float = 0.5,
    modality: str = 'frames',
    pipeline: Sequence[dict] = (),
) -> dict[str, np.ndarray]:
    """Track a body through pictures: overlapping windows of time steps, blended into one.

    Args:
        model: :class:`mmsvf.models.VideoPoseEstimator` with an :class:`SMPLHead`.
        pictures: uint8 (T, 256, 256, 3), of frames or events.
        window: Time steps of a window, as trained.
        overlap: Share of a window that the next one sees again.
        modality: 'frames' or 'events', what the pictures are.
        pipeline: Transforms of the pictures.

    Returns:
        Arrays by name, in metres, radians and pixels of 256 x 256; the camera looks along z, x is
        right and y down: joints_3d (T, 24, 3), translation (T, 3), joints_2d (T, 24, 2), pose
        (T, 24, 3) as axis-angle, shape (T, 10).
    """
    tracker = WindowTracker(model.eval(), modality, pipeline)
    steps = [tracker.joined(m) for _, m in blended(pictures, window, overlap, lambda w: tracker(np.stack(w)))]
    return {name: np.concatenate([step[name].cpu().numpy() for step in steps]) for name in ARRAYS}
