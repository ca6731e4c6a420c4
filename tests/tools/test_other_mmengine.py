"""Train, resume and test also work with onedl-mmengine (pure-Python fork), from a second target folder."""

import pytest

from ..conftest import ROOT, python_path
from .test_train_and_test import demo_options, tool

FORK = ROOT / '.targets' / 'onedl-mmengine'


def test_onedl_mmengine(tmp_path, digits):
    if not (FORK / 'mmengine').is_dir():
        pytest.skip(f'{FORK} is not installed (make test does it)')
    config, options, env = 'configs/demo/svf_moving_digits.py', demo_options(digits), {'PYTHONPATH': python_path(FORK)}
    options = [o for o in options if 'max_epochs' not in o]
    work_dir = ['--work-dir', tmp_path]
    tool('train', config, *work_dir, '--cfg-options', *options, 'train_cfg.max_epochs=1', env=env)
    log = tool('train', config, *work_dir, '--resume', '--cfg-options', *options, 'train_cfg.max_epochs=2', env=env)
    assert 'resumed epoch: 1' in log and 'MMEngine 0.10.12, ' in log
    assert 'acc/top1' in tool('test', config, tmp_path / 'epoch_2.pth', *work_dir, '--cfg-options', *options, env=env)
