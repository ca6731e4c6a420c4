"""Nothing is lost: a full disk, a folder that cannot be written, a diverged loss, a half-written file."""

import errno
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

import mmsvf.checkpoints
from mmsvf import safe_pickle
from mmsvf.checkpoints import PARTIAL, find_latest_checkpoint, save_checkpoint
from mmsvf.engine.launch import check_work_dir, lose_nothing

from ..conftest import ROOT

TINY = dict(embed_dims=(8, 8, 8, 8, 8), depths=(1, 1, 1, 1, 1))


def runner(digits, work_dir, epochs=2, **changes):
    cfg = Config.fromfile(ROOT / 'configs' / 'demo' / 'svf_moving_digits.py')
    for part, split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        loader = cfg[f'{part}_dataloader']
        loader.update(batch_size=4, num_workers=0, persistent_workers=False)
        loader.dataset.update(ann_file=str(digits / f'{split}.txt'), data_prefix=dict(video=str(digits / split)))
        loader.dataset.indices = 4
    cfg.model.backbone.arch = TINY
    cfg.model.cls_head.in_channels = 8
    cfg.train_cfg.max_epochs = epochs
    cfg.param_scheduler = []
    cfg.work_dir, cfg.experiment_name = str(work_dir), work_dir.name
    cfg.visualizer.vis_backends = []
    lose_nothing(cfg, work_dir / 'unreadable.txt')
    cfg.merge_from_dict(changes)
    return Runner.from_cfg(cfg)


def test_a_checkpoint_is_there_whole_or_as_before(tmp_path, monkeypatch):
    path = tmp_path / 'epoch_1.pth'
    save_checkpoint(dict(x=torch.ones(3)), path)

    def full(checkpoint, file):
        file.write(b'half of it')
        raise RuntimeError('PytorchStreamWriter failed writing file data/0: file write failed')

    monkeypatch.setattr(mmsvf.checkpoints.torch, 'save', full)
    with pytest.raises(OSError, match=r'epoch_1\.pth could not be written .*MiB are free.*--resume'):
        save_checkpoint(dict(x=torch.zeros(3)), path)
    assert safe_pickle.load_checkpoint(path)['x'].tolist() == [1, 1, 1]
    assert [p.name for p in tmp_path.iterdir()] == ['epoch_1.pth']


@pytest.mark.parametrize('pointer', ['', 'gone.pth', 'cut', None])
def test_resume_finds_a_whole_checkpoint(tmp_path, pointer, monkeypatch):
    said = []
    monkeypatch.setattr('mmengine.logging.print_log', lambda message, **_: said.append(message))
    for step in (2, 10):
        save_checkpoint(dict(x=torch.ones(3)), tmp_path / f'epoch_{step}.pth')
    (tmp_path / 'epoch_11.pth').write_bytes((tmp_path / 'epoch_10.pth').read_bytes()[:300])
    (tmp_path / f'epoch_12.pth{PARTIAL}').write_bytes(b'x')
    if pointer is not None:
        name = {'': '', 'cut': str(tmp_path / 'epoch_11.pth')}.get(pointer, str(tmp_path / pointer))
        (tmp_path / 'last_checkpoint').write_text(name)
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_10.pth')
    assert len(said) == (pointer is not None) and all('cut off; the training goes on from' in m for m in said)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_2.pth')
    assert find_latest_checkpoint(tmp_path / 'none') is None


def test_the_old_checkpoint_outlives_a_failed_new_one(digits, tmp_path, monkeypatch):
    """With max_keep_ckpts=1, and for the best one, too."""
    keep = {'default_hooks.checkpoint.max_keep_ckpts': 1}
    training = runner(digits, tmp_path / 'run', epochs=3, **keep)
    save, folder = torch.save, tmp_path / 'run'

    def fills(checkpoint, file):
        if checkpoint['meta']['epoch'] >= 3:
            raise OSError(errno.ENOSPC, 'No space left on device')
        save(checkpoint, file)

    monkeypatch.setattr(mmsvf.checkpoints.torch, 'save', fills)
    with pytest.raises(OSError, match='No space left on device'):
        training.train()
    assert safe_pickle.load_checkpoint(folder / 'epoch_2.pth')['meta']['epoch'] == 2
    assert len(list(folder.glob('best_*.pth'))) == 1 and not list(folder.glob(f'*{PARTIAL}'))
    assert not (folder / 'epoch_1.pth').exists(), 'max_keep_ckpts is kept'


def test_too_little_room_is_said_before_training(digits, tmp_path, monkeypatch):
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage._replace(free=1000))
    training = runner(digits, tmp_path / 'run')
    with pytest.raises(OSError, match=r'0\.0 MiB are free in .*run, and the weights alone take'):
        training.train()
    assert training.iter == 0


def test_a_work_dir_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match=r"work-dir '.*/file/run' .*--work-dir"):
        check_work_dir(str(tmp_path / 'file' / 'run'))
    check_work_dir(str(tmp_path / 'new'))
    assert not list((tmp_path / 'new').iterdir())


def test_a_nan_loss_stops_before_the_checkpoint(digits, tmp_path):
    """With iteration, files and the last good checkpoint, which stays."""
    training = runner(digits, tmp_path / 'run', epochs=3)
    loss = training.model.cls_head.loss

    def diverges(*args, **kwargs):
        found = loss(*args, **kwargs)
        return {k: v * float('nan') if training.epoch == 1 and 'loss' in k else v for k, v in found.items()}

    training.model.cls_head.loss = diverges
    with pytest.raises(RuntimeError) as error:
        training.train()
    message = str(error.value)
    assert 'loss_cls=nan' in message and 'iteration 2 (epoch 2)' in message
    lines = (digits / 'train.txt').read_text().splitlines()[:4]
    assert all(str(digits / 'train' / line.split()[0]) in message for line in lines), message
    assert f'the last good checkpoint is {tmp_path / "run" / "epoch_1.pth"}' in message
    assert not (tmp_path / 'run' / 'epoch_2.pth').exists()


def test_weights_that_are_not_finite_are_not_saved(digits, tmp_path):
    class Poison(Hook):
        def after_train_iter(self, runner, *args, **kwargs):
            if runner.epoch == 1:
                runner.model.cls_head.fc.weight.data[0, 0] = float('inf')

    training = runner(digits, tmp_path / 'run', epochs=2)
    training.register_hook(Poison(), 'NORMAL')
    with pytest.raises(RuntimeError, match=r"1 of \d+ tensors .* iteration 2.*\['cls_head\.fc\.weight'.*epoch_1\.pth"):
        training.train()
    assert Path(find_latest_checkpoint(tmp_path / 'run')).name == 'epoch_1.pth'
