"""What lets broken releases of OpenMMLab's packages import, each with its reason and when to delete it; and the means.

A bridge is tied to the module it concerns and is put in place while that module is imported, so that ``import mmsvf``
imports none of them. Each looks for the defect itself, not for a version, and logs once that it did something. This
module imports nothing of mmsvf.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.util import find_spec, spec_from_loader
from types import ModuleType
from typing import Any

Bridge = Callable[[ModuleType], AbstractContextManager[None]]

_logged: set[str] = set()


def log_once(message: str, level: int = logging.INFO) -> None:
    """A line of MMEngine's log, once per process."""
    if message not in _logged:
        _logged.add(message)
        from mmengine.logging import print_log

        print_log(f'mmsvf: {message}', logger='current', level=level)


class _ImportHook(MetaPathFinder):
    """Runs a bridge around the import of a module."""

    def __init__(self) -> None:
        self.bridges: dict[str, list[Bridge]] = {}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        bridges = self.bridges.get(fullname)  # kept: an import that failed may be tried again
        if bridges is None:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                execute = spec.loader.exec_module
                spec.loader.exec_module = partial(_execute, bridges, execute)  # type: ignore[method-assign]
                return spec
        return None


def _execute(bridges: list[Bridge], execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    with contextlib.ExitStack() as stack:
        for bridge in bridges:
            stack.enter_context(bridge(module))
        execute(module)


_hook = _ImportHook()


def on_import(name: str, bridge: Bridge) -> None:
    """Run ``bridge(module)`` around the execution of module ``name``; now, if it is imported already."""
    _hook.bridges.setdefault(name, []).append(bridge)
    if name in sys.modules:
        with bridge(sys.modules[name]):
            return


def install() -> None:
    """Put the stand-ins in place; called once by ``import mmsvf``."""
    if _hook in sys.meta_path:
        return
    sys.meta_path.insert(0, _hook)
    on_import('mmengine.logging', hand_on_log)
    on_import('mmcv.ops', stub_mmcv_ops)
    on_import('mmaction.models.localizers', stub_mmaction_drn)
    on_import('mmengine.analysis.print_helper', take_shape_beside_inputs)
    on_import('mmengine.dataset.dataset_wrapper', end_repeated_data)
    on_import('decord.video_reader', cut_padded_rows)
    on_import('pkg_resources', import_without_a_word)


class _HandOn(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        from mmengine.logging import print_log

        print_log(f'mmsvf: {record.getMessage()}', logger='current', level=record.levelno)


@contextlib.contextmanager
def hand_on_log(module: ModuleType) -> Iterator[None]:
    """MMEngine's logger says what mmsvf.spiking says by Python's own logging, since it imports no MMEngine."""
    yield
    own = logging.getLogger('mmsvf')
    own.addHandler(_HandOn())
    own.setLevel(logging.INFO)


class _StandIns(MetaPathFinder, Loader):
    """Modules in place of those that no other finder has, with the package they are in."""

    def __init__(self) -> None:
        self.modules: dict[str, str] = {}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        package = any(name.startswith(f'{fullname}.') for name in self.modules)
        return spec_from_loader(fullname, self, is_package=package) if package or fullname in self.modules else None

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ in self.modules:
            own = import_module(self.modules[module.__name__])
            vars(module).update({name: value for name, value in vars(own).items() if not name.startswith('_')})
            log_once(f'{module.__name__} is not installed: {own.__name__} stands for it')


_stand_ins = _StandIns()


def stand_in(name: str, own: str) -> None:
    """Have the module named ``own`` imported as ``name`` where that is not installed."""
    _stand_ins.modules[name] = own
    if _stand_ins not in sys.meta_path:
        sys.meta_path.append(_stand_ins)


class Overlay(ModuleType):
    """A module of which some names are others; it stands for the module in a single importer."""

    def __init__(self, module: ModuleType, **names: Any) -> None:
        super().__init__(module.__name__)
        self.__dict__.update(names, _module=module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__['_module'], name)


def rebind(module: ModuleType, name: str, new: Any) -> None:
    """Replace a name of a module, and wherever a module of OpenMMLab has taken it from there before."""
    old = getattr(module, name)
    for other in list(sys.modules.values()):
        if getattr(other, '__name__', '').startswith('mm') and vars(other).get(name) is old:
            setattr(other, name, new)
    setattr(module, name, new)


class _MissingOps(ModuleType):
    """Stands for mmcv's compiled extension: importable, but an op that is called says what is missing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)

        def op(*_: Any, **__: Any) -> Any:
            raise RuntimeError(
                f'the mmcv op {name!r} needs the compiled mmcv; this is mmcv-lite. Add it with: '
                'pip uninstall -y mmcv-lite && mim install "mmcv>=2.0.0,<2.2.0"'
            )

        return op


@contextlib.contextmanager
def stub_mmcv_ops(module: ModuleType) -> Iterator[None]:
    """Let ``mmcv.ops`` be imported where mmcv has no compiled extension (mmcv-lite).

    Reason: mmaction, mmseg, mmpose and mmdet import ``mmcv.ops`` unguarded. The stand-in is taken
    away again, since MMEngine looks for ``mmcv._ext`` to tell mmcv from mmcv-lite. Delete when
    the frameworks guard that import.
    """
    if find_spec('mmcv._ext') is not None:
        yield
        return
    sys.modules['mmcv._ext'] = _MissingOps('mmcv._ext')
    try:
        yield
    finally:
        del sys.modules['mmcv._ext']
    log_once('mmcv has no compiled ops (mmcv-lite): a stand-in lets the frameworks import; calling an op says so')


@contextlib.contextmanager
def stub_mmaction_drn(module: ModuleType) -> Iterator[None]:
    """Supply ``mmaction.models.localizers.drn``, which the mmaction2 1.2.0 wheel left out.

    Reason: open-mmlab/mmaction2#2714. Delete when a fixed wheel is on the package index.
    """
    if not any(os.path.isdir(os.path.join(path, 'drn')) for path in module.__path__):

        class DRN:
            def __init__(self, *_: Any, **__: Any) -> None:
                raise ImportError(
                    'DRN is missing from this mmaction2 wheel; it is in mmaction2 from its git repository '
                    '(pip install -v -e .)'
                )

        names = f'{module.__name__}.drn', f'{module.__name__}.drn.drn'
        for name in names:
            sys.modules.setdefault(name, ModuleType(name))
        sys.modules[names[1]].DRN = DRN  # type: ignore[attr-defined]
        log_once('the mmaction2 wheel lacks localizers/drn (mmaction2#2714): a stand-in lets it import')
    yield


@contextlib.contextmanager
def take_shape_beside_inputs(module: ModuleType) -> Iterator[None]:
    """Let ``get_model_complexity_info`` be given a shape beside the inputs, which then count alone.

    Reason: mmsegmentation 1.2.2's ``get_flops.py`` hands over both, which MMEngine 0.10 refuses, for any model. Delete
    when the tool gives one of them.
    """
    yield
    count = module.get_model_complexity_info

    @functools.wraps(count)
    def get_model_complexity_info(model: Any, input_shape: Any = None, inputs: Any = None, **kwargs: Any) -> Any:
        return count(model, None if inputs is not None else input_shape, inputs, **kwargs)

    rebind(module, 'get_model_complexity_info', get_model_complexity_info)


@contextlib.contextmanager
def end_repeated_data(module: ModuleType) -> Iterator[None]:
    """Let a loop over a ``RepeatDataset`` end.

    Reason: its ``__getitem__`` takes any index, so that ``browse_dataset.py`` of the frameworks, which loops over the
    data set, goes on for ever. Delete when MMEngine raises an IndexError there.
    """
    yield
    repeated = module.RepeatDataset
    if not hasattr(repeated, '__iter__'):
        repeated.__iter__ = lambda self: map(self.__getitem__, range(len(self)))


@contextlib.contextmanager
def cut_padded_rows(module: ModuleType) -> Iterator[None]:
    """Let decord read narrow videos, by frames and by batches.

    Reason: decord 0.6 pads rows to 64 bytes and takes a row's bytes over its pixels for the channels: with 48 pixels a
    frame has four, which do not fit into a batch. Delete when a frame of such a video has three.
    """
    yield
    get_batch, grab = module.VideoReader.get_batch, module._CAPI_VideoReaderNextFrame

    def grab_cut(handle: Any) -> Any:
        frame = grab(handle)
        if len(frame.shape) < 3 or frame.shape[2] == 3:
            return frame
        height, width = frame.shape[:2]
        rows = frame.asnumpy().reshape(height, -1)[:, : 3 * width]
        return module._nd.array(rows.reshape(height, width, 3))

    @functools.wraps(get_batch)
    def get_cut_batch(reader: Any, indices: Any) -> Any:
        try:
            return get_batch(reader, indices)
        except module.DECORDError:
            reader.seek_accurate(0)
            if grab(reader._handle).shape[2:] == (3,):  # something else is wrong
                raise
            frames = []
            for i in reader._validate_indices(indices).tolist():
                reader.seek_accurate(i)
                frames.append(grab_cut(reader._handle).asnumpy())
            return module.bridge_out(module._nd.array(module.np.stack(frames)))

    module._CAPI_VideoReaderNextFrame = grab_cut  # type: ignore[attr-defined]
    module.VideoReader.get_batch = get_cut_batch


@contextlib.contextmanager
def import_without_a_word(module: ModuleType) -> Iterator[None]:
    """Let ``pkg_resources`` be imported without its warning that setuptools drops it.

    Reason: MMEngine imports it, twice, for a config of a framework, and what the warning asks for, a pinned setuptools,
    is there (docs/install.md). Delete when MMEngine asks ``importlib.metadata``.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'pkg_resources is deprecated')
        yield
