"""Kernels without a usable cache, or without a compiler: a warning, then the same spikes and gradients."""

import errno
import importlib
import shutil
import sys
import warnings

import numba
import pytest
import torch
from numba.core.caching import IndexDataCacheFile
from numba.core.dispatcher import Dispatcher

from mmsvf.spiking import clip_ops
from mmsvf.spiking.fusion import overwrite
from mmsvf.spiking.neuron import build_neuron

NAME, CACHE = 'mmsvf.spiking.numba_kernels', 'mmsvf.spiking.kernel_cache'


@pytest.fixture
def begin(monkeypatch):
    """A process that begins with kernels in no memory and, on disk, those of a folder."""

    def begin(folder):
        monkeypatch.setattr(numba.config, 'CACHE_DIR', str(folder))
        monkeypatch.setattr(numba.config, 'CACHE_LOCATOR_CLASSES', 'UserProvidedCacheLocator')
        for name in (NAME, CACHE):
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(clip_ops, 'NUMBA', True)
        monkeypatch.setitem(sys.modules, NAME, importlib.import_module(NAME))
        return sys.modules[NAME]

    return begin


def outcome(forward, x):
    leaf = x.clone().requires_grad_()
    spikes = forward(leaf)
    (spikes * torch.arange(spikes.numel()).view_as(spikes).sin()).sum().backward()
    return spikes.detach(), leaf.grad


def compare(spec, messages):
    """A neuron's spikes and gradient are those of its steps, twice; returns the warnings, and expects so many."""
    neuron, x = build_neuron(spec), torch.randn(5, 2, 3, 7) * 2
    expected = outcome(lambda leaf: neuron.explicit_steps(leaf), x)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter('always')
        for _ in range(2):
            found = outcome(neuron, x)
            assert torch.equal(found[0], expected[0])
            torch.testing.assert_close(found[1], expected[1], rtol=1e-5, atol=1e-6)
    assert len(seen) == messages, [str(one.message) for one in seen]
    return str(seen[0].message) if seen else ''


@pytest.fixture(scope='module')
def kept(tmp_path_factory):
    """A cache with all that an IntegerLIF needs."""
    folder = tmp_path_factory.mktemp('cache')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba.config, 'CACHE_DIR', str(folder))
        patch.setattr(numba.config, 'CACHE_LOCATOR_CLASSES', 'UserProvidedCacheLocator')
        patch.delitem(sys.modules, NAME, raising=False)
        importlib.import_module(NAME)
        compare('IntegerLIF', messages=0)
        patch.delitem(sys.modules, NAME)
    return folder


DAMAGE = {
    'index empty': ('*.nbi', lambda data: b''),
    'index truncated': ('*.nbi', lambda data: data[: len(data) // 2]),
    'index garbage': ('*.nbi', lambda data: bytes(range(256))),
    'data empty': ('*.nbc', lambda data: b''),
    'data truncated': ('*.nbc', lambda data: data[: len(data) // 2]),
    'data of another kind': ('*.nbc', lambda data: b'I1\n.'),
}


@pytest.mark.parametrize('damage', DAMAGE)
def test_damaged_files_are_replaced(kept, tmp_path, begin, damage):
    """What a crash leaves behind costs one compilation: the process after it finds a good cache."""
    folder = shutil.copytree(kept, tmp_path / 'cache')
    pattern, change = DAMAGE[damage]
    files = list(folder.rglob(pattern))
    assert files
    for file in files:
        file.write_bytes(change(file.read_bytes()))
    begin(folder)
    message = compare('IntegerLIF', messages=1)
    assert 'cannot be used' in message and 'NUMBA_CACHE_DIR' in message
    again = begin(folder)
    compare('IntegerLIF', messages=0)
    assert sum(again.INTEGER_LIF[0].stats.cache_hits.values()) == 1


def test_a_good_cache_is_used(kept, begin):
    kernels = begin(kept)
    compare('IntegerLIF', messages=0)
    for kernel in (kernels.INTEGER_LIF[0], kernels.INTEGER_LIF_BACKWARD[0]):
        assert len(kernel.signatures) == sum(kernel.stats.cache_hits.values()) == 1


def test_a_cold_cache_is_said(tmp_path, begin, caplog):
    """Once, with the folder; a process that finds the kernels there is silent."""
    caplog.set_level('INFO', 'mmsvf')
    begin(tmp_path)
    compare('IntegerLIF', messages=0)
    assert len(caplog.messages) == 1 and caplog.messages[0].startswith("compiling the neurons' kernels for CPU, once")
    assert str(tmp_path) in caplog.text
    begin(tmp_path)
    compare('IntegerLIF', messages=0)
    assert len(caplog.messages) == 1


def test_the_kernels_of_events_are_said_by_name(tmp_path, begin, caplog):
    """They take longer, and come after the neurons'."""
    caplog.set_level('INFO', 'mmsvf')
    begin(tmp_path)
    from mmsvf.spiking import event_kernels

    sys.modules[CACHE].OptionalCache(event_kernels._list_events.py_func, {})._tell()
    assert len(caplog.messages) == 1 and caplog.messages[0].startswith('compiling the kernels of events for CPU, once')


@pytest.mark.parametrize('spec', ['official', 'IntegerLIF'])
def test_nowhere_to_write(tmp_path, begin, spec):
    """A folder inside a file: unwritable for root, too."""
    (tmp_path / 'file').touch()
    with pytest.warns(UserWarning, match=r'no locator available.*Set NUMBA_CACHE_DIR to a folder') as seen:
        kernels = begin(tmp_path / 'file' / 'cache')
    assert len(seen) == 1
    compare(spec, messages=0)
    assert kernels.LIF[0].signatures or kernels.INTEGER_LIF[0].signatures, 'it is the kernels that ran'


@pytest.mark.parametrize('full', ['.nbi', '.nbc'])
def test_full_disk(tmp_path, begin, monkeypatch, full):
    """An index never stays without its data, which may be those of older code."""
    begin(tmp_path)
    write = IndexDataCacheFile._open_for_write

    def open_for_write(self, path):
        if path.endswith(full):
            raise OSError(errno.ENOSPC, 'No space left on device', path)
        return write(self, path)

    monkeypatch.setattr(IndexDataCacheFile, '_open_for_write', open_for_write)
    message = compare('IntegerLIF', messages=1)
    assert 'No space left' in message and 'free space' in message
    assert not list(tmp_path.rglob('*.nb*'))


@pytest.mark.parametrize('spec', ['official', 'LearnableLIF', 'IntegerLIF'])
@pytest.mark.parametrize('part', ['', 'backward'])
def test_compiler_that_fails(tmp_path, begin, monkeypatch, spec, part):
    """Explicit steps, chosen in the forward pass, also where it is the backward pass that cannot be compiled."""
    begin(tmp_path)
    compile_ = Dispatcher.compile

    def fail(self, signature):
        if part in self.py_func.__name__:
            raise OSError('LLVM is broken')
        return compile_(self, signature)

    monkeypatch.setattr(Dispatcher, 'compile', fail)
    message = compare(spec, messages=1)
    assert 'LLVM is broken' in message and 'pip install --upgrade numba' in message
    assert not clip_ops.NUMBA


def test_compiler_that_fails_in_place(tmp_path, begin, monkeypatch):
    """The clip is as it was when the steps read it."""
    begin(tmp_path)
    monkeypatch.setattr(Dispatcher, 'compile', lambda *_: 1 / 0)
    neuron, x = build_neuron('official'), torch.randn(5, 2, 7) * 2
    expected = neuron.explicit_steps(x)
    overwrite(neuron)
    with torch.no_grad(), pytest.warns(UserWarning, match='ZeroDivisionError'):
        assert torch.equal(neuron(x), expected)


def test_numba_that_cannot_be_imported(monkeypatch):
    """As one that is too old for the numpy there."""
    monkeypatch.setattr(clip_ops, 'NUMBA', True)
    monkeypatch.setitem(sys.modules, NAME, None)
    assert 'ModuleNotFoundError' in compare('official', messages=1)
