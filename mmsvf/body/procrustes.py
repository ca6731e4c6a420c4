"""Similarity alignment of point sets (Procrustes analysis)."""

from __future__ import annotations

import torch
from torch import Tensor

from .rotations import nearest_rotation


def align(points: Tensor, target: Tensor, scale: bool = True) -> Tensor:
    """``points`` (..., N, 3) moved onto ``target`` by the best rotation, translation and (optionally) scale.

    Least squares, by the SVD of the covariance (Umeyama 1991); reflections are excluded. Points that
    all coincide are moved to the target's centre. It equals mmpose's ``compute_similarity_transform`` (tested), which
    takes one frame of numpy at a time, makes NaN of points that coincide, and would bring OpenMMLab into this package.
    """
    mean, target_mean = points.mean(-2, keepdim=True), target.mean(-2, keepdim=True)
    x, y = points - mean, target - target_mean
    covariance = x.transpose(-2, -1) @ y
    rotation = nearest_rotation(covariance)
    if not scale:
        return x @ rotation + target_mean
    variance = x.square().sum((-2, -1)).clamp(min=torch.finfo(x.dtype).tiny)
    factor = (rotation * covariance).sum((-2, -1)) / variance
    return factor[..., None, None] * (x @ rotation) + target_mean
