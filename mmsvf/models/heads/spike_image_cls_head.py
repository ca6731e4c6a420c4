"""Classification head on spikes, for mmpretrain's image classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models.heads import LinearClsHead
from torch import Tensor, nn

from mmsvf.arguments import check_count, check_filled, check_labels
from mmsvf.registry import MODELS
from mmsvf.spiking.neuron import NeuronSpec, build_neuron


def check_temporal(weight: float, mean: float = 1.0) -> tuple[float, float]:
    """Options of temporal efficient training."""
    if not 0 <= weight <= 1:
        raise ValueError(f'temporal weight={weight}; from 0 to 1')
    return weight, mean


@MODELS.register_module()
class SpikeImageClsHead(LinearClsHead):
    """Space mean -> LIF -> linear -> mean over time (the authors' head), optionally two for distillation.

    With ``distilled`` a second linear layer ``fc_kd`` learns from a teacher
    (:class:`DistilledImageClassifier`), and the scores are the mean of both.

    Args:
        num_classes: Classes.
        in_channels: Channels of the backbone's last stage.
        neuron: See :func:`mmsvf.spiking.build_neuron`; None, as in Spikformer, SEW-ResNet and networks without
            spikes: the mean goes to the linear layer as it is.
        distilled: Whether there is a second layer for the teacher.
        temporal: ``dict(weight=0.001, mean=1.0)`` for temporal efficient training (TET, ICLR 2022): the loss is the
            mean of each step's, with weight 1 - ``weight``, plus ``weight`` times the squared distance of the scores
            from ``mean``. None: the loss of the mean score.
        init_cfg: MMEngine's initialisation config; the default is the authors'.
        **kwargs: Further arguments of mmpretrain's ``ClsHead`` (loss, topk, cal_acc).
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        neuron: NeuronSpec | None = 'official',
        distilled: bool = False,
        temporal: dict[str, float] | None = None,
        init_cfg: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        check_count('num_classes', num_classes)
        init_cfg = init_cfg or dict(type='TruncNormal', layer='Linear', std=0.02)
        super().__init__(num_classes, in_channels, init_cfg=init_cfg, **kwargs)
        self.lif = build_neuron(neuron)
        self.fc_kd = nn.Linear(in_channels, num_classes) if distilled else None
        self.temporal = check_temporal(**temporal) if temporal else None

    def pre_logits(self, feats: Sequence[Tensor]) -> Tensor:
        """Spikes (T, B, C) of the last of the feature maps (B, C, T, H, W).

        Raises:
            ValueError: another rank or width, or no features.
        """
        x = feats[-1]
        if isinstance(feats, Tensor) or x.dim() != 5 or x.shape[1] != self.in_channels:
            got = f'one tensor {tuple(feats.shape)}' if isinstance(feats, Tensor) else [tuple(f.shape) for f in feats]
            raise ValueError(
                f'SpikeImageClsHead(in_channels={self.in_channels}) takes a tuple whose last feature map is (batch, '
                f"{self.in_channels} channels, time, height, width); got {got}: set head.in_channels to the backbone's "
                "out_channels, backbone.output='tuple' and backbone.keep_time=True"
            )
        check_filled('SpikeImageClsHead', x, 'batch, channels, time, height, width')
        return self.lif(x.mean((3, 4)).permute(2, 0, 1))

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Scores (B, num_classes)."""
        spikes = self.pre_logits(feats)
        scores = self.fc(spikes).mean(0)
        return scores if self.fc_kd is None else (scores + self.fc_kd(spikes).mean(0)) / 2

    def loss(self, feats: Sequence[Tensor], data_samples: list, **kwargs: Any) -> dict[str, Tensor]:
        """Loss of the mean score, or of each step's."""
        if self.temporal is None:
            return super().loss(feats, data_samples, **kwargs)
        weight, mean = self.temporal
        scores = self.fc(self.pre_logits(feats))
        losses = self._get_loss(scores.flatten(0, 1), data_samples * len(scores), **kwargs)
        losses['loss'] = (1 - weight) * losses['loss']
        losses['loss_mse'] = weight * (scores - mean).square().mean()
        return losses

    def _get_loss(self, cls_score: Tensor, data_samples: list, **kwargs: Any) -> dict[str, Tensor]:
        """As ``ClsHead``'s, but a label that is no class raises ValueError."""
        if 'gt_score' not in data_samples[0]:
            check_labels(torch.cat([sample.gt_label for sample in data_samples]), self.num_classes)
        return super()._get_loss(cls_score, data_samples, **kwargs)

    def distillation_loss(
        self, feats: Sequence[Tensor], data_samples: list, teacher: Tensor, kind: str, alpha: float, tau: float
    ) -> dict[str, Tensor]:
        """Loss of both layers; arguments as in :class:`DistilledImageClassifier`.

        Args:
            feats: As in :meth:`pre_logits`.
            data_samples: mmpretrain's, with labels.
            teacher: Scores (B, num_classes) of the teacher, before softmax.
            kind, alpha, tau: the classifier's ``distillation``, ``alpha`` and ``temperature``.
        """
        if self.fc_kd is None:
            raise ValueError('distillation needs the second layer of the head: set head.distilled=True')
        spikes = self.pre_logits(feats)
        losses = self._get_loss(self.fc(spikes).mean(0), data_samples)
        scores = self.fc_kd(spikes).mean(0)
        if kind == 'hard':
            distillation = F.cross_entropy(scores, teacher.argmax(1))
        else:
            student, target = F.log_softmax(scores / tau, 1), F.log_softmax(teacher / tau, 1)
            distillation = F.kl_div(student, target, reduction='batchmean', log_target=True) * tau**2
        losses['loss'] = (1 - alpha) * losses['loss']
        losses['loss_kd'] = alpha * distillation
        return losses
