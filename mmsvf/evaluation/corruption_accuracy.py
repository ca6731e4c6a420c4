"""Accuracy on ImageNet-C by corruption and severity (Table 9)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from mmsvf.registry import METRICS


@METRICS.register_module()
class CorruptionAccuracy(BaseMetric):
    """Top-1 accuracy in % of each corruption and severity, each corruption's mean over severities, and their mean.

    Corruption and severity are those of the image's path ``.../<corruption>/<severity>/<class>/*``
    (:class:`mmsvf.datasets.imagenet_c.ImageNetC`); mmpretrain's ``Accuracy`` is of all images together. Keys:
    'fog/3', 'fog', 'mean'.
    """

    default_prefix = 'imagenet_c'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Corruption, severity and whether the prediction is right, of each image."""
        for sample in data_samples:
            corruption, severity = Path(sample['img_path']).parts[-4:-2]
            correct = int(sample['pred_label']) == int(sample['gt_label'])
            self.results.append((corruption, severity, correct))

    def compute_metrics(self, results: list[tuple[str, str, bool]]) -> dict[str, float]:
        """Accuracies in % by key."""
        cells: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
        for corruption, severity, correct in results:
            cells[corruption][severity].append(correct)
        metrics, means = {}, []
        for corruption, severities in cells.items():
            accuracies = {severity: 100 * float(np.mean(correct)) for severity, correct in severities.items()}
            metrics.update({f'{corruption}/{severity}': value for severity, value in accuracies.items()})
            metrics[corruption] = float(np.mean(list(accuracies.values())))
            means.append(metrics[corruption])
        metrics['mean'] = float(np.mean(means))
        return metrics
