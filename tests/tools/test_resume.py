"""A training that is killed at any moment goes on, and ends with the weights of one that was not."""

import os
import re
import subprocess

import pytest
import torch

from mmsvf.files.checkpoints import load_checkpoint

from ..conftest import ROOT, python_path
from . import forked
from .test_train_and_test import demo_options

KILLING = str(ROOT / 'tests' / 'tools' / 'killing.py')
ENDLESS = ['train_dataloader.sampler.type=InfiniteSampler', 'train_cfg._delete_=True']
ENDLESS += ['train_cfg.type=IterBasedTrainLoop', 'train_cfg.max_iters=12', 'train_cfg.val_interval=6']
ENDLESS += ['default_hooks.checkpoint.by_epoch=False', 'default_hooks.checkpoint.interval=2']
ENDLESS += ['param_scheduler.by_epoch=False', 'param_scheduler.convert_to_iter_based=False']
ENDLESS += ['param_scheduler.total_steps=12']


def numbers(values):
    """All numbers of a nested dict of tensors, in the order of its keys."""
    found = [v for key in sorted(values) for v in [values[key]]]
    flat = [numbers(v) if isinstance(v, dict) else torch.as_tensor(v).double().flatten() for v in found]
    return torch.cat(flat)


@pytest.mark.parametrize(
    ('processes', 'options'),
    [
        (1, ['train_dataloader.num_workers=2', 'train_dataloader.persistent_workers=True']),
        (1, ENDLESS),
        (2, []),
    ],
    ids=['epochs_and_workers', 'iterations', 'two_processes'],
)
def test_killed_equals_uninterrupted(processes, options, digits, tmp_path, request):
    """By epochs and by iterations, with random transforms, one and two processes; --kills 20 for more of them."""
    wanted, kills, seed = request.config.getoption('--kills'), 0, 0
    while kills < wanted:
        folder = tmp_path / str(seed)
        folder.mkdir()
        command = [forked.python(*forked.INSTALLED), KILLING, folder, wanted - kills, processes, seed]
        command += ['configs/demo/svf_moving_digits.py', '--seed', 0, '--cfg-options', *demo_options(digits)]
        command = [item for item in command if options is not ENDLESS or 'max_epochs' not in str(item)] + options
        command += ['default_hooks.checkpoint.max_keep_ckpts=1', 'train_dataloader.batch_size=2']
        result = subprocess.run(
            list(map(str, command)),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={
                **os.environ,
                'OMP_NUM_THREADS': '1',
                'PYTHONPATH': python_path(ROOT),
                'MMSVF_FIRST': '1' * (seed % 2),
            },
        )
        log = (folder / 'parts.log').read_text() if (folder / 'parts.log').is_file() else ''
        print(result.stdout)
        assert result.returncode == 0, result.stderr[-2000:] + log[-4000:] + str(folder)
        kills, seed = kills + int(re.search(r'(\d+) kills', result.stdout)[1]), seed + 1
        (whole,), (parts,) = (list((folder / name).glob('[ei]*_*.pth')) for name in ('whole', 'parts'))
        assert whole.name == parts.name
        whole, parts = (load_checkpoint(path) for path in (whole, parts))
        assert torch.equal(numbers(whole['state_dict']), numbers(parts['state_dict']))
        assert torch.equal(numbers(whole['optimizer']['state']), numbers(parts['optimizer']['state']))
        left = {path.name for path in (folder / 'parts').iterdir() if path.is_file()}
        assert not [name for name in left if name.endswith('.partial')] and '.removals' not in left
        assert len([name for name in left if name.startswith('best_')]) == 1
