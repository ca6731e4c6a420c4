"""Options that change a config."""

import sys

import pytest
from mmengine.config import Config

from mmsvf.files.config_options import merge_options


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
