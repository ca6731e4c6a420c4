"""Regression of a body's pose, shape and translation from spikes, for mmpose (docs/faithfulness.md, D40 and D43)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData
from mmpose.models.heads import BaseHead
from torch import Tensor, nn

from mmsvf.arguments import check_filled
from mmsvf.body import (
    JOINTS,
    MMHPSD_INTRINSICS,
    SkinnedBody,
    axis_angle_to_matrix,
    embedded_body,
    load_smpl,
    matrix_to_axis_angle,
    project,
    rotation_6d_to_matrix,
)
from mmsvf.precision import FullPrecision, full_precision
from mmsvf.registry import MODELS
from mmsvf.spiking.neuron import NeuronSpec, build_neuron

SHAPES = 10
TARGETS = ('pose', 'shape', 'translation', 'joints_3d', 'joints_2d')


@MODELS.register_module()
class SMPLHead(FullPrecision, BaseHead):
    """LIF -> space mean -> three linear layers: 24 x 6 for the pose, 10 for the shape, 3 for the translation.

    Spikes first, then pooling (App. H; D43): what the linear layers see is the share of the pixels that fired. The
    classification heads have it the other way round.

    Args:
        in_channels: Channels of the backbone's last stage.
        body: File of the user's SMPL body (.pkl or .npz, :func:`mmsvf.body.load_smpl`); None takes
            the embedded figure, which is not SMPL: right for the embedded default alone.
        neuron: See :func:`mmsvf.spiking.build_neuron`; None, as in Spikformer, SEW-ResNet and networks without
            spikes: the mean goes to the linear layer as it is.
        loss: Config of the loss.
        intrinsics: (fx, fy, cx, cy) in pixels.
        image_size: Side of the image in pixels, by which 2D joints are divided.
        detach_translation: Whether the losses of the joints leave the translation alone, as in
            the authors' code (D40).
        start: Translation in metres from which training starts: a person in front of the camera,
            upright and facing it (the paper does not say).
        init_cfg: MMEngine's initialisation config.
    """

    def __init__(
        self,
        in_channels: int,
        body: str | os.PathLike | None = None,
        neuron: NeuronSpec | None = 'official',
        loss: dict[str, Any] | None = None,
        intrinsics: Sequence[float] = MMHPSD_INTRINSICS,
        image_size: int = 256,
        detach_translation: bool = True,
        start: Sequence[float] = (0.0, 0.0, 3.0),
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='TruncNormal', layer='Linear', std=0.02))
        self.in_channels, self.image_size, self.detach_translation = in_channels, image_size, detach_translation
        self.start = tuple(start)
        self.body_file = body
        # a file that is not there is an error when training or prediction starts, not when a config is looked at
        self.body = embedded_body() if body is None else load_smpl(body) if os.path.isfile(body) else None
        self.lif = build_neuron(neuron)
        self.pose = nn.Linear(in_channels, 6 * len(JOINTS))
        self.shape = nn.Linear(in_channels, SHAPES)
        self.translation = nn.Linear(in_channels, 3)
        self.loss_module = MODELS.build(loss or dict(type='SMPLLoss'))
        self.intrinsics: Tensor
        self.register_buffer('intrinsics', torch.tensor(intrinsics), persistent=False)

    def init_weights(self) -> None:
        """As ``BaseModule``'s; then the biases say an upright person in front of the camera."""
        super().init_weights()
        self._body()
        with torch.no_grad():
            upright = torch.tensor([1.0, 0, 0, 0, 1, 0]).repeat(len(JOINTS))
            upright[4] = -1.0  # the root: the camera's y points down
            self.pose.bias.copy_(upright)
            self.translation.bias.copy_(torch.tensor(self.start))

    def _body(self) -> SkinnedBody:
        """The body; FileNotFoundError if its file is missing."""
        if self.body is None:
            assert self.body_file is not None
            self.body = load_smpl(self.body_file).to(self.intrinsics.device)
        return self.body

    def forward(self, feats: Sequence[Tensor]) -> dict[str, Tensor]:
        """Prediction of each frame (B, T, ...), by the names of :class:`SMPLLoss`.

        Raises:
            ValueError: feats is not a tuple whose last entry is (B, C, T, H, W), or that is empty.
        """
        x = feats[-1]
        if isinstance(feats, Tensor) or x.dim() != 5 or x.shape[1] != self.in_channels:
            raise ValueError(
                f'SMPLHead(in_channels={self.in_channels}) takes a tuple whose last feature map is (batch, '
                f'{self.in_channels} channels, time, height, width); got {tuple(x.shape)}: set head.in_channels to the '
                "backbone's out_channels and backbone.output='tuple'"
            )
        check_filled('SMPLHead', x, 'batch, channels, time, height, width')
        rates = self.lif(x.permute(2, 0, 1, 3, 4)).mean((3, 4)).transpose(0, 1)  # B T C
        # rotations and the body in full precision, also under autocast and in a model of half precision
        with full_precision(x):
            rates = rates.to(self.pose.weight.dtype)
            pose = rotation_6d_to_matrix(self.pose(rates).unflatten(-1, (len(JOINTS), 6)))
            shape, translation = self.shape(rates), self.translation(rates)
            shift = translation.detach() if self.detach_translation and self.training else translation
            joints = self._body()(pose, shape, shift).joints
            pixels = project(joints, self.intrinsics)
        return dict(
            pose=pose, shape=shape, translation=translation, joints_3d=joints, joints_2d=pixels / self.image_size
        )

    def loss(self, feats: Sequence[Tensor], batch_data_samples: list, train_cfg: Any = None) -> dict[str, Tensor]:
        """Losses against ``gt_instance_labels`` (pose as axis-angle (T, 24, 3), the rest as predicted)."""
        labels = [sample.gt_instance_labels for sample in batch_data_samples]
        target = {name: torch.stack([getattr(label, name) for label in labels]) for name in TARGETS}
        with full_precision(target['pose']):
            target['pose'] = axis_angle_to_matrix(target['pose'])
            return self.loss_module(self(feats), target)

    def predict(
        self, feats: Sequence[Tensor], batch_data_samples: Any = None, test_cfg: Any = None
    ) -> list[InstanceData]:
        """A frame's prediction an instance: pose as axis-angle, 2D joints in pixels.

        And by mmpose's names, as numpy: ``keypoints`` (T, 24, 3) in metres, the 3D joints, and ``keypoint_scores``
        (T, 24), all ones, since a regression of SMPL has no confidence.
        """
        output = self(feats)
        with full_precision(output['pose']):
            output['pose'] = matrix_to_axis_angle(output['pose'])
        output['joints_2d'] = output['joints_2d'] * self.image_size
        named: dict[str, Any] = dict(output, keypoints=output['joints_3d'].float().cpu().numpy())
        named['keypoint_scores'] = np.ones(named['keypoints'].shape[:-1], np.float32)
        return [InstanceData(**{name: value[i] for name, value in named.items()}) for i in range(len(output['shape']))]
