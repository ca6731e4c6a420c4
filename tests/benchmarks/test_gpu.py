"""benchmarks/gpu.py on a CPU: every part runs, every line of the report is filled, and a bar can be missed."""

import importlib
import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

import mmsvf.spiking  # noqa: F401  (before there is a stand-in for Triton)
from tests.conftest import ROOT
from tests.tools import forked

BENCHMARKS = ROOT / 'benchmarks'
TRITON = ROOT / '.targets' / 'triton'
OWN = 'gpu', 'lif', 'linear', 'model', 'report', 'timing'


@pytest.fixture
def imported(monkeypatch):
    """The scripts as modules, imported anew."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in OWN:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module
    for name in OWN:
        sys.modules.pop(name, None)


TRITON_ENV = dict(TRITON_INTERPRET='1', PYTHONPATH=f'{ROOT}{os.pathsep}{TRITON}') if TRITON.is_dir() else {}
# what the parts import, in some thirty processes
IMPORTED = *forked.FRAMEWORKS, 'matplotlib.pyplot'


def gpu(out, *arguments, minutes=15, python=sys.executable):
    command = [python, str(BENCHMARKS / 'gpu.py'), '--tiny', '--out', str(out), '--minutes', str(minutes)]
    env = {**os.environ, 'OMP_NUM_THREADS': '1', **TRITON_ENV}
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, env=env)
    return done, (out / 'report.md').read_text() if (out / 'report.md').is_file() else ''


def test_every_part(tmp_path, imported):
    """The whole script. What only a GPU does runs in test_what_only_a_gpu_does, with stand-ins for CUDA."""
    python = forked.python(*IMPORTED, **TRITON_ENV)
    done, report = gpu(tmp_path, '--parts', 'right', 'fast', 'learns', 'table6', python=python)
    assert done.returncode == 0, report[-5000:]
    module = imported('gpu')
    for name in module.PARTS:
        section = report.partition(f'\n## {name}\n')[2].partition('\n## ')[0]
        assert ': done after' in section, name
        assert section.count('\n|') > 2 or 'Epoch(test)' in section, section
    assert 'not measured' not in report.replace('x plainly written | fast.long | >= 3 | - | not measured', '', 1)


def test_time_runs_out(tmp_path):
    """A part that is stopped shows what it had, those behind it are said, and the status is 1."""
    done, report = gpu(tmp_path, '--parts', 'fast.attention', 'fast.clips', minutes=0.03)
    assert done.returncode == 1 and 'fast.attention: out of time' in done.stderr, done.stderr
    assert report.count(': out of time after') == 2 and '| not measured |' in report


def test_unknown_part(tmp_path):
    done, _ = gpu(tmp_path, '--parts', 'fast', 'slow')
    assert done.returncode == 1 and "no parts ['slow']; choose from ['right', 'fast.neurons'" in done.stderr


def test_no_wheels(tmp_path):
    (tmp_path / 'wheels').mkdir()
    done, _ = gpu(tmp_path, '--wheels', str(tmp_path / 'wheels'))
    assert done.returncode == 1 and 'has no wheel' in done.stderr


def test_bars(tmp_path, imported):
    """A figure that misses its bar is a failure; one that was not measured says so; the last match counts."""
    report, bars = imported('report'), imported('gpu').BARS
    (tmp_path / 'fast.neurons.json').write_text('{"neuron_bandwidth": 0.69, "neuron_against_spikingjelly": 1.3}')
    (tmp_path / 'learns.body.log').write_text('PA-MPJPE: 48.2000\nPA-MPJPE: 50.5000\n')
    text, missed = report.Report(tmp_path, bars, tiny=False).bars()
    assert [line.split(':')[0] for line in missed] == ['neurons', 'body']
    assert text.count('MISSED') == 2 and text.count('| holds |') == 1 and text.count('not measured') == len(bars) - 3


@pytest.fixture
def stand_ins(monkeypatch, imported):
    """CUDA's functions on a CPU, and scripts that think there is a GPU: 24 MB, of which a clip takes 2."""
    taken = SimpleNamespace(mb=0.0, events=[])

    class Graph:
        def replay(self):
            taken.events.append('replay')

    class Capture:
        def __init__(self, graph):
            taken.events.append('capture')

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

    timing = imported('timing')
    monkeypatch.setattr(timing, 'GPU', True)
    for name, value in dict(
        synchronize=lambda: taken.events.append('synchronize'),
        reset_peak_memory_stats=lambda: None,
        max_memory_allocated=lambda: taken.mb * 2**20,
        empty_cache=lambda: None,
        get_device_name=lambda: 'a stand-in',
        mem_get_info=lambda: (24 * 2**20, 24 * 2**20),
        CUDAGraph=Graph,
        graph=Capture,
    ).items():
        monkeypatch.setattr(torch.cuda, name, value)
    return taken


def test_what_only_a_gpu_does(stand_ins, imported, monkeypatch, capsys, tmp_path):
    """Memory by CUDA's counters, the largest batch by trying, CUDA graphs, kernels timed by Triton."""
    model = imported('model')

    def clip(args, batch, steps):
        stand_ins.mb = 4 + 2.0 * batch
        if stand_ins.mb > 20:
            raise torch.OutOfMemoryError('CUDA out of memory')
        return torch.randn(batch, 3, steps, 32, 32)

    monkeypatch.setattr(model, 'clip', clip)
    arguments = ['--arch', '8,8,8,8,8', '--steps', '2', '--rounds', '1', '--batch', '2', '--largest-batch']
    monkeypatch.setattr(sys, 'argv', ['model.py', *arguments, '--json', str(tmp_path / 'found.json')])
    model.main()
    output = capsys.readouterr().out
    forward, training = output.split('| training |', 1)
    assert {'capture', 'replay', 'synchronize'} <= set(stand_ins.events) and 'a stand-in' in output
    for variant in ('plain', 'spikingjelly', 'channels last', 'default'):
        assert f'\n| {variant} |' in forward and f'\n| {variant} |' in training
    assert '\n| CUDA graph |' in forward and '\n| with_cp |' in training
    # by 24 MB there would be 10 clips of 2 MB beside 4 MB, but 20 MB hold 8
    assert output.count('| 2 | 8 | 38144 |') == 5, output
    assert (tmp_path / 'found.json').read_text().count('training_batch_against_plain": 1.0') == 1

    lif = imported('lif')
    for name in ('triton', 'triton.testing'):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules['triton.testing'].do_bench = lambda function, return_mode: function() is None or 0.5
    monkeypatch.setattr(lif, 'version', lambda name: '0')
    monkeypatch.setattr(
        sys, 'argv', ['lif.py', '--shapes', '2x3x3', '--steps', '2', '--json', str(tmp_path / 'lif.json')]
    )
    monkeypatch.delenv('TRITON_INTERPRET', raising=False)
    lif.main()
    assert '| 2x3x3 | IntegerLIF | fp32 |' in capsys.readouterr().out
    assert '"neuron_bandwidth": 1.0' in (tmp_path / 'lif.json').read_text()
