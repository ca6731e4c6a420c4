"""How MMEngine and the frameworks read and write files in a process that has imported mmsvf: :func:`install`.

Each bridge says what is wrong with the release it concerns, and when to delete it. It is put in place when that module
is imported, in either order of imports. See docs/security.md.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from mmsvf.compat import Overlay, on_import, rebind

_translators: list[Callable[[Any], Any]] = []


def install(*translators: Callable[[Any], Any]) -> None:
    """Have files read without running them and written whole, wherever MMEngine or a framework reads and writes them.

    Args:
        translators: Applied to each checkpoint that is loaded, such as from others' names of parameters to ours.
    """
    _translators.extend(translators)
    on_import('mmengine.runner.checkpoint', load_checkpoints_safely)
    on_import('mmengine.runner.checkpoint', write_checkpoints_whole)
    on_import('mmengine.runner._flexible_runner', count_as_the_runner)
    on_import('mmengine.config.config', leave_stored_configs)
    for reader in ('mmengine.fileio.handlers.pickle_handler', 'mmpretrain.datasets.cifar', 'mmseg.utils.io'):
        on_import(reader, read_pickles_safely)
    on_import('mmengine.fileio.handlers.yaml_handler', read_yaml_safely)
    on_import('mmengine.fileio.io', name_the_file)
    for reader in ('mmpose.datasets.datasets.wholebody3d.h3wb_dataset', 'mmdet.datasets.openimages'):
        on_import(reader, read_objects_safely)
    on_import('mmengine.hooks.checkpoint_hook', keep_the_old_until_the_new)


@contextlib.contextmanager
def load_checkpoints_safely(module: ModuleType) -> Iterator[None]:
    """Every checkpoint MMEngine loads goes through ``mmsvf.files.checkpoints``.

    Reason: mmengine 0.10.7 calls ``torch.load`` without ``weights_only``; torch >= 2.6 then
    refuses MMEngine's own checkpoints (HistoryBuffer), torch < 2.6 runs any code in them.
    onedl-mmengine falls back to running it. Delete when MMEngine loads its checkpoints with
    ``weights_only=True``, and compares them with their checksums.
    """
    yield
    module.torch = Overlay(module.torch, load=load)  # type: ignore[attr-defined]
    rebind(module, 'load_url', load_url)


@contextlib.contextmanager
def leave_stored_configs(module: ModuleType) -> Iterator[None]:
    """A config that was stored in a checkpoint is not run.

    Reason: mmengine 0.10.7 runs it when an inferencer is given weights alone, and when a training of an old format is
    resumed. Delete when it does not.
    """
    yield
    from .configs import refuse_stored_config

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

    from . import pickles

    def loads(content: bytes, **kwargs: Any) -> Any:
        return pickles.load(io.BytesIO(content), **kwargs)

    module.pickle = Overlay(pickle, load=pickles.load, loads=loads)  # type: ignore[attr-defined]


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

    from .pickles import unreadable

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
    from .pickles import load_numpy

    module.np = Overlay(module.np, load=load_numpy)  # type: ignore[attr-defined]


@contextlib.contextmanager
def write_checkpoints_whole(module: ModuleType) -> Iterator[None]:
    """A local checkpoint appears under its name when it is complete, and ``--resume`` takes a complete one.

    Reason: mmengine 0.10.7 writes into the file itself, so that a kill or a full disk leaves half a checkpoint, and
    trusts ``last_checkpoint``, which such a moment leaves empty. Delete when it writes to a new file and renames that.
    """
    yield
    from .checkpoints import save_checkpoint
    from .work_dir import find_latest_checkpoint

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
    from .checkpoint_hook import save_first

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


def load(file: Any, map_location: Any = None, **_: Any) -> Any:
    """``torch.load`` of a checkpoint as data, translated into our names where it is one of the authors'."""
    from .checkpoints import load_checkpoint

    checkpoint = load_checkpoint(file, map_location)
    for translate in _translators:
        checkpoint = translate(checkpoint)
    return checkpoint


def load_url(url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True, **_: Any) -> Any:
    """``torch.utils.model_zoo.load_url`` through the allow list; the file name's hash is checked."""
    import torch.hub

    model_dir = model_dir or os.path.join(torch.hub.get_dir(), 'checkpoints')
    os.makedirs(model_dir, exist_ok=True)
    path = os.path.join(model_dir, os.path.basename(url.split('?')[0]))
    if not os.path.exists(path):
        match = torch.hub.HASH_REGEX.search(os.path.basename(path))
        torch.hub.download_url_to_file(url, path, match.group(1) if match else None, progress)
    return load(path, map_location)
