"""All tasks on two CPU processes: dist_train.sh and dist_test.sh, an uneven last batch, the metrics of one process."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from mmsvf.files.checkpoints import load_checkpoint

from .. import broken_videos
from ..conftest import ROOT
from . import forked
from .test_pose import TINY as POSE
from .test_segmentation import SMALL as SEGMENTATION
from .test_train_and_test import TINY as ACTION
from .test_train_and_test import tool


def both(script, *argv, port):
    """Run dist_train.sh or dist_test.sh on two processes; returns the output."""
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PORT': str(port), 'PYTHON': forked.python(*forked.FRAMEWORKS)}
    command = ['bash', f'tools/{script}.sh', *map(str, argv)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env, timeout=300)
    assert result.returncode == 0, f'{" ".join(command)}\n{result.stderr[-5000:]}'
    return result.stdout + result.stderr


def ranks(name, *argv, folder, port):
    """A tool as torchrun starts it on two processes, which are forks: their imports are most of such a run."""
    env = {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'WORLD_SIZE': '2',
        'MASTER_ADDR': '127.0.0.1',
        'MASTER_PORT': str(port),
    }
    envs = [{**env, 'RANK': str(rank), 'LOCAL_RANK': str(rank)} for rank in range(2)]
    argv = [*map(str, argv), '--launcher', 'pytorch']
    folder.mkdir()
    results = forked.run_ranks(Path('tools', f'{name}.py'), argv, ROOT, envs, folder)
    assert not any(code for code, _, _ in results), results
    return ''.join(out + err for _, out, err in results)


def loaders(parts, **options):
    return [f'{part}_dataloader.{key}={value}' for part in parts for key, value in options.items()]


@pytest.fixture(scope='module')
def tasks(tmp_path_factory, digits):
    """Config and options of each task on three samples for testing, an odd number for training."""
    folder = tmp_path_factory.mktemp('tasks')
    tool('dataset_converters/moving_scenes', folder / 'scenes', '--train', '3', '--val', '1', '--frames', '11',
         '--sequences', '1')  # fmt: skip
    tool('dataset_converters/moving_body', folder / 'body', '--train', '1', '--test', '1', '--frames', '54',
         '--workers', '1')  # fmt: skip
    clips = [f'{part}_dataloader.dataset.{key}' for part in ('train', 'val', 'test') for key in ('ann_file', 'data')]
    action = [*ACTION, 'train_dataloader.dataset.indices=7', 'test_dataloader.dataset.indices=3', 'sync_bn=torch']
    for key in clips:
        split = 'train' if key.startswith('train') else 'val'
        file = digits / f'{split}.txt'
        action.append(f'{key}={file}' if key.endswith('ann_file') else f'{key}_prefix.video={digits / split}')
    vspw = folder / 'scenes' / 'vspw'
    segmentation = [*SEGMENTATION, f'train_dataloader.dataset.dataset.data_root={vspw}']
    segmentation += ['train_dataloader.dataset.times=1', *loaders(['val', 'test'], **{'dataset.data_root': vspw})]
    pose = [*POSE, *loaders(['train', 'val', 'test'], num_workers=0, persistent_workers=False,
                            **{'dataset.data_root': folder / 'body', 'dataset.durations': '[1]'})]  # fmt: skip
    return {
        'action': ('configs/demo/svf_moving_digits.py', action),
        'segmentation': ('configs/demo/svf_moving_scenes.py', segmentation),
        'pose': ('configs/demo/svf_moving_body.py', pose),
    }


@pytest.mark.parametrize('task', ['action', 'segmentation', 'pose'])
def test_two_processes_give_the_metrics_of_one(task, tasks, tmp_path, request):
    config, options = tasks[task]
    port = 29610 + 10 * list(tasks).index(task)
    options = [*options, 'train_dataloader.batch_size=2', 'train_cfg.max_epochs=1', 'test_dataloader.batch_size=2']
    options += ['param_scheduler=[]', 'randomness.seed=0']
    options = ['--work-dir', tmp_path, '--cfg-options', *options]
    if task == 'action':  # by the scripts
        log = both('dist_train', config, 2, *options, port=port)
    else:
        log = ranks('train', config, *options, folder=tmp_path / 'train', port=port)
    assert ', 2 processes on CPU, ' in log
    test = config, tmp_path / 'epoch_1.pth'
    one = metrics(tool('test', *test, *options, modules=forked.FRAMEWORKS))
    for i in range(request.config.getoption('--repeat')):
        if task == 'action':
            log = both('dist_test', *test, 2, *options, port=port + 1 + i)
        else:
            log = ranks('test', *test, *options, folder=tmp_path / f'test_{i}', port=port + 1 + i)
        two = metrics(log)
        assert one.keys() == two.keys() and one
        assert one == pytest.approx(two, abs=1e-6)


def metrics(log):
    line = re.findall(r'Epoch\(test\) \[\d+/\d+\] +(.*?)(?: +data_time|\n|$)', log)[-1]
    return {key: float(value) for key, value in re.findall(r'([\w/@-]+): ([\d.]+)', line)}


def test_broken_clips_on_two_processes(tasks, digits, tmp_path):
    """A tenth of the clips is broken: training goes to its end, and each is listed once."""
    config, options = tasks['action']
    names = [(digits / 'train' / line).as_posix() for line in (digits / 'train.txt').read_text().splitlines()]
    names = (names * 3)[:18] + [f'{broken_videos.make(tmp_path, kind)} 0' for kind in ('truncated', 'text')]
    (tmp_path / 'list.txt').write_text(''.join(f'{name}\n' for name in names))
    options = [*options, f'train_dataloader.dataset.ann_file={tmp_path / "list.txt"}', 'train_cfg.max_epochs=1']
    options += ['train_dataloader.dataset.indices=None', 'train_dataloader.dataset.data_prefix.video=/']
    options += ['train_dataloader.batch_size=4', 'param_scheduler=[]', *loaders(['train'], num_workers=1)]
    log = both(
        *('dist_train', config, 2, '--work-dir', tmp_path / 'run', '--max-unreadable', 0.1, '--cfg-options'),
        *options,
        port=29651,
    )
    listed = [line.split('\t')[0] for line in (tmp_path / 'run' / 'unreadable.txt').read_text().splitlines()]
    assert sorted(listed) == [str(tmp_path / 'text.mp4'), str(tmp_path / 'truncated.mp4')]
    assert log.count('2 files could not be read and were skipped') == 1
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file()


def test_accumulation_and_scaled_rates_have_their_effect(tasks, tmp_path):
    """Gradients over two iterations move the weights every second one; --auto-scale-lr multiplies the rate by 4/32."""
    config, options = tasks['action']
    options = [*options, 'train_dataloader.batch_size=2', 'train_dataloader.dataset.indices=4', 'param_scheduler=[]']
    options += ['train_cfg.max_epochs=1', 'optim_wrapper.accumulative_counts=2', 'auto_scale_lr.base_batch_size=32']
    options += ['default_hooks.checkpoint.by_epoch=False', 'default_hooks.checkpoint.interval=1', 'val_cfg=None']
    options += ['val_dataloader=None', 'val_evaluator=None', 'default_hooks.checkpoint.save_best=None']
    options += ['default_hooks.logger.interval=1', 'optim_wrapper.optimizer.lr=0.0032', 'sync_bn=None']
    log = tool('train', config, '--work-dir', tmp_path, '--auto-scale-lr', '--cfg-options', *options)
    assert set(re.findall(r'Epoch\(train\).* lr: (\S+)', log)) == {'2.0000e-04'}
    first, second = (load_checkpoint(tmp_path / f'iter_{i}.pth') for i in (1, 2))
    assert not first['optimizer']['state'] and second['optimizer']['state']
