"""The backbone in the frameworks' own configs (swapped.txt): one training and one test iteration of each."""

import os
import re
import subprocess
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmsvf.engine.launch import add_training_safeguards
from mmsvf.engine.run_config import config_path
from mmsvf.swapping.swap import swap

from .. import tiny_datasets
from ..conftest import ROOT, python_path
from ..tools import forked

TINY = dict(embed_dims=[8, 8, 16, 16, 24], depths=[1, 1, 1, 1, 1])
CONFIGS = (Path(__file__).parent / 'swapped.txt').read_text().split()


@pytest.fixture(scope='module')
def data(tmp_path_factory, digits, imagenet):
    made = {
        name: getattr(tiny_datasets, name)(tmp_path_factory.mktemp(name)) for name in ('cityscapes', 'ade20k', 'coco')
    }
    return dict(made, digits=digits, imagenet=imagenet)


class PlainOps:
    """NMS and RoIAlign (one sample a bin) in plain torch, where mmcv-lite has none: enough to run the networks."""

    @staticmethod
    def nms(boxes, scores, iou_threshold, offset):
        left, order = [], scores.argsort(descending=True).tolist()
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        for i in order:
            width = torch.minimum(boxes[i, 2:], boxes[left, 2:]) - torch.maximum(boxes[i, :2], boxes[left, :2])
            both = width.clamp(min=0).prod(1)
            if not (both > iou_threshold * (area[i] + area[left] - both)).any():
                left.append(i)
        return torch.tensor(left, dtype=torch.long)

    @staticmethod
    def roi_align(layer, x, rois):
        (high, wide), (h, w) = layer.output_size, x.shape[-2:]
        out = []
        for batch, *box in rois:
            x0, y0, x1, y1 = (side * layer.spatial_scale - 0.5 for side in box)
            xs = x0 + (x1 - x0) * (torch.arange(wide) + 0.5) / wide
            ys = y0 + (y1 - y0) * (torch.arange(high) + 0.5) / high
            grid = torch.stack(torch.meshgrid((2 * xs + 1) / w - 1, (2 * ys + 1) / h - 1, indexing='xy'), -1)
            picture = x[int(batch)][None]
            out.append(torch.nn.functional.grid_sample(picture, grid[None], align_corners=False))
        return torch.cat(out) if out else x.new_zeros(0, x.shape[1], high, wide)


@pytest.fixture
def plain_ops(monkeypatch):
    if find_spec('mmcv._ext') is None:
        # by name, since mmcv.ops.nms is also a function
        monkeypatch.setattr(import_module('mmcv.ops.nms'), 'ext_module', PlainOps)
        monkeypatch.setattr(import_module('mmcv.ops.roi_align').RoIAlign, 'forward', PlainOps.roi_align)


def first_of(scope):
    return next(name for name in CONFIGS if name.startswith(f'{scope}:'))


SCOPES = ('mmaction', 'mmseg', 'mmpose', 'mmdet', 'mmpretrain')
COMPARED = {
    'STAtten': dict(arch=dict(depth=2, embed_dim=32)),
    'Spikformer': dict(arch=dict(depth=1, embed_dim=32, num_heads=4)),
    'SEWResNet': dict(arch='18'),
    'MSResNet': dict(arch='18', attention=True),
}
CASES = [(name, 'SpikeVideoFormer', dict(arch=TINY)) for name in CONFIGS]
CASES += [(first_of(scope), name, options) for name, options in COMPARED.items() for scope in SCOPES]


@pytest.mark.usefixtures('plain_ops')
@pytest.mark.parametrize(
    ('name', 'backbone', 'options'), CASES, ids=[f'{b}-{re.sub("::.*/", "-", n)[:-3]}' for n, b, _ in CASES]
)
def test_trains_and_tests(name, backbone, options, data, tmp_path):
    cfg = Config.fromfile(config_path(name))
    swapped = swap(cfg, type=backbone, **options).apply(cfg)
    cfg = tiny_datasets.cut_down(swapped, data, tmp_path / re.sub(r'\W+', '_', name))
    add_training_safeguards(cfg, tmp_path / 'unreadable.txt')
    runner = Runner.from_cfg(cfg)
    before = {k: v.clone() for k, v in runner.model.backbone.named_parameters()}
    runner.train()
    assert runner.iter == 1
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    assert torch.isfinite(torch.as_tensor(losses)).all()
    moved = [k for k, v in runner.model.backbone.named_parameters() if not torch.equal(v, before[k])]
    assert moved, 'no weight of the backbone has moved'
    assert runner.test(), 'no metric'


@pytest.mark.parametrize('scope', SCOPES)
def test_trains_in_their_own_tool(scope, data, tmp_path):
    """custom_imports is all that the framework's train.py needs."""
    name = first_of(scope)
    cfg = Config.fromfile(config_path(name))
    cfg = tiny_datasets.cut_down(swap(cfg, TINY).apply(cfg), data, tmp_path / scope)
    cfg.custom_imports = dict(imports=['mmsvf'], allow_failed_imports=False)
    cfg.dump(tmp_path / 'config.py')
    train = Path(find_spec(scope).submodule_search_locations[0]) / '.mim' / 'tools' / 'train.py'
    result = subprocess.run(
        [forked.python(*forked.INSTALLED), str(train), str(tmp_path / 'config.py')],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': python_path(ROOT)},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert re.search(r'(Epoch|Iter)\(train\) .*1/1\].* loss: \d', result.stdout + result.stderr)
