#!/usr/bin/env python
"""What a pose config has to beat on its test clips: the mean pose of the training set, and the model before training.

The mean pose is one skeleton for every frame: the mean over all annotated training frames of the joints
in the camera's coordinates. Errors in mm, PCK in %.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.utils import ProgressBar, track_iter_progress

from mmsvf.datasets.mmhpsd import MMHPSDDataset
from mmsvf.engine.run_config import add_common_arguments, plain_messages, prepare
from mmsvf.evaluation.smpl_pose import SMPLPoseMetric
from mmsvf.registry import DATASETS, MODELS


def mean_joints(dataset: MMHPSDDataset) -> torch.Tensor:
    """Mean over the annotated frames of a data set's actions, (24, 3) in metres."""
    actions = sorted({dataset.get_data_info(i)['action'] for i in range(len(dataset))})
    frames = [(action, index) for action in actions for index in dataset.layout.indices(action)]
    joints = [dataset.layout.pose(*frame)['joints_3d'] for frame in track_iter_progress(frames)]
    return torch.from_numpy(np.mean(joints, 0, dtype=np.float64))


def baselines(cfg: Config) -> dict[str, dict[str, float]]:
    """Metrics of the mean pose and of the untrained model."""
    init_default_scope(cfg.default_scope)
    joints = mean_joints(DATASETS.build(cfg.train_dataloader.dataset))
    loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
    torch.manual_seed(cfg.get('randomness', {}).get('seed') or 0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.eval()
    metrics = {name: SMPLPoseMetric() for name in ('mean pose', 'untrained')}
    bar = ProgressBar(len(loader))
    for batch in loader:
        with torch.no_grad():
            samples = model.test_step(batch)
        metrics['untrained'].process(batch, [sample.to_dict() for sample in samples])
        for sample in samples:
            truth = sample.gt_instance_labels
            instances = dict(joints_3d=joints.expand_as(truth.joints_3d))
            metrics['mean pose'].process(batch, [dict(pred_instances=instances, gt_instance_labels=truth)])
        bar.update()
    return {name: metric.evaluate(len(loader.dataset)) for name, metric in metrics.items()}


def main() -> None:
    """Print the metrics of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    for name, values in baselines(prepare(parser.parse_args())).items():
        print(f'\n{name}: ' + ', '.join(f'{key.split("/")[1]} {value:.1f}' for key, value in values.items()))


if __name__ == '__main__':
    with plain_messages():
        main()
