"""slurm_train.sh and slurm_test.sh with stand-ins for SLURM; FSDP on two CPU processes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmsvf.engine.environment import name_ranks
from mmsvf.engine.strategies import check_strategy
from mmsvf.files.checkpoints import load_checkpoint

from ..conftest import ROOT
from . import forked
from .test_train_and_test import demo_options
from .test_two_processes import ranks

CONFIG = 'configs/demo/svf_moving_digits.py'

# notes its options and the command; like srun it refuses options that it does not know
SRUN = """#!{python}
import argparse, json

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument('-p', '--partition', required=True)
for name in ('job-name', 'gres', 'time'):
    parser.add_argument('--' + name)
for name in ('ntasks', 'ntasks-per-node', 'cpus-per-task', 'kill-on-bad-exit'):
    parser.add_argument('--' + name, type=int)
parser.add_argument('command', nargs=argparse.REMAINDER)
with open({given!r}, 'w') as file:
    json.dump(vars(parser.parse_args()), file)
"""
SCONTROL = """#!/bin/sh
[ "$*" = "show hostname here[1]" ] && echo localhost
"""


def slurm(script, *argv, folder, **env):
    """What slurm_train.sh or slurm_test.sh gives to srun."""
    for name, text in (
        ('srun', SRUN.format(python=sys.executable, given=str(folder / 'given'))),
        ('scontrol', SCONTROL),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    env = {**os.environ, 'PATH': f'{folder}{os.pathsep}{os.environ["PATH"]}', 'PYTHON': sys.executable, **env}
    command = ['bash', f'tools/{script}.sh', *map(str, argv)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)
    assert result.returncode == 0, result.stderr
    return json.loads((folder / 'given').read_text())


def tasks(given, folder, port):
    """Run the tasks of a step on this machine, with the variables of SLURM; returns the output."""
    step = dict(SLURM_JOB_ID='7', SLURM_STEP_ID='0', SLURM_NNODES='1', SLURM_NODEID='0', SLURM_NODELIST='here[1]')
    step.update(SLURM_NTASKS=str(given['ntasks']), SLURM_CPUS_PER_TASK=str(given['cpus_per_task']))
    step.update(SLURM_JOB_NAME=given['job_name'], MASTER_PORT=str(port), OMP_NUM_THREADS='1')
    env = {k: v for k, v in os.environ.items() if k not in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR')}
    env.update(step, PATH=f'{folder}{os.pathsep}{os.environ["PATH"]}')
    envs = [{**env, 'SLURM_PROCID': str(i), 'SLURM_LOCALID': str(i)} for i in range(given['ntasks'])]
    python, unbuffered, tool, *argv = given['command']
    assert (python, unbuffered) == (sys.executable, '-u')
    outputs = folder / Path(tool).stem
    outputs.mkdir()
    results = forked.run_ranks(Path(tool), argv, ROOT, envs, outputs)
    assert not any(code for code, _, _ in results), results
    return ''.join(out + err for _, out, err in results)


@pytest.fixture(scope='module')
def on_slurm(digits, tmp_path_factory):
    """Folder of a training by slurm_train.sh on two tasks, what srun was given, the log, and the training's options."""
    folder = tmp_path_factory.mktemp('slurm')
    options = [*demo_options(digits), 'param_scheduler=[]', 'train_cfg.max_epochs=2', 'train_dataloader.batch_size=2']
    options += [
        'optim_wrapper.optimizer.type=SGD',
        'optim_wrapper.optimizer.momentum=0.9',
        'log_processor.window_size=1',
    ]
    argv = [CONFIG, folder / 'work', '--cfg-options', *options, 'optim_wrapper.clip_grad.max_norm=0.1', 'sync_bn=torch']
    given = slurm('slurm_train', 'gpus', 'digits', *argv, folder=folder, GPUS='2', CPUS_PER_TASK='4',
                  SRUN_ARGS='--time=10')  # fmt: skip
    return folder, given, tasks(given, folder, port=29661), options


def test_training_on_two_tasks_and_a_test_on_one(on_slurm):
    folder, given, log, options = on_slurm
    assert {key: value for key, value in given.items() if key != 'command'} == {
        'partition': 'gpus',
        'job_name': 'digits',
        'gres': 'gpu:2',
        'ntasks': 2,
        'ntasks_per_node': 2,
        'cpus_per_task': 4,
        'kill_on_bad_exit': 1,
        'time': '10',
    }
    assert ', 2 processes on CPU, ' in log
    assert log.count('Saving checkpoint at 1 epochs') == 1
    argv = [CONFIG, folder / 'work' / 'epoch_1.pth', '--work-dir', folder / 'work', '--cfg-options', *options]
    given = slurm('slurm_test', 'gpus', 'digits', *argv, folder=folder, GPUS='1')
    assert (given['gres'], given['ntasks'], given['ntasks_per_node']) == ('gpu:1', 1, 1)
    log = tasks(given, folder, port=29662)
    assert ', 1 process on CPU, ' in log and re.search(r'Epoch\(test\) \[1/1\] +acc/top1: ', log)


def test_fsdp_on_two_processes_is_ddp(on_slurm, tmp_path):
    """Weights, checkpoint, gradient's norm and a resumed optimizer of a sharded model are those of one that is not."""
    folder, _, log, options = on_slurm
    options = [*options, 'runner_type=FlexibleRunner', 'strategy.type=FSDPStrategy']
    options += ['strategy.model_wrapper.auto_wrap_policy.type=torch.distributed.fsdp.wrap.size_based_auto_wrap_policy']
    options += ['strategy.model_wrapper.auto_wrap_policy.min_num_params=2000']
    once = [*options, 'train_cfg.max_epochs=1', 'optim_wrapper.clip_grad.max_norm=0.1']
    work_dir = tmp_path / 'work'
    ranks('train', CONFIG, '--work-dir', work_dir, '--cfg-options', *once, folder=tmp_path / 'once', port=29663)
    ours, theirs = (load_checkpoint(path / 'epoch_1.pth') for path in (work_dir, folder / 'work'))
    assert ours['state_dict'].keys() == theirs['state_dict'].keys() and ours['optimizer']['state']
    for name, value in theirs['state_dict'].items():
        torch.testing.assert_close(ours['state_dict'][name], value, atol=1e-6, rtol=1e-5)

    argv = [CONFIG, '--work-dir', work_dir, '--resume', '--cfg-options', *options]
    more = ranks('train', *argv, folder=tmp_path / 'more', port=29664)
    assert 'resumed epoch: 1, iter: 2' in more
    first, second = (re.findall(r'Epoch\(train\) +\[2\]\[1/2\].* grad_norm: (\S+)', text)[0] for text in (log, more))
    assert float(first) == pytest.approx(float(second), rel=1e-3)
    assert load_checkpoint(work_dir / 'epoch_2.pth')['meta']['epoch'] == 2


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(strategy=dict(type='FSDPStrategy')), r'runner_type=FlexibleRunner'),
        (dict(strategy=dict(type='FSDPStrategy'), runner_type='FlexibleRunner'), r'dist_train\.sh CONFIG GPUS'),
        (
            dict(
                strategy=dict(type='FSDPStrategy', state_dict_cfg='local'),
                runner_type='FlexibleRunner',
                launcher='pytorch',
            ),
            r"state_dict_cfg='local' .*in parts.* 'full'",
        ),
        (dict(runner_type='FlexibleRunner', sync_bn='torch'), r'strategy\.sync_bn'),
    ],
    ids=['other_runner', 'no_processes', 'parts', 'sync_bn'],
)
def test_strategies_that_cannot_be(config, message):
    with pytest.raises(ValueError, match=message):
        check_strategy(Config(dict(launcher='none') | config))


@pytest.mark.parametrize(('script', 'last'), [('slurm_train', 'WORK_DIR'), ('slurm_test', 'CHECKPOINT')])
def test_whole_machines_by_default(script, last, tmp_path):
    given = slurm(script, 'gpus', 'job', 'CONFIG', last, '--flag', folder=tmp_path, GPUS='16')
    assert (given['gres'], given['ntasks'], given['ntasks_per_node']) == ('gpu:8', 16, 8)
    last = '--work-dir=WORK_DIR' if last == 'WORK_DIR' else last
    assert given['command'][1:] == ['-u', f'tools/{script[6:]}.py', 'CONFIG', last, '--launcher', 'slurm', '--flag']


def test_ranks_of_each_launcher(monkeypatch):
    for name in ('RANK', 'LOCAL_RANK', 'MASTER_ADDR', 'SLURM_PROCID'):
        monkeypatch.setenv(name, 'other')
        monkeypatch.delenv(name)
    with pytest.raises(ValueError, match=r'SLURM_PROCID.*slurm_train\.sh'):
        name_ranks('slurm')
    variables = {
        'slurm': {'SLURM_PROCID': '9', 'SLURM_LOCALID': '1'},
        'mpi': {'OMPI_COMM_WORLD_RANK': '9', 'OMPI_COMM_WORLD_LOCAL_RANK': '1'},
    }
    for launcher, values in variables.items():
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv('MASTER_ADDR', 'here')
        name_ranks(launcher)
        assert (os.environ.pop('RANK'), os.environ.pop('LOCAL_RANK')) == ('9', '1')
    monkeypatch.delenv('MASTER_ADDR')
    monkeypatch.setenv('PATH', '')
    with pytest.raises(ValueError, match=r'scontrol.*MASTER_ADDR'):
        name_ranks('slurm')
