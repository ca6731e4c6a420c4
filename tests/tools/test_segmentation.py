"""Video segmentation through the tools: both stages on the embedded default, one and two processes."""

import re

import cv2
import numpy as np
import pytest

from mmsvf.files.checkpoints import load_checkpoint

from .test_train_and_test import tool

STAGE1, STAGE2 = 'configs/demo/svf_moving_scenes.py', 'configs/demo/svf_moving_scenes_vss.py'
SMALL = ['model.backbone.arch._delete_=True', 'model.backbone.arch.embed_dims=[8,8,16,16,24]']
SMALL += ['model.backbone.arch.depths=[1,1,1,1,1]', 'model.neck.in_channels=[8,8,16,24]', 'model.neck.out_channels=8']
SMALL += ['model.decode_head.in_channels=[8,8,8,8]', 'model.decode_head.channels=8', 'train_cfg.max_epochs=1']
MEMORY = ['model.memory.in_channels=[8,8,16,24]']


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('scenes')
    tool(
        'dataset_converters/moving_scenes',
        *(folder, '--train', '4', '--val', '3', '--frames', '18', '--sequences', '2'),
    )
    return folder


def options(scenes):
    root = scenes / 'vspw'
    paths = [f'{part}_dataloader.dataset.data_root={root}' for part in ('val', 'test')]
    paths += [f'train_dataloader.dataset.dataset.data_root={root}', 'train_dataloader.dataset.times=2']
    return [*SMALL, *paths, 'train_dataloader.batch_size=4', 'default_hooks.logger.interval=1']


@pytest.fixture(scope='module')
def stage_one(scenes, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('stage1')
    log = tool('train', STAGE1, '--work-dir', work_dir, '--cfg-options', *options(scenes))
    return work_dir / 'epoch_1.pth', log


def test_masks_are_exact_and_void_free(scenes):
    """Every frame has its mask, of its size, with labels 1 to 7; a still pixel of a still texture keeps its label."""
    frames = sorted((scenes / 'vspw').glob('data/*/origin/*.jpg'))
    assert len(frames) == 7 * 18
    labels = set()
    for frame in frames:
        mask = cv2.imread(str(frame.parent.parent / 'mask' / f'{frame.stem}.png'), cv2.IMREAD_UNCHANGED)
        assert mask.shape == cv2.imread(str(frame)).shape[:2]
        labels |= set(np.unique(mask).tolist())
    assert labels <= set(range(1, 8)) and len(labels) >= 5


def test_stage_one_trains_with_losses_eta_and_metrics(stage_one):
    _, log = stage_one
    log = re.sub(' +', ' ', log)
    assert re.search(r'Epoch\(train\) \[1\]\[2/2\] .*eta: .*loss: \d\.\d+ decode\.loss_ce', log)
    assert re.search(r'Epoch\(val\) \[1\]\[54/54\] .*mIoU: \d+\.\d+ .*wIoU: .*VC8: .*VC16: ', log)


def test_stage_two_trains_only_the_memory(scenes, stage_one, tmp_path):
    first, _ = stage_one
    log = tool(
        *('train', STAGE2, '--work-dir', tmp_path, '--cfg-options', *options(scenes), *MEMORY, f'load_from={first}')
    )
    assert re.search(r'ClipEncoderDecoder: \d+ tensors loaded, \d+ new \(memory\..*\), 0 dropped', log)
    before, after = (load_checkpoint(p)['state_dict'] for p in (first, tmp_path / 'epoch_1.pth'))
    assert all(before[key].equal(after[key]) for key in before)
    assert {key for key in after if key not in before} == {key for key in after if key.startswith('memory.')}


def test_out_is_for_segmentation():
    with pytest.raises(AssertionError, match='--out writes label maps of a segmentation'):
        tool('test', 'configs/svf_k400.py', __file__, '--out', 'x')
