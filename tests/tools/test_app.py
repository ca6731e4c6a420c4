"""tools/app.py: its flags, and what it says of wrong ones. What the page does: tests/app."""

import re
import runpy
import signal
import socket
import sys
from pathlib import Path

import pytest
from werkzeug.serving import BaseWSGIServer

from mmsvf.app import samples
from mmsvf.app.runs import Limits
from mmsvf.app.samples import make_samples

from ..conftest import ROOT

OWN = ('--config', 'configs/demo/svf_moving_digits.py', '--checkpoint')
CHECKPOINT = 'checkpoints/svf_moving_digits-1475b0c1.pth'


@pytest.fixture
def app(monkeypatch, tmp_path):
    """Runs the tool, whose server ends at once; no sample is made."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(samples, 'SCRIPTS', {})
    monkeypatch.setattr(BaseWSGIServer, 'serve_forever', lambda self: served.append(self.app) or self.server_close())
    monkeypatch.setattr(signal, 'signal', lambda *_: None)
    served = []

    def run(*argv):
        monkeypatch.setattr(sys, 'argv', ['tools/app.py', '--device', 'cpu', '--samples', str(tmp_path), *argv])
        runpy.run_path('tools/app.py', run_name='__main__')
        return served[0]

    return run


def test_own_model_comes_first(app, capsys):
    page = app(*OWN, CHECKPOINT, '--port', '0', '--max-upload', '7', '--max-seconds', '3', '--host', '127.0.0.1')
    assert re.search(r'open http://127\.0\.0\.1:\d+/ in a browser', capsys.readouterr().out)
    assert next(iter(page.models)) == 'own' and page.models['own'].title == 'svf_moving_digits'
    assert page.models['own'].predictor.classes[0] == 'east' and len(page.models) == 7
    assert (page.max_upload, page.runs.limits, page.bound) == (7_000_000, Limits(3, 640), '127.0.0.1')
    assert not page.runs.folder.exists()


@pytest.mark.parametrize(
    'argv, message',
    [
        (OWN[:2], '--config and --checkpoint go together'),
        (('--classes', 'x.txt'), 'are for a model of your own'),
        (('--max-upload', '0'), '--max-upload 0: more than 0 expected'),
        ((*OWN, 'absent.pth'), "FileNotFoundError: checkpoint 'absent.pth' does not exist"),
        (('--config', 'configs/demo/absent.py', '--checkpoint', CHECKPOINT), 'absent.py.* does not exist'),
        (('--config', 'configs/svf_imagenet_t1.py', '--checkpoint', CHECKPOINT), "default_scope='mmpretrain'"),
        (('--host', '203.0.113.7', '--port', '0'), 'cannot listen on 203.0.113.7'),
    ],
)
def test_what_is_wrong_is_named(app, argv, message, capsys):
    with pytest.raises(SystemExit) as error:
        app(*argv)
    assert re.search(message, ' '.join([str(error.value), *capsys.readouterr()]))


def test_a_checkpoint_that_is_cut_off_is_named(app, tmp_path):
    (tmp_path / 'cut_off.pth').write_bytes((ROOT / CHECKPOINT).read_bytes()[:1000])
    with pytest.raises(SystemExit, match=r'^UnpicklingError: .*cut_off\.pth'):
        app(*OWN, str(tmp_path / 'cut_off.pth'))


def test_a_taken_port_is_named(app):
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        other.listen()
        with pytest.raises(SystemExit, match='is it taken\\? Give another --port'):
            app('--host', '127.0.0.1', '--port', str(other.getsockname()[1]))


def test_samples_that_cannot_be_made_are_said(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(samples, 'SCRIPTS', {'moving digits': ('moving_digits.py', '--size', '7')})
    assert make_samples(ROOT / 'tools' / 'dataset_converters', tmp_path) == []
    assert 'no samples of moving digits: ' in capsys.readouterr().out and not list(Path(tmp_path).iterdir())
