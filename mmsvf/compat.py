"""Bridges over broken upstream releases, each with its reason and when to delete it.

A bridge is tied to the module it concerns and is put in place while that module is imported, so
that ``import mmsvf`` imports none of them. Each looks for the defect itself, not for a version,
and logs once that it did something.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from types import ModuleType
from typing import Any

Bridge = Callable[[ModuleType], AbstractContextManager[None]]

_logged: set[str] = set()


def _log_once(message: str, level: int = logging.INFO) -> None:
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
    """Put all bridges in place; called once by ``import mmsvf``."""
    if _hook in sys.meta_path:
        return
    sys.meta_path.insert(0, _hook)
    on_import('mmengine.registry', register_mmsvf)
    on_import('mmengine.runner.checkpoint', load_checkpoints_safely)
    on_import('mmengine.runner.checkpoint', write_checkpoints_whole)
    on_import('mmengine.config.config', leave_stored_configs)
    for reader in ('mmengine.fileio.handlers.pickle_handler', 'mmpretrain.datasets.cifar', 'mmseg.utils.io'):
        on_import(reader, read_pickles_safely)
    on_import('mmengine.fileio.handlers.yaml_handler', read_yaml_safely)
    on_import('mmengine.fileio.io', name_the_file)
    for reader in ('mmpose.datasets.datasets.wholebody3d.h3wb_dataset', 'mmdet.datasets.openimages'):
        on_import(reader, read_objects_safely)
    on_import('mmengine.hooks.checkpoint_hook', keep_the_old_until_the_new)
    on_import('mmengine.runner._flexible_runner', count_as_the_runner)
    on_import('mmengine._strategy.fsdp', shard_with_this_torch)
    on_import('mmcv.ops', stub_mmcv_ops)
    on_import('mmaction.models.localizers', stub_mmaction_drn)


@contextlib.contextmanager
def register_mmsvf(module: ModuleType) -> Iterator[None]:
    """Not a bridge, but the same mechanism: our entries join MMEngine's registries once these exist."""
    yield
    importlib.import_module('mmsvf.registry')


class _With(ModuleType):
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


@contextlib.contextmanager
def load_checkpoints_safely(module: ModuleType) -> Iterator[None]:
    """Every checkpoint MMEngine loads goes through ``mmsvf.files.checkpoints``.

    Reason: mmengine 0.10.7 calls ``torch.load`` without ``weights_only``; torch >= 2.6 then
    refuses MMEngine's own checkpoints (HistoryBuffer), torch < 2.6 runs any code in them.
    onedl-mmengine falls back to running it. Delete when MMEngine loads its checkpoints with
    ``weights_only=True``, and compares them with their checksums.
    """
    yield
    from .models.official import load_checkpoint

    module.torch = _With(module.torch, load=load_checkpoint)  # type: ignore[attr-defined]
    rebind(module, 'load_url', load_url)


@contextlib.contextmanager
def leave_stored_configs(module: ModuleType) -> Iterator[None]:
    """A config that was stored in a checkpoint is not run.

    Reason: mmengine 0.10.7 runs it when an inferencer is given weights alone, and when a training of an old format is
    resumed. Delete when it does not.
    """
    yield
    from .files.configs import refuse_stored_config

    config = module.Config
    original = config.fromstring

    def fromstring(cfg_str: str, file_format: str) -> Any:
        refuse_stored_config(cfg_str)
        return original(cfg_str, file_format)

    config.fromstring = staticmethod(fromstring)


@contextlib.contextmanager
def read_pickles_safely(module: ModuleType) -> Iterator[None]:
    """Annotations in pickles go through ``mmsvf.files.pickles``.

    Reason: ``pickle.load`` runs what a file asks for. Delete when these modules read data without running it.
    """
    yield
    import io
    import pickle

    from .files import pickles

    def loads(content: bytes, **kwargs: Any) -> Any:
        return pickles.load(io.BytesIO(content), **kwargs)

    module.pickle = _With(pickle, load=pickles.load, loads=loads)  # type: ignore[attr-defined]


@contextlib.contextmanager
def read_yaml_safely(module: ModuleType) -> Iterator[None]:
    """YAML is read as data.

    Reason: MMEngine 0.10.7 takes the loader that calls whatever ``!!python/object/apply`` names. Delete when it takes
    the safe one.
    """
    yield
    import yaml

    module.Loader = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)  # type: ignore[attr-defined]


@contextlib.contextmanager
def name_the_file(module: ModuleType) -> Iterator[None]:
    """What is wrong with a file of ``mmengine.load`` is said with its path.

    Reason: mmengine 0.10.7 hands its readers the content alone. Delete when its errors have the path.
    """
    yield
    from pickle import UnpicklingError

    from .files.pickles import unreadable

    original = module.load

    def load(file: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(file, *args, **kwargs)
        except UnpicklingError as error:
            raise (unreadable(file, error) if isinstance(file, (str, os.PathLike)) else error) from None

    rebind(module, 'load', load)


@contextlib.contextmanager
def read_objects_safely(module: ModuleType) -> Iterator[None]:
    """Arrays of Python objects go through ``mmsvf.files.pickles``.

    Reason: these data sets call ``np.load(allow_pickle=True)``. Delete when their annotations hold no pickles.
    """
    yield
    from .files.pickles import load_numpy

    module.np = _With(module.np, load=load_numpy)  # type: ignore[attr-defined]


@contextlib.contextmanager
def write_checkpoints_whole(module: ModuleType) -> Iterator[None]:
    """A local checkpoint appears under its name when it is complete, and ``--resume`` takes a complete one.

    Reason: mmengine 0.10.7 writes into the file itself, so that a kill or a full disk leaves half a checkpoint, and
    trusts ``last_checkpoint``, which such a moment leaves empty. Delete when it writes to a new file and renames that.
    """
    yield
    from .files.checkpoints import save_checkpoint
    from .files.work_dir import find_latest_checkpoint

    original = module.save_checkpoint

    def save(checkpoint: Any, filename: Any, file_client_args: Any = None, backend_args: Any = None) -> None:
        if '://' in str(filename) or file_client_args is not None or backend_args is not None:
            original(checkpoint, filename, file_client_args, backend_args)
        else:
            save_checkpoint(checkpoint, filename)

    rebind(module, 'save_checkpoint', save)
    rebind(module, 'find_latest_checkpoint', find_latest_checkpoint)


@contextlib.contextmanager
def keep_the_old_until_the_new(module: ModuleType) -> Iterator[None]:
    """MMEngine's CheckpointHook removes the old checkpoint after the new one is written, not before.

    Reason: with mmengine 0.10.7 and ``max_keep_ckpts=1`` a kill or a full disk in between leaves none at all, and two
    trainings in one folder overwrite each other. Delete when it saves first and takes a lock.
    """
    yield
    from .engine.checkpoint_hook import save_first

    save_first(module.CheckpointHook)


@contextlib.contextmanager
def count_as_the_runner(module: ModuleType) -> Iterator[None]:
    """A checkpoint of FlexibleRunner has the epoch and the iteration that its hook has counted, as the Runner's has.

    Reason: mmengine 0.10.7 counts again, and is one ahead where a best checkpoint has the last one written once more:
    the resumed training leaves an epoch out. Delete when its ``save_checkpoint`` keeps what is in ``meta``.
    """
    yield
    runner = module.FlexibleRunner
    original = runner.save_checkpoint

    def save_checkpoint(self: Any, *args: Any, meta: dict | None = None, **kwargs: Any) -> None:
        counted = {key: meta[key] for key in ('epoch', 'iter') if key in meta} if meta else {}
        save = self.strategy.save_checkpoint

        def save_counted(*args: Any, extra_ckpt: dict, **kwargs: Any) -> None:
            extra_ckpt['meta'].update(counted)
            save(*args, extra_ckpt=extra_ckpt, **kwargs)

        self.strategy.save_checkpoint = save_counted
        try:
            original(self, *args, meta=meta, **kwargs)
        finally:
            del self.strategy.save_checkpoint

    runner.save_checkpoint = save_checkpoint


@contextlib.contextmanager
def shard_with_this_torch(module: ModuleType) -> Iterator[None]:
    """FSDPStrategy resumes its optimizer, and clips by the norm of the whole gradient.

    Reason: mmengine 0.10.7 hands ``optim_state_dict_to_load`` its arguments in the order of torch 2.0, and has each
    process clip by the norm of its own part. Delete when it does neither.
    """
    yield
    strategy = module.FSDPStrategy
    build = strategy.build_optim_wrapper

    def load_optim_state_dict(self: Any, state_dict: dict) -> None:
        if any(isinstance(key, int) for key in state_dict['state']):  # FSDP writes names
            raise ValueError(
                'the checkpoint to resume from was written without FSDPStrategy, which cannot go on with its '
                'optimizer: leave strategy out, or start a new training from its weights with --cfg-options '
                'load_from=FILE'
            )
        state = module.FSDP.optim_state_dict_to_load(
            model=self.model, optim=self.optim_wrapper.optimizer, optim_state_dict=state_dict
        )
        self.optim_wrapper.load_state_dict(state)

    def build_optim_wrapper(self: Any, optim_wrapper: Any, model: Any = None) -> Any:
        import torch

        built = build(self, optim_wrapper, model)
        if getattr(built, 'clip_func', None) is torch.nn.utils.clip_grad_norm_:
            built.clip_func = lambda _, **options: model.clip_grad_norm_(**options)
        return built

    strategy.load_optim_state_dict, strategy.build_optim_wrapper = load_optim_state_dict, build_optim_wrapper


def load_url(url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True, **_: Any) -> Any:
    """``torch.utils.model_zoo.load_url`` through the allow list; the file name's hash is checked."""
    import torch.hub

    from .models.official import load_checkpoint

    model_dir = model_dir or os.path.join(torch.hub.get_dir(), 'checkpoints')
    os.makedirs(model_dir, exist_ok=True)
    path = os.path.join(model_dir, os.path.basename(url.split('?')[0]))
    if not os.path.exists(path):
        match = torch.hub.HASH_REGEX.search(os.path.basename(path))
        torch.hub.download_url_to_file(url, path, match.group(1) if match else None, progress)
    return load_checkpoint(path, map_location)


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
    _log_once('mmcv has no compiled ops (mmcv-lite): a stand-in lets the frameworks import; calling an op says so')


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
        _log_once('the mmaction2 wheel lacks localizers/drn (mmaction2#2714): a stand-in lets it import')
    yield


def setup_cpu_distributed(cfg: Any) -> None:
    """Start gloo and choose the CPU wrapper for a run without a GPU by any launcher.

    Reason: MMEngine calls ``torch.cuda.set_device`` with any backend, and hands DDP and FSDP a device id.
    Delete when ``Runner`` runs on several CPU processes by itself.
    """
    import torch
    import torch.distributed as dist

    if cfg.get('launcher', 'none') == 'none' or torch.cuda.is_available():
        return
    if not dist.is_initialized():
        utils: Any = importlib.import_module('mmengine.dist.utils')
        options = cfg.get('env_cfg') or {}
        # in the Runner's order: otherwise it would warn of another start method of processes
        importlib.import_module('mmengine.utils.dl_utils').set_multi_processing(
            **(options.get('mp_cfg') or {}), distributed=True
        )
        utils.torch = _With(torch, cuda=_With(torch.cuda, set_device=lambda device: None))
        try:
            utils.init_dist(cfg.launcher, **{**(options.get('dist_cfg') or {}), 'backend': 'gloo'})
        finally:
            utils.torch = torch
    importlib.import_module('mmsvf.engine.cpu_distributed')  # registers the wrapper
    cfg.setdefault('model_wrapper_cfg', dict(type='mmsvf.CPUDistributedDataParallel'))
    if 'runner_type' in cfg:  # FlexibleRunner, whose strategies choose the wrapper
        strategy = cfg.setdefault('strategy', type(cfg.model)(type='DDPStrategy'))
        kind = str(strategy.get('type')).split('.')[-1]
        wrappers = dict(DDPStrategy='CPUDistributedDataParallel', FSDPStrategy='CPUFullyShardedDataParallel')
        if kind in wrappers:
            strategy['model_wrapper'] = {'type': f'mmsvf.{wrappers[kind]}', **(strategy.get('model_wrapper') or {})}
    _log_once('no GPU: several processes train on CPU over gloo')


def check_environment() -> None:
    """Stop early, with the fix, where an installed package cannot work.

    Raises:
        RuntimeError: a torchvision that does not fit torch (it would break every Runner), or no
            ``pkg_resources`` for an MMEngine that needs it.
    """
    try:
        importlib.import_module('torchvision')
    except ModuleNotFoundError:
        pass
    except Exception as error:  # a mismatched build fails in many ways
        raise RuntimeError(
            f'torchvision does not fit the installed torch ({error}); install the matching build, or, without a GPU: '
            'pip install --no-deps torchvision==0.16.2'
        ) from error
    package_utils = find_spec('mmengine.utils.package_utils')
    if package_utils is not None and package_utils.origin and find_spec('pkg_resources') is None:
        with open(package_utils.origin, encoding='utf-8') as source:
            if 'import pkg_resources' in source.read():
                raise RuntimeError(
                    'this MMEngine needs pkg_resources, which setuptools >= 81 dropped; fix: '
                    'pip install setuptools==80.10.2'
                )
