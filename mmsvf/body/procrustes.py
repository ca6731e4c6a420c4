"""Similarity alignment of point sets (Procrustes analysis)."""

from __future__ import annotations

import torch
from torch import Tensor


def align(points: Tensor, target: Tensor, scale: bool = True) -> Tensor:
    """``points`` (..., N, 3) moved onto ``target`` by the best rotation, translation and (optionally) scale.

    Least squares, by the SVD of the covariance (Umeyama 1991); reflections are excluded. Points that
    all coincide are moved to the target's centre.
    """
    mean, target_mean = points.mean(-2, keepdim=True), target.mean(-2, keepdim=True)
    x, y = points - mean, target - target_mean
    u, s, vh = torch.linalg.svd(x.transpose(-2, -1) @ y)
    sign = torch.ones_like(s)
    sign[..., -1] = torch.where(torch.linalg.det(u @ vh) < 0, -1.0, 1.0).to(s.dtype)
    rotation = u @ (sign.unsqueeze(-1) * vh)
    if not scale:
        return x @ rotation + target_mean
    variance = x.square().sum((-2, -1))
    factor = (s * sign).sum(-1) / variance.clamp(min=torch.finfo(s.dtype).tiny)
    return factor[..., None, None] * (x @ rotation) + target_mean
