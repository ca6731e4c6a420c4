"""Many trainings as one command: what is kept when something goes wrong, and what is refused before hours of it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from mmsvf.analysis import ablation
from mmsvf.analysis.ablation_record import Record

from ..conftest import ROOT

CONFIG = ROOT / 'configs/demo/svf_moving_digits.py'
ROWS = {'base': {}, 'dot': {'model.backbone.attention': {'score': 'dot'}}}
TRAIN = """
import json, pathlib, sys, time
if 'takes_a_minute' in pathlib.Path(sys.argv[1]).read_text():
    time.sleep(60)
folder = pathlib.Path(sys.argv[sys.argv.index('--work-dir') + 1])
(folder / 'now' / 'vis_data').mkdir(parents=True)
(folder / 'now' / 'vis_data' / 'scalars.json').write_text(json.dumps({'acc/top1': 0.5}))
"""


@pytest.fixture
def tools(tmp_path):
    """A train.py that takes no time and ends at 50 %, or a minute where the config says so."""
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools' / 'train.py').write_text(TRAIN)
    return tmp_path / 'tools'


@pytest.fixture(scope='module')
def config():
    return Config.fromfile(str(CONFIG))


def run(config, tools, rows=ROWS, seeds=(0,), work='work', **options):
    return ablation.ablate(config, rows, seeds, tools.parent / work, tools, **options)


def test_a_run_is_in_the_record_when_it_ends_and_others_stay(config, tools):
    """Also what another command has put there since this one has read it."""
    raw, seen = tools.parent / 'raw.json', []
    add = Record.add

    def add_beside_another(self, *args):
        if not seen:
            run(config, tools, seeds=(7,), work='other', raw=raw)
        seen.append(args)
        add(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Record, 'add', lambda self, *args: add(self, *args) if seen else add_beside_another(self, *args))
        run(config, tools, raw=raw)
    kept = json.loads(raw.read_text())
    assert {row: sorted(found) for row, found in kept['results'].items()} == {'base': ['0', '7'], 'dot': ['0', '7']}


@pytest.mark.parametrize('name', ['svf_moving_body', 'svf_moving_scenes'])
def test_the_usual_metric_is_the_one_that_checkpoints_are_kept_by(name):
    """A name that no validation logs would be noticed after the first training."""
    cfg = Config.fromfile(str(CONFIG.parent / f'{name}.py'))
    assert ablation.METRICS[cfg.default_scope] == cfg.default_hooks.checkpoint.save_best


def test_what_fails_leaves_the_others(config, tools, capsys):
    """One that is no mistake of a user's, too. It is said when it happens, as others may take hours."""
    work = tools.parent / 'work' / 'dot'
    work.mkdir(parents=True)
    (work / '0').write_text('a file')
    raw = tools.parent / 'raw.json'
    lines, failed = run(config, tools, raw=raw)
    assert '| base |' in '\n'.join(lines) and len(failed) == 1 and failed[0].startswith('dot, seed 0: ')
    assert capsys.readouterr().err.strip() == failed[0]
    assert list(json.loads(raw.read_text())['results']) == ['base']


def test_an_interrupt_ends_it_and_keeps_what_is_done(tools):
    """Ctrl-C reaches the trainings, too; no other one starts, and the table is printed."""
    rows = tools.parent / 'rows.yml'
    rows.write_text('base: {}\n' + ''.join(f'slow{i}: {{work_dir: takes_a_minute}}\n' for i in range(4)))
    script = (
        'import signal, sys, yaml\nfrom pathlib import Path\nfrom mmengine.config import Config\n'
        'from mmsvf.analysis import ablation\n'
        'signal.signal(signal.SIGINT, signal.default_int_handler)\n'  # a job in the background ignores it
        f'rows, tools = yaml.safe_load(Path({str(rows)!r}).read_text()), Path({str(tools)!r})\n'
        f'config = Config.fromfile({str(CONFIG)!r})\n'
        "lines, failed = ablation.ablate(config, rows, [0], tools.parent / 'work', tools)\n"
        "print('\\n'.join([*lines, *failed]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, '-c', script], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    config = tools.parent / 'work' / 'slow0' / '0' / 'config.py'

    def interrupt():
        for _ in range(600):
            if config.is_file():
                break
            time.sleep(0.1)
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and '| base |' in output and '0.5' in output
    assert [f'slow{i}, seed 0: ' in output for i in range(4)] == [True] * 4 and 'goes on from there' in output
    assert not (tools.parent / 'work' / 'slow3').exists()


def test_a_record_of_another_state_of_the_config_is_refused(config, tools):
    raw = tools.parent / 'raw.json'
    run(config, tools, raw=raw)
    wide = Config.fromfile(str(CONFIG))
    wide.model.backbone.arch.embed_dims = (8, 16, 32, 128, 64)
    with pytest.raises(ValueError, match=r'parameters of base: .* give another --json'):
        run(wide, tools, raw=raw)
    other = Config.fromfile(str(CONFIG))
    other.optim_wrapper.optimizer.lr = 0.1
    with pytest.raises(ValueError, match='has base, seed 0, of a config of this name that was another'):
        run(other, tools, raw=raw)
    kept = json.loads(raw.read_text())
    assert [kept['results'][row]['0'].pop('config') for row in ROWS]
    raw.write_text(json.dumps(kept))  # as of before fingerprints: taken by parameters alone
    assert run(other, tools, raw=raw, work='another')[1] == []
    assert not (tools.parent / 'another').exists()


@pytest.mark.parametrize('text', ['[]', '{', '{"config": "svf_moving_digits.py"}'])
def test_what_is_no_record_is_said(config, tools, text):
    raw = tools.parent / 'raw.json'
    raw.write_text(text)
    with pytest.raises(ValueError, match=r'raw\.json is no record of ablate\.py'):
        run(config, tools, raw=raw)
    assert raw.read_text() == text


@pytest.mark.parametrize('wrong', [dict(jobs=0), dict(seeds=(0, 0)), dict(seeds=())], ids=str)
def test_what_cannot_be_is_said(config, tools, wrong):
    with pytest.raises(ValueError, match='one job or more, one seed or more, and each seed once'):
        run(config, tools, **wrong)


def test_options_are_checked_and_filled(config):
    with pytest.raises(ValueError, match="did you mean 'optim_wrapper'"):
        ablation.variant(config, 0, {'optim_wraper.optimizer.lr': 1.0})
    deep = {'model.backbone.init_cfg': dict(type='Pretrained', checkpoint='a/{row}/{seed}.pth'), 'names': ['{row}']}
    cfg = ablation.variant(config, 3, deep, row='dot')
    assert cfg.model.backbone.init_cfg.checkpoint == 'a/dot/3.pth' and cfg.names == ['dot']
    assert deep['names'] == ['{row}'] and 'names' not in config


def test_a_row_without_a_seed_of_the_base_has_no_difference():
    results = {'base': {0: {'m': 1.0}}, 'row': {1: {'m': 5.0}}}
    assert ablation.table(results, dict(base=1, row=2), 'm', None)[-1] == '| row | 2 | 1 | 5 | - | - |'
    assert ablation.differences(np.array([]), np.array([])) == ['-', '-']


def test_a_record_is_written_whole(tmp_path):
    record = Record(tmp_path / 'new' / 'raw.json', dict(config='c', metric='m', options={}), ROWS, dict(base=1, dot=2))
    record.add('base', 0, dict(m=1.0))
    record.add('base', 1, dict(m=2.0))
    assert record.run('base', 1, 'x') == dict(m=2.0) and record.run('dot', 0, 'x') == {}
    assert [path.name for path in Path(tmp_path, 'new').iterdir()] == ['raw.json']
