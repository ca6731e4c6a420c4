"""The whole chain learns: clip, backbone, head, body, losses."""

import runpy

import cv2
import numpy as np
import skimage.data
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmsvf  # noqa: F401
from mmsvf.body import axis_angle_to_matrix, embedded_body, errors
from mmsvf.registry import MODELS

from ...conftest import ROOT


def one_clip(steps=4, gap=4):
    """A clip of the embedded figure (1, 3, T, 64, 64) and its annotation."""
    script = runpy.run_path(str(ROOT / 'tools' / 'dataset_converters' / 'moving_body.py'))
    every = gap * script['SUBSTEPS']
    body, texture = embedded_body(), skimage.data.gravel()
    clip = script['record'](np.random.default_rng(0), body, texture, (steps - 1) * gap + 1)
    frames = np.stack([cv2.resize(p, (64, 64), interpolation=cv2.INTER_AREA) for p in clip['pictures'][::every]])
    inputs = torch.from_numpy(frames / 255).float().expand(1, 3, -1, -1, -1)
    target = {name: torch.from_numpy(clip[name][::gap])[None] for name in clip if name != 'pictures'}
    target['joints_2d'] = target['joints_2d'] / 256
    target['pose'] = axis_angle_to_matrix(target['pose'])
    return inputs, target


def test_one_clip_is_learnt_by_heart():
    """PA-MPJPE of the embedded default's model from above 100 to below 15 mm."""
    init_default_scope('mmpose')
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(ROOT / 'configs' / 'demo' / 'svf_moving_body.py').model)
    model.init_weights()
    model.train()
    inputs, target = one_clip()
    iterations = 80
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, iterations)
    found = []
    for _ in range(iterations):
        output = model.head(model.extract_feat(inputs))
        found.append(1000 * errors.pa_mpjpe(output['joints_3d'], target['joints_3d']).mean().item())
        optimizer.zero_grad()
        sum(model.head.loss_module(output, target).values()).backward()
        optimizer.step()
        schedule.step()
    assert found[0] > 100 and found[-1] < 15
