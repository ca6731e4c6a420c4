"""Knowledge distillation for image pre-training (Meta-SpikeFormer's recipe for four time steps)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mmengine.model import BaseModule
from mmpretrain.models.classifiers import ImageClassifier
from torch import Tensor

from mmsvf.models.finite import FiniteInputs
from mmsvf.registry import MODELS


@MODELS.register_module()
class DistilledImageClassifier(FiniteInputs, ImageClassifier):
    """Image classifier whose head has a second layer that learns from a teacher.

    loss = (1 - alpha) * loss of the head + alpha * loss of the second layer against the teacher.
    The teacher is not part of the checkpoint, of the optimizer or of the count of parameters, and
    is built when training starts, so that a test neither needs nor downloads it.

    Args:
        teacher: Config of the teacher, any classifier of mmpretrain for the same classes and
            the same normalisation, with its weights: ``init_cfg=dict(type='Pretrained', ...)``,
            or ``dict(type='TimmClassifier', model_name=..., pretrained=True)``.
        distillation: 'hard' learns the teacher's label, 'soft' its softened scores.
        alpha: Share of the teacher, in [0, 1].
        temperature: Softening of 'soft'.
        **kwargs: As in mmpretrain's ``ImageClassifier``; the head is :class:`SpikeImageClsHead`
            with ``distilled=True``. Also ``check_finite`` of :class:`FiniteInputs`.

    Raises:
        ValueError: an unknown ``distillation``, or ``alpha`` outside [0, 1].
    """

    def __init__(
        self,
        teacher: dict[str, Any],
        distillation: str = 'hard',
        alpha: float = 0.5,
        temperature: float = 1.0,
        **kwargs: Any,
    ) -> None:
        if distillation not in ('hard', 'soft'):
            raise ValueError(f"distillation={distillation!r}; choose 'hard' (the teacher's label) or 'soft'")
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha={alpha!r}: the teacher's share of the loss, from 0 to 1")
        super().__init__(**kwargs)
        self.options = dict(kind=distillation, alpha=alpha, tau=temperature)
        self.teacher_cfg = teacher
        self._teacher: list[BaseModule] = []  # in a list, so that it is no sub-module: not saved, trained or wrapped

    @property
    def teacher(self) -> BaseModule:
        """The teacher in evaluation on the same device; built with its weights when first asked for."""
        if not self._teacher:
            teacher = MODELS.build(self.teacher_cfg)
            teacher.init_weights()
            self._teacher.append(teacher.eval().requires_grad_(False).to(next(self.parameters()).device))
        return self._teacher[0]

    def init_weights(self) -> None:
        """As ``ImageClassifier``'s; builds the teacher, too."""
        super().init_weights()
        _ = self.teacher  # weights that are missing end a run before it starts

    def _apply(self, fn: Callable, *args: Any, **kwargs: Any) -> DistilledImageClassifier:
        for teacher in self._teacher:  # it follows to another device
            teacher._apply(fn, *args, **kwargs)
        return super()._apply(fn, *args, **kwargs)

    def predict(self, inputs: Tensor, data_samples: list | None = None, **kwargs: Any) -> list:
        """As ``ImageClassifier.predict``, of finite values."""
        self.check_inputs(inputs)
        return super().predict(inputs, data_samples, **kwargs)

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses of a batch of images (B, C, H, W)."""
        with torch.no_grad():
            scores = self.teacher(inputs)
        return self.head.distillation_loss(self.extract_feat(inputs), data_samples, scores, **self.options)
