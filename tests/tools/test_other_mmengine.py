"""Train, resume and test also work with onedl-mmengine (pure-Python fork), from a second target folder."""

import os
import subprocess

import pytest

from ..conftest import ROOT, python_path
from . import forked
from .test_train_and_test import demo_options

FORK = ROOT / '.targets' / 'onedl-mmengine'


def test_onedl_mmengine(tmp_path, digits):
    if not (FORK / 'mmengine').is_dir():
        pytest.skip(f'{FORK} is not installed (make test does it)')
    python = forked.python('mmsvf', *forked.INSTALLED, 'mmaction.apis', PYTHONPATH=python_path(FORK))

    def tool(name, *argv):
        command = [python, f'tools/{name}.py', *map(str, argv)]
        env = {**os.environ, 'PYTHONPATH': python_path(FORK), 'OMP_NUM_THREADS': '1'}
        result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)
        assert result.returncode == 0, result.stderr[-5000:]
        return result.stdout + result.stderr

    config, options = 'configs/demo/svf_moving_digits.py', demo_options(digits)
    options = [o for o in options if 'max_epochs' not in o]
    work_dir = ['--work-dir', tmp_path]
    tool('train', config, *work_dir, '--cfg-options', *options, 'train_cfg.max_epochs=1')
    log = tool('train', config, *work_dir, '--resume', '--cfg-options', *options, 'train_cfg.max_epochs=2')
    assert 'resumed epoch: 1' in log and 'MMEngine 0.10.12, ' in log
    assert 'acc/top1' in tool('test', config, tmp_path / 'epoch_2.pth', *work_dir, '--cfg-options', *options)
