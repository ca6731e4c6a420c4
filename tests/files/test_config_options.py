"""Options that change a config."""

import argparse
import sys

import pytest
from mmengine.config import Config

from mmsvf.files.config_options import OptionsAction, merge_options


def test_options_that_the_config_does_not_have(tmp_path, monkeypatch):
    """Nearly a name is a slip; another one is new. Modules that an option names are imported, as a file has them."""
    cfg = Config(dict(train_dataloader=dict(batch_size=2)))
    for key, near in ('tran_dataloader.batch_size', 'train_dataloader'), ('laod_from', 'load_from'):
        with pytest.raises(ValueError, match=rf'{key}: the config has no .* did you mean {near!r}'):
            merge_options(cfg, {key: 1})
    (tmp_path / 'parts_of_mine.py').write_text('')
    monkeypatch.syspath_prepend(tmp_path)
    merge_options(cfg, {'custom_imports.imports': ['parts_of_mine'], 'load_from': 'x', 'colours': 3})
    assert (cfg.load_from, cfg.colours) == ('x', 3) and 'parts_of_mine' in sys.modules


def test_options_below_a_name_replace_it():
    """Widths of one's own in place of a named arch; a type is no such name, nor is a number."""
    cfg = Config(dict(model=dict(backbone=dict(type='SpikeVideoFormer', arch='large', in_channels=3))))
    merge_options(cfg, {'model.backbone.arch.embed_dims': [8, 16], 'model.backbone.arch.depths': [1, 1]})
    assert cfg.model.backbone.arch == dict(embed_dims=[8, 16], depths=[1, 1])
    for key in 'type', 'in_channels':
        with pytest.raises(ValueError, match=f'--cfg-options: {key}=.* in child config cannot inherit from base'):
            merge_options(cfg, {f'model.backbone.{key}.x': 1})


@pytest.mark.parametrize('value', ['arch=dict(embed_dims=(8,16),depths=(1,1))', 'arch'])
def test_what_is_no_option_is_said_in_a_line(value, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction)
    with pytest.raises(SystemExit):
        parser.parse_args(['--cfg-options', value])
    assert 'KEY=VALUE is expected' in capsys.readouterr().err.splitlines()[-1]
    assert parser.parse_args(['--cfg-options', 'a.b=[1,2]', 'c=x']).cfg_options == {'a.b': [1, 2], 'c': 'x'}
