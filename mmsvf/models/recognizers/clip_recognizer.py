"""Video recognizer for any number of views and videos at a time, on mmaction2's."""

from __future__ import annotations

from typing import Any

import torch
from mmaction.models.recognizers import Recognizer3D
from mmaction.structures import ActionDataSample
from torch import Tensor

from mmsvf.arguments import check_count, check_filled
from mmsvf.models.chunked import ChunkedTraining
from mmsvf.models.finite import FiniteInputs
from mmsvf.models.streamed import last_of
from mmsvf.registry import MODELS
from mmsvf.spiking.continuation import Continuation
from mmsvf.spiking.state import State


@MODELS.register_module()
class ClipRecognizer(ChunkedTraining, FiniteInputs, Recognizer3D):
    """mmaction2's ``Recognizer3D``, whose ``test_cfg.max_testing_views`` works for any batch size.

    So many views go through the backbone at a time in validation and testing. mmaction2's own stops where a batch has
    more than one video, in validation and in ``MMAction2Inferencer(batch_size=...)``. The scores are the same.
    Arguments are those of ``Recognizer3D``, ``check_finite`` of :class:`FiniteInputs`, and ``chunk_frames`` of
    :class:`ChunkedTraining`: the loss of a chunk is that of the mean score up to its end, which is what :meth:`step`
    says there; that of the last one is the loss of the clip.
    """

    sample_type = ActionDataSample
    views = True

    def test_step(self, data: Any) -> list:
        """As ``Recognizer3D.test_step``, of what a test-time augmentation hands on as well.

        Reason: MMEngine's ``BaseTTAModel`` gives tuples, which mmaction2's preprocessor refuses.
        """
        if isinstance(data, dict) and isinstance(data['inputs'], tuple):
            data = {**data, 'inputs': list(data['inputs'])}
        return super().test_step(data)

    def predict(self, inputs: Tensor, data_samples: list, **kwargs: Any) -> list:
        """As ``Recognizer3D.predict``, of finite values."""
        self.check_inputs(inputs)
        return super().predict(inputs, data_samples, **kwargs)

    def loss(self, inputs: Tensor, data_samples: list, **kwargs: Any) -> dict:
        """As ``Recognizer3D.loss``, in chunks if they are asked for."""
        if self.chunk_frames is None:
            return super().loss(inputs, data_samples, **kwargs)
        return self.losses_in_chunks(inputs.flatten(0, 1), data_samples)

    def chunk_losses(self, run: Continuation, maps: Tensor, data_samples: list, first: int) -> dict[str, Tensor]:
        """Losses of the mean score so far; scores of earlier chunks are part of it, without a gradient."""
        scores = self._frame_scores(run, maps)
        before = run.past('scores')
        total = scores.sum(0, dtype=torch.promote_types(scores.dtype, torch.float32)) + (
            0 if before is None else before['total']
        )
        run.keep('scores', dict(total=total))
        return self.cls_head.loss_by_feat(total / (first + len(scores)), data_samples)

    def _frame_scores(self, run: Continuation, maps: Tensor) -> Tensor:
        """Scores (T, B, classes) of each frame.

        Raises:
            ValueError: the head has none.
        """
        if not hasattr(self.cls_head, 'frame_scores'):
            raise ValueError(f'{type(self.cls_head).__name__} has no scores of a frame; mmsvf.SpikeClsHead has')
        return run.of(self.cls_head, 'cls_head').frame_scores(maps)

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

    def step(
        self, inputs: Tensor, state: State | None = None, data_samples: list | None = None, recent: int = 8
    ) -> tuple[list, State]:
        """Scores after the next frame of each video, and the state that the one after it needs.

        Args:
            inputs: The frames (B, C, H, W), normalised.
            state: What the last step returned; None before the first frame.
            data_samples: Where the scores go; None: into new ones.
            recent: How many of the last frames ``recent_score`` is of.

        Returns:
            Data samples with ``pred_score`` and ``pred_label``, of all frames so far, as of the whole video, and
            ``recent_score``, of the last ones alone.

        Raises:
            ValueError: a model that cannot go frame by frame, or a state of other frames or another model.
        """
        check_count('recent', recent)
        self.check_inputs(inputs)
        run = Continuation(state)
        scores = self._frame_scores(run, self.features(run, inputs))[0]
        before = run.past('scores')
        total = scores.double() + (0 if before is None else before['total'])
        run.keep('scores', dict(total=total))
        last = last_of(run, 'recent scores', recent, scores=scores)['scores']
        after = run.state(inputs, 1)
        mean = (total / after.frames.unsqueeze(1)).to(scores.dtype)
        recently = last.sum(1) / after.frames.clamp(max=recent).unsqueeze(1)
        samples = self.cls_head.predict_by_feat(mean, self.samples(inputs, data_samples))
        for sample, score in zip(samples, self.cls_head.average_clip(recently)):
            sample.set_field(score, 'recent_score')
        return samples, after
