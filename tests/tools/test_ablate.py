"""tools/analysis/ablate.py and width_study.py: what they train, what they skip, what they print."""

import json
import os
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from mmsvf.analysis import ablation, score_signals, width_study
from mmsvf.spiking.attention_reads import AttentionRead

from . import forked
from .test_train_and_test import ROOT
from .test_train_and_test import tool as one_tool

CONFIG = 'configs/demo/svf_moving_digits.py'


def tool(*arguments):
    return one_tool(*arguments, modules=forked.FRAMEWORKS)


def tool_error(*arguments):
    script = ROOT / 'tools' / f'{arguments[0]}.py'
    with tempfile.TemporaryDirectory() as folder:
        code, output, error = forked.run(
            script, [*map(str, arguments[1:])], ROOT, os.environ, Path(folder), forked.FRAMEWORKS
        )
    assert code, output
    return output + error


@pytest.fixture(scope='module')
def options(tmp_path_factory):
    """The demo, one short epoch on eight videos."""
    folder = tmp_path_factory.mktemp('moving_digits')
    tool('dataset_converters/moving_digits', folder, '--train', '8', '--val', '4', '--frames', '10')
    return [
        '--cfg-options',
        'train_cfg.max_epochs=1',
        'param_scheduler.total_steps=1',
        'param_scheduler.pct_start=0.5',
        *(
            f'{split}_dataloader.dataset.{key}={folder / value}'
            for split, name in (('train', 'train'), ('val', 'val'), ('test', 'val'))
            for key, value in (('ann_file', f'{name}.txt'), ('data_prefix.video', name))
        ),
    ]


@pytest.fixture(scope='module')
def runs(options, tmp_path_factory):
    """The narrowest networks of the width study, trained."""
    work = tmp_path_factory.mktemp('runs')
    command = [
        'analysis/ablate',
        CONFIG,
        'configs/ablation/width.yml',
        '--work-dir',
        work,
        '--energy',
        '1',
        '--jobs',
        '2',
    ]
    return work, command, tool(*command, '--only', 'hamming_16', 'dot_16', '--seeds', '0', *options)


def contents(work):
    return {path: path.stat().st_mtime_ns for path in work.rglob('*') if path.is_file()}


def test_table_of_runs(runs):
    work, _, log = runs
    assert re.findall(r'^\| ((?:hamming|dot)_16) \| [\d,]+ \| 1 \| ', log, re.M) == ['hamming_16', 'dot_16']
    for row in ('hamming_16', 'dot_16'):
        result = json.loads((work / row / '0' / 'result.json').read_text())
        assert 0 <= result['acc/top1'] <= 1 and result['energy of 1']['paper'] > 0


def test_seeds_are_added_and_finished_runs_kept(runs, options, tmp_path):
    work, command, _ = runs
    before = contents(work)
    files = ['--out', tmp_path / 'out' / 'table.md', '--json', tmp_path / 'raw' / 'table.json']
    log = tool(*command, '--only', 'hamming_16', '--seeds', '0', '1', *files, *options)
    assert '| hamming_16 |' in log and (tmp_path / 'out' / 'table.md').read_text() in log
    raw = json.loads((tmp_path / 'raw' / 'table.json').read_text())
    assert raw['metric'] == 'acc/top1' and raw['config'] == Path(CONFIG).name and list(raw['rows']) == ['hamming_16']
    for seed in '01':
        result = (work / 'hamming_16' / seed / 'result.json').read_text()
        assert raw['results']['hamming_16'][seed] == json.loads(result)
    after = contents(work)
    assert {path: after[path] for path in before} == before
    # the record is enough, elsewhere and without any time; a row is added to it, and another training is not mixed in
    elsewhere = ['--work-dir', tmp_path / 'elsewhere', '--energy', '1', *files]
    other = tool(
        'analysis/ablate',
        CONFIG,
        command[2],
        *elsewhere,
        '--only',
        'hamming_16',
        '--seeds',
        '0',
        '1',
        '--minutes',
        '0',
        *options,
    )
    assert re.search(r'^\| hamming_16 .*$', other, re.M)[0] in log and not (tmp_path / 'elsewhere').exists()
    tool(*command, '--only', 'dot_16', '--seeds', '0', *files, *options)
    added = json.loads((tmp_path / 'raw' / 'table.json').read_text())
    assert added['results']['hamming_16'] == raw['results']['hamming_16'] and list(added['results']['dot_16']) == ['0']
    error = tool_error(*command, '--only', 'dot_16', '--seeds', '0', *files, *options, 'optim_wrapper.optimizer.lr=0.1')
    assert 'table.json is of runs with options: {' in error and 'give another --json' in error
    paths = [(work / 'hamming_16' / seed / 'run' / 'last_checkpoint').read_text() for seed in '01']
    first, second = (torch.load(path, weights_only=False)['state_dict'] for path in paths)  # our own files
    assert not all(torch.equal(first[key], second[key]) for key in first), 'seeds differ'


def test_other_options_in_the_same_folder_are_refused(runs, options):
    work, command, _ = runs
    before = contents(work)
    error = tool_error(*command, '--only', 'dot_16', '--seeds', '0', *options, 'optim_wrapper.optimizer.lr=0.1')
    assert 'holds a run of another config' in error and '--work-dir' in error and 'no run of the base' in error
    assert contents(work) == before


def test_time_is_over(runs, options):
    """What is finished is in the table; what is not was not started, and is named."""
    work, command, _ = runs
    error = tool_error(*command, '--only', 'hamming_16', '--seeds', '0', '7', '--minutes', '0', *options)
    assert '| hamming_16 | ' in error and 'hamming_16, seed 7: the time is over before train.py has ended' in error
    assert not (work / 'hamming_16' / '7' / 'run').exists()


def test_width_study(runs, tmp_path, options):
    work, _, _ = runs
    log = tool('analysis/width_study', work, '--clips', '2', '--out', tmp_path / 'study.png')
    cells = [cell.strip() for cell in re.search(r'^\| 16 \|.*$', log, re.M)[0].split('|')]
    assert cells[1:3] == ['16', '2'] and all(-1 <= float(cell) <= 1 for cell in cells[4:8])
    assert float(cells[5]) == pytest.approx(0.28, abs=0.06), 'two random bits'
    assert (tmp_path / 'study.png').stat().st_size > 5000


def test_signals_of_known_spikes():
    """One clip of two tokens, one head of two channels: queries 00, 10; keys 10, 11; values 10, 01."""
    q, k, v = (
        torch.tensor(x, dtype=torch.float32).T.reshape(1, 1, 2, 1, 2)
        for x in ([[0, 0], [1, 0]], [[1, 0], [1, 1]], [[1, 0], [0, 1]])
    )
    dot, hamming = (AttentionRead(2, 1, 'clip', score=score) for score in ('dot', 'hamming'))
    assert score_signals.of_spikes(dot, q, k, v) == (0.5, 0.5)  # scores 0 0, 1 1: the reads 00, 11
    assert score_signals.of_spikes(hamming, q, k, v) == (0.5, 1.0)  # scores 0 -2, 2 0


def test_score_signals(runs, options):
    work, _, _ = runs
    rows = ['--only', 'hamming_16', 'dot_16', '--seeds', '0']
    log = tool('analysis/score_signals', CONFIG, 'configs/ablation/width.yml', *rows, '--runs', work, *options)
    cells = {line.split(' | ')[0]: line.split(' | ')[1:] for line in log.splitlines() if line.startswith('| ')}
    hamming, dot = ([float(x.strip(' |')) for x in cells[f'| {row}_16']] for row in ('hamming', 'dot'))
    assert len(dot) == 6 and hamming[0] < 0.5 < dot[0] <= 1, 'sparse spikes seldom meet'
    assert all(x > 0 for x in hamming)


def test_wrong_rows_are_named(tmp_path):
    assert "no rows ['joint']; choose from ['base'" in tool_error(
        'analysis/ablate', CONFIG, 'configs/ablation/table6.yml', '--only', 'joint'
    )
    rows = tmp_path / 'rows.yml'
    rows.write_text('base: {}\nworse: {model.backbone.attention: {scor: dot}}\n')
    assert "no option 'scor'; did you mean 'score'" in tool_error('analysis/ablate', CONFIG, rows)
    rows.write_text('- base\n')
    assert 'a mapping of row names' in tool_error('analysis/ablate', CONFIG, rows)


def test_paired_differences():
    """Against a hand-made case: differences 1, 2, 3; Student's t at 2 degrees of freedom is 4.303."""
    base = np.array([10.0, 20.0, 30.0])
    cells = ablation.differences(base + np.arange(1, 4), base)
    assert cells == ['2 ± 1', '-0.484 to 4.48']
    assert ablation.differences(base, base) == ['0', '-']
    lines = ablation.table(
        {'base': {0: {'m': 1.0}, 1: {'m': 2.0}}, 'row': {1: {'m': 5.0}, 7: {'m': 9.0}}}, dict(base=1, row=2), 'm', None
    )
    assert lines[-1] == '| row | 2 | 2 | 7 ± 2.8 | 3 | - |', 'only seed 1 is in both'


def test_similarities_of_known_spikes():
    """Signs of Gaussian projections as spikes and their inputs: the error is Fig. 3's, constants give 0."""
    u, w = torch.randn(2, 1, 200, 256)
    error, rank_hamming, rank_dot = width_study.compare((u.gt(0).float(), u), (w.gt(0).float(), w))
    assert error < 0.05 and rank_hamming > 0.55 and rank_hamming > rank_dot > 0.3
    silent = width_study.compare((torch.zeros_like(u), u), (torch.zeros_like(w), w))
    assert silent[1:] == (0.0, 0.0)
