"""The models that came with mmsvf, put where a user wants them."""

import runpy
import sys

import pytest
from mmengine.config import Config

from mmsvf.files.zoo import copy_models, weights_file, zoo
from tests.conftest import ROOT


def test_checkpoint_and_config_of_each_model(tmp_path):
    """Those that have a checkpoint; a config in one piece says what the one of the repository says."""
    entries = zoo(ROOT)
    assert len(entries) > 20
    names = [name for name, entry in entries.items() if 'Weights' in entry]
    files = copy_models(names, ROOT, tmp_path / 'new')
    assert len(files) == 2 * len(names) == 12 and set(files) == set((tmp_path / 'new').iterdir())
    for name in names:
        source = weights_file(ROOT, entries[name])
        assert (tmp_path / 'new' / source.name).read_bytes() == source.read_bytes()
        copied = Config.fromfile(tmp_path / 'new' / f'{name}.py')
        assert copied.to_dict() == Config.fromfile(ROOT / entries[name]['Config']).to_dict()


def test_the_command(tmp_path, monkeypatch, capsys):
    """Its flags are those of ``mim download``; nothing is written where a model has no checkpoint."""
    script = str(ROOT / 'tools' / 'misc' / 'download.py')

    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', [script, *map(str, arguments)])
        runpy.run_path(script, run_name='__main__')

    call('--config', 'svf_moving_digits', '--dest', tmp_path)
    written = [*map(str, tmp_path.iterdir())]
    assert sorted(capsys.readouterr().out.split()) == sorted(written) and len(written) == 2
    for name, message in (('svf_k400', 'was not trained'), ('nope', 'no model of the zoo')):
        with pytest.raises(SystemExit, match=f'{name} .*{message}.*svf_moving_scenes_vss'):
            call('--config', 'svf_moving_body', name, '--dest', tmp_path)
    assert [*map(str, tmp_path.iterdir())] == written
    with pytest.raises(SystemExit, match=r'\.pth is a file; give a folder'):
        call('--config', 'svf_moving_digits', '--dest', next(tmp_path.glob('*.pth')))
