"""Classification head on spikes, for mmaction2's recognizers."""

from __future__ import annotations

from typing import Any

import torch
from mmaction.models.heads import BaseHead
from torch import Tensor, nn

from mmsvf.arguments import check_count, check_filled, check_labels
from mmsvf.registry import MODELS
from mmsvf.spiking.neuron import NeuronSpec, build_neuron


@MODELS.register_module()
class SpikeClsHead(BaseHead):
    """Space mean -> LIF -> linear -> mean over time (the authors' head).

    Args:
        num_classes: Classes.
        in_channels: Channels of the backbone's last stage.
        neuron: See :func:`mmsvf.spiking.build_neuron`; None, as in Spikformer, SEW-ResNet and networks without
            spikes: the mean goes to the linear layer as it is.
        average_clips: How the scores of a video's views are averaged: 'prob' after softmax,
            'score' before it.
        init_cfg: MMEngine's initialisation config; the default is the authors'.
        **kwargs: Further arguments of mmaction2's ``BaseHead`` (loss_cls, label_smooth_eps, topk).

    Example:
        >>> from mmsvf.models import SpikeClsHead
        >>> SpikeClsHead(num_classes=400, in_channels=360)(torch.randn(2, 360, 4, 7, 7)).shape
        torch.Size([2, 400])
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        neuron: NeuronSpec | None = 'official',
        average_clips: str = 'prob',
        init_cfg: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        check_count('num_classes', num_classes)
        init_cfg = init_cfg or dict(type='TruncNormal', layer='Linear', std=0.02)
        super().__init__(num_classes, in_channels, average_clips=average_clips, init_cfg=init_cfg, **kwargs)
        self.lif = build_neuron(neuron)
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Scores (views, num_classes) of features (views, C, T, H, W).

        Raises:
            ValueError: another rank or width, or no features.
        """
        return self.frame_scores(x).mean(0)

    def frame_scores(self, x: Tensor) -> Tensor:
        """Scores (T, views, num_classes) of each frame; arguments and errors as of :meth:`forward`."""
        if not isinstance(x, Tensor) or x.dim() != 5 or x.shape[1] != self.in_channels:
            got = tuple(x.shape) if isinstance(x, Tensor) else f'a {type(x).__name__}'
            raise ValueError(
                f'SpikeClsHead(in_channels={self.in_channels}) takes one feature map (views, {self.in_channels} '
                f"channels, time, height, width); got {got}: set cls_head.in_channels to the backbone's out_channels "
                "and backbone.output='tensor'"
            )
        check_filled('SpikeClsHead', x, 'views, channels, time, height, width')
        spikes = self.lif(x.mean((3, 4)).permute(2, 0, 1))
        return self.fc(spikes)

    def loss_by_feat(self, cls_scores: Tensor, data_samples: list) -> dict[str, Tensor]:
        """As ``BaseHead``'s, which takes no bfloat16.

        Raises:
            ValueError: a label that is no class.
        """
        check_labels(torch.stack([sample.gt_label for sample in data_samples]), self.num_classes)
        return super().loss_by_feat(cls_scores.to(torch.promote_types(cls_scores.dtype, torch.float32)), data_samples)
