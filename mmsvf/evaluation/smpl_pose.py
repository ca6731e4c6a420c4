"""Errors of SMPL regression, for mmpose's evaluators (docs/faithfulness.md, D8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmsvf.body import JOINTS, errors
from mmsvf.datasets.wrapper import file_name
from mmsvf.registry import METRICS

MILLIMETRES = 1000.0


@METRICS.register_module()
class SMPLPoseMetric(BaseMetric):
    """MPJPE, PEL-MPJPE, PA-MPJPE and acceleration error in mm, PCK in %, averaged over frames (D8).

    mmpose has no PEL-MPJPE, acceleration error or PCK of 3D joints. Its ``MPJPE``, modes ``mpjpe`` and ``p-mpjpe``, is
    our MPJPE and PA-MPJPE in metres, and can stand beside this one in a config.

    PCKh and PCK-torso take their thresholds from each frame's target (:mod:`mmsvf.body.errors`). The authors average
    over batches, so their last, shorter batch weighs more.

    Args:
        pck_threshold: Distance of PCK in metres.
        **kwargs: As in MMEngine's ``BaseMetric``.

    Raises:
        ValueError: a threshold that is no positive distance; joints that are not (T, 24, 3), of another length than the
            target's, or not finite. The message has the sample.
    """

    default_prefix = 'smpl'

    def __init__(self, pck_threshold: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(pck_threshold, bool) or not 0 < pck_threshold < float('inf'):
            raise ValueError(f'pck_threshold={pck_threshold!r}; a distance in metres, such as 0.1')
        self.pck_threshold = pck_threshold

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Errors of each frame of a batch of clips."""
        for sample in data_samples:
            joints = torch.as_tensor(sample['pred_instances']['joints_3d']).double().cpu()
            target = torch.as_tensor(sample['gt_instance_labels']['joints_3d']).double().cpu()
            check_joints(joints, target, sample)
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


def check_joints(joints: Tensor, target: Tensor, sample: dict) -> None:
    """Raise ValueError for joints of which no error can be computed."""
    name = file_name(sample, 'a clip')
    for what, value in (('prediction', joints), ('target', target)):
        if value.dim() != 3 or value.shape[1:] != (len(JOINTS), 3) or len(value) != len(target):
            raise ValueError(
                f'{name}: joints_3d of the {what} are {tuple(value.shape)}; the joints of SMPL are (T, {len(JOINTS)}, '
                f'3), with one T for prediction and target, here {tuple(joints.shape)} and {tuple(target.shape)}'
            )
        if not torch.isfinite(value).all():
            raise ValueError(
                f'{name}: joints_3d of the {what} are not finite in {int((~value.isfinite()).sum())} values'
            )
