"""Losses of SMPL regression (App. H; the form and weights of the authors' code: docs/faithfulness.md, D6)."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from mmsvf.body import geodesic_distance
from mmsvf.registry import MODELS


@MODELS.register_module()
class SMPLLoss(nn.Module):
    """Translation, pose, shape, 3D joints and 2D joints, weighted.

    Means of squared errors, but the pose: the mean geodesic angle. The 2D prediction is clamped to
    the image, the target is not.

    Args:
        translation, pose, shape, joints_3d, joints_2d: Weights; the defaults are those of the
            authors' training script.
        squared: The paper's form (Eq. 29): squared angles, and sums over joints and coordinates
            instead of means, averaged over frames.

    Shapes of the predictions and targets, for frames ``...``: pose (..., 24, 3, 3), shape
    (..., 10), translation (..., 3) and joints_3d (..., 24, 3) in metres, joints_2d (..., 24, 2) as
    shares of the image's side.
    """

    def __init__(
        self,
        translation: float = 50.0,
        pose: float = 10.0,
        shape: float = 1.0,
        joints_3d: float = 1.0,
        joints_2d: float = 10.0,
        squared: bool = False,
    ) -> None:
        super().__init__()
        self.weights = dict(translation=translation, pose=pose, shape=shape, joints_3d=joints_3d, joints_2d=joints_2d)
        self.squared = squared

    def forward(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weighted terms, as ``loss_<name>``."""
        prediction = {**prediction, 'joints_2d': prediction['joints_2d'].clamp(0, 1)}
        losses = {}
        for name, weight in self.weights.items():
            if name == 'pose':
                angle = geodesic_distance(prediction[name], target[name])
                term = angle.square().sum(-1).mean() if self.squared else angle.mean()
            elif self.squared:
                term = (
                    (prediction[name] - target[name]).square().flatten(target['translation'].dim() - 1).sum(-1).mean()
                )
            else:
                term = F.mse_loss(prediction[name], target[name])
            losses[f'loss_{name}'] = weight * term
        return losses
