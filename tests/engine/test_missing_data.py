"""A config on a bare clone: one message with paths, options, layout and source."""

import re

import pytest
from mmengine.config import Config

from mmsvf.engine.missing_data import check_data
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
    for mistake, message in (
        (['configs/svf_k400.py', '--cfg-options', 'load_from=None'], 'the data of this config is not there'),
        (['configs/svf_k401.py'], 'svf_k401'),
    ):
        script = ROOT / 'tools' / 'train.py'
        code, _, error = forked.run(script, [*mistake, '--work-dir', str(tmp_path / 'w')], ROOT, {'PATH': ''}, tmp_path)
        assert code and message in error and 'Traceback' not in error, error
        assert 'dataset.dataset' not in error, 'options are those that the command line takes'
