"""Errors of SMPL regression, for mmpose's evaluators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric

from mmsvf.body import errors
from mmsvf.registry import METRICS

MILLIMETRES = 1000.0


@METRICS.register_module()
class SMPLPoseMetric(BaseMetric):
    """MPJPE, PEL-MPJPE, PA-MPJPE and acceleration error in mm, PCK in %, averaged over frames (D8).

    PCKh and PCK-torso take their thresholds from each frame's target (:mod:`mmsvf.body.errors`). The authors average
    over batches, so their last, shorter batch weighs more.

    Args:
        pck_threshold: Distance of PCK in metres.
        **kwargs: As in MMEngine's ``BaseMetric``.
    """

    default_prefix = 'smpl'

    def __init__(self, pck_threshold: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pck_threshold = pck_threshold

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Errors of each frame of a batch of clips."""
        for sample in data_samples:
            joints = torch.as_tensor(sample['pred_instances']['joints_3d']).double().cpu()
            target = torch.as_tensor(sample['gt_instance_labels']['joints_3d']).double().cpu()
            self.results.append(
                {
                    'MPJPE': (MILLIMETRES * errors.mpjpe(joints, target)).tolist(),
                    'PEL-MPJPE': (MILLIMETRES * errors.pel_mpjpe(joints, target)).tolist(),
                    'PA-MPJPE': (MILLIMETRES * errors.pa_mpjpe(joints, target)).tolist(),
                    'ACCEL': (MILLIMETRES * errors.acceleration_error(joints, target)).tolist(),
                    'PCK': (100 * errors.pck(joints, target, self.pck_threshold)).tolist(),
                    'PCKh': (100 * errors.pck_head(joints, target)).tolist(),
                    'PCK-torso': (100 * errors.pck_torso(joints, target)).tolist(),
                }
            )

    def compute_metrics(self, results: list[dict[str, list[float]]]) -> dict[str, float]:
        """Means over all frames; ACCEL of clips shorter than three frames is NaN."""
        frames = {name: np.concatenate([result[name] for result in results]) for name in results[0]}
        return {name: float(values.mean()) if len(values) else float('nan') for name, values in frames.items()}
