"""A config on a bare clone: one message with paths, options, layout and source."""

import re
import signal
import subprocess
import sys
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmsvf import spiking
from mmsvf.engine.missing_data import check_data
from mmsvf.engine.run_config import plain_messages
from mmsvf.files.checkpoints import load_checkpoint
from tests.conftest import ROOT
from tests.tools import forked

CONFIGS = sorted([*(ROOT / 'configs').glob('*.py'), *(ROOT / 'configs' / 'demo').glob('*.py')])


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_every_config_says_what_is_missing(path, tmp_path, monkeypatch):
    cfg = Config.fromfile(path)
    monkeypatch.chdir(tmp_path)
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        with pytest.raises(FileNotFoundError) as error:
            check_data(cfg, loader)
        text = str(error.value)
        assert f'({loader}.' in text and f'{loader}.' in text.split('--cfg-options')[-1]
        assert 'https://' in text or re.search(r'python tools/dataset_converters/\w+\.py data/', text)
        for script in re.findall(r'python (tools/\S+)', text):
            assert (ROOT / script).is_file()


def test_wrapped_data_and_paths_below_their_root(tmp_path):
    (tmp_path / 'here').mkdir()
    (tmp_path / 'here' / 'list.txt').touch()
    inner = dict(data_root=str(tmp_path / 'here'), ann_file='list.txt', data_prefix=dict(img='no', seg='s3://bucket'))
    loader = dict(dataset=dict(type='ConcatDataset', datasets=[inner, dict(type='RepeatDataset', dataset=inner)]))
    cfg = Config(dict(loader=loader, data_source='here'))
    with pytest.raises(FileNotFoundError) as error:
        check_data(cfg, 'loader', 'absent')
    option = 'loader.dataset.datasets.0.data_prefix.img, loader.dataset.datasets.1.dataset.data_prefix.img'
    assert str(error.value).splitlines()[1] == f'  {tmp_path / "here" / "no"}  ({option})'
    (tmp_path / 'here' / 'no').mkdir()
    check_data(cfg, 'loader')
    check_data(Config(dict(loader=dict(dataset=dict(data_root='nowhere')))), 'loader')  # it may download it


def test_a_tool_shows_no_traceback(tmp_path):
    digits, options = 'configs/demo/svf_moving_digits.py', ['--cfg-options']
    for tool, mistake, message in (
        ('train', ['configs/svf_k400.py', '--cfg-options', 'load_from=None'], 'the data of this config is not there'),
        ('train', ['configs/svf_k401.py'], 'svf_k401'),
        ('analysis/energy', ['configs/svf_k401.py'], 'svf_k401'),
        ('analysis/get_flops', [digits, '--shape', '4'], 'takes a video (batch, 3 channels, time'),  # of the model
        ('analysis/check_videos', ['absent.txt'], 'absent.txt'),  # of open()
        (
            'train',
            [digits, *options, 'optim_wrapper.optimizer.type=AdamX'],
            "type='AdamX'; choose one of ['ASGD', 'Ada",
        ),
        (
            'analysis/get_flops',
            [digits, *options, 'model.backbone.achr=small'],
            "no option 'achr'; did you mean 'arch'? ch",
        ),
        (
            'analysis/get_flops',
            [digits, *options, 'model.cls_head.nm_classes=3'],
            "unexpected keyword argument 'nm_classes",
        ),
        (
            'analysis/get_flops',
            [digits, *options, 'model.data_preprocessor.mena=0'],
            "unexpected keyword argument 'mena'",
        ),
        (
            'analysis/get_flops',
            [digits, *options, 'model.cls_head.type=ClsHed'],
            'KeyError: ClsHed is not in the mmaction',
        ),
    ):
        work_dir = ['--work-dir', str(tmp_path / 'w')] * (tool == 'train')
        script = ROOT / 'tools' / f'{tool}.py'
        code, _, error = forked.run(script, [*mistake, *work_dir], ROOT, {'PATH': ''}, tmp_path)
        assert code and message in error and 'Traceback' not in error, error
        assert 'dataset.dataset' not in error, 'options are those that the command line takes'


INTERRUPTED = """
import os, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
from mmsvf.engine.run_config import plain_messages
class Reader:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
with plain_messages('interrupted: --resume goes on'):
    Reader()
    for step in range(600):  # of a training
        time.sleep(0.1)
"""


def test_an_interrupt_ends_a_tool_in_one_line():
    """By the signal, and wherever it comes: what is raised in a ``__del__`` Python drops."""
    ended = subprocess.run([sys.executable, '-c', INTERRUPTED], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert ended.returncode == -signal.SIGINT and ended.stderr.strip() == 'interrupted: --resume goes on'


def test_a_fault_keeps_its_traceback(monkeypatch, tmp_path):
    """What neither this package nor a tool raises, and in Python's development mode all of it."""
    with pytest.raises(ValueError, match='Invalid literal'), plain_messages():
        Fraction('one')
    with pytest.raises(SystemExit, match='ValueError: order'), plain_messages():
        spiking.dot_attention(*[torch.ones(2, 2)] * 3, order='other')
    (tmp_path / 'cut_off.pth').write_bytes(b'PK\3\4')
    with pytest.raises(SystemExit, match=r'UnpicklingError: cannot read .*cut_off\.pth'), plain_messages():
        load_checkpoint(tmp_path / 'cut_off.pth')
    monkeypatch.setattr('sys.flags', SimpleNamespace(dev_mode=True))
    with pytest.raises(ValueError, match='order'), plain_messages():
        spiking.dot_attention(*[torch.ones(2, 2)] * 3, order='other')
