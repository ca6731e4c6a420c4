"""The ImageNet configs and ImageNet-C through the tools, on a tiny folder in ImageNet's layout."""

import csv
import re
import shutil

import pytest
import torch

from mmsvf.datasets.imagenet_c import NAMES
from mmsvf.files.checkpoints import load_checkpoint

from .test_train_and_test import tool

TINY = ['model.backbone.arch._delete_=True', 'model.backbone.arch.embed_dims=[8,8,16,16,16]']
TINY += ['model.backbone.arch.depths=[1,1,1,1,1]', 'model.head.in_channels=16', 'default_hooks.logger.interval=1']
TEACHER = ['model.teacher._delete_=True', 'model.teacher.type=ImageClassifier', 'model.teacher.backbone.type=ResNet']
TEACHER += ['model.teacher.backbone.depth=18', 'model.teacher.neck.type=GlobalAveragePooling']
TEACHER += ['model.teacher.head.type=LinearClsHead', 'model.teacher.head.num_classes=1000']
TEACHER += ['model.teacher.head.in_channels=512']


def options(imagenet):
    small = [*TINY, 'train_dataloader.dataset.pipeline.1.scale=64']
    for part in ('train', 'val', 'test'):
        loader = f'{part}_dataloader'
        small += [f'{loader}.dataset.data_root={imagenet}', f'{loader}.batch_size=8']
        small += [f'{loader}.num_workers=0', f'{loader}.persistent_workers=False']
        if part != 'train':
            small += [f'{loader}.dataset.pipeline.1.scale=72', f'{loader}.dataset.pipeline.2.crop_size=64']
    return small


@pytest.fixture(scope='module')
def one_step(imagenet, tmp_path_factory):
    """Work-dir of two iterations of svf_imagenet_t1.py, and the log."""
    work_dir = tmp_path_factory.mktemp('t1')
    train = 'train', 'configs/svf_imagenet_t1.py', '--work-dir', work_dir
    return work_dir, tool(*train, '--cfg-options', *options(imagenet), 'train_cfg.max_epochs=1')


def plain(log):
    return re.sub(' +', ' ', log)


def test_one_step_trains(one_step):
    work_dir, log = one_step
    assert re.search(r'Epoch\(train\) \[1\]\[2/2\] .*lr: .*eta: .*loss: 6\.\d+', plain(log)), log[-3000:]
    assert re.search(r'Epoch\(val\) \[1\]\[1/1\] accuracy/top1: \d', plain(log))
    assert list(work_dir.rglob('events.out.tfevents*'))


def test_four_steps_start_from_one_step(one_step, imagenet, tmp_path):
    start = one_step[0] / 'epoch_1.pth'
    train = 'train', 'configs/svf_imagenet_t4.py', '--work-dir', tmp_path, '--cfg-options'
    log = tool(*train, *options(imagenet), 'train_cfg.max_epochs=1', f'load_from={start}')
    assert re.search(r'ImageClassifier: \d+ tensors loaded, 0 new, 0 dropped', log)
    assert 'Epoch(train) [1][2/2]' in plain(log)
    # two iterations at almost no rate: still the weights of one step
    before, after = (load_checkpoint(p)['state_dict'] for p in (start, tmp_path / 'epoch_1.pth'))
    assert all(torch.allclose(before[k], after[k], atol=1e-3) for k in before if k.endswith('conv.weight'))

    distilled = 'train', 'configs/svf_imagenet_t4_distilled.py', '--work-dir', tmp_path / 'kd', '--cfg-options'
    log = tool(*distilled, *options(imagenet), *TEACHER, 'train_cfg.max_epochs=1', f'load_from={start}')
    assert re.search(r'Epoch\(train\) \[1\]\[2/2\] .*loss_kd: \d', plain(log))
    assert '2 new (head.fc_kd.bias, head.fc_kd.weight), 0 dropped' in log
    assert not any('teacher' in key for key in load_checkpoint(tmp_path / 'kd' / 'epoch_1.pth')['state_dict'])


def test_a_start_that_does_not_exist_is_named(imagenet):
    with pytest.raises(AssertionError, match=r"load_from='work_dirs/svf_imagenet_t1/epoch_200\.pth' does not exist"):
        tool('train', 'configs/svf_imagenet_t4.py', '--cfg-options', *options(imagenet))


def test_imagenet_c_is_complete_and_deterministic(one_step, imagenet, tmp_path):
    """Two real images x 15 corruptions x 5 severities, made twice, by one and by two processes."""
    few = tmp_path / 'imagenet'
    lines = (imagenet / 'meta' / 'val.txt').read_text().splitlines()[:2]
    for line in lines:
        file = few / 'val' / line.split()[0]
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(imagenet / 'val' / line.split()[0], file)
    (few / 'meta').mkdir()
    (few / 'meta' / 'val.txt').write_text('\n'.join(lines) + '\n')
    tables = []
    for name, workers in (('a', 1), ('b', 2)):
        log = tool(
            *('analysis/imagenet_c', 'configs/svf_imagenet_t1.py', one_step[0] / 'epoch_1.pth', tmp_path / name),
            *('--make-from', few, '--workers', workers, '--work-dir', tmp_path / f'work_{name}'),
            *('--cfg-options', *options(imagenet), 'test_dataloader.batch_size=100'),
        )
        assert '2 images x 15 corruptions x 5 severities' in log
        with open(tmp_path / f'work_{name}' / 'imagenet_c.csv') as file:
            tables.append(list(csv.reader(file)))
        text = (tmp_path / f'work_{name}' / 'imagenet_c.txt').read_text()
        assert all(re.search(rf'^{corruption}( +\d+\.\d\d){{6}}$', text, re.M) for corruption in NAMES)
        assert (tmp_path / f'work_{name}' / 'imagenet_c.png').stat().st_size > 10_000
    assert [row[0] for row in tables[0]] == ['corruption', *NAMES, 'mean']
    assert tables[0] == tables[1]
    for row in tables[0][1:-1]:
        *severities, mean = map(float, row[1:])
        assert mean == pytest.approx(sum(severities) / 5, abs=0.01)
    images = [sorted((tmp_path / name).rglob('*.JPEG')) for name in 'ab']
    assert len(images[0]) == len(images[1]) == 2 * 15 * 5
    for a, b in zip(*images):
        assert a.read_bytes() == b.read_bytes(), a

    (tmp_path / 'a' / 'fog' / '3' / images[0][0].parent.name / images[0][0].name).unlink()
    with pytest.raises(AssertionError, match=r'fog/3 has 1 images'):
        tool(
            *('analysis/imagenet_c', 'configs/svf_imagenet_t1.py', one_step[0] / 'epoch_1.pth', tmp_path / 'a'),
            *('--work-dir', tmp_path / 'work_c', '--cfg-options', *options(imagenet)),
        )
