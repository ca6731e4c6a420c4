"""Configs and flags of the tools, as they are looked at before a run starts."""

from __future__ import annotations

import _thread
import argparse
import contextlib
import difflib
import hashlib
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, build_functions

from mmsvf.engine.environment import check_environment, name_ranks
from mmsvf.files.checkpoints import sha256_of
from mmsvf.files.config_options import OptionsAction, merge_options
from mmsvf.frameworks import FRAMEWORKS, mim_folder, require


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that training and testing share."""
    parser.add_argument('config', help='config file, or one of an installed framework, as mmaction::recognition/...py')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (default: work_dirs/CONFIG)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        metavar='KEY=VALUE',
        help='override config values, as model.backbone.arch=small optim_wrapper.optimizer.lr=1e-4 or key="[a,b]"',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    # torch.distributed.launch hands over --local_rank, --local-rank from torch 2.0 on
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def output_file(*suffixes: str) -> Callable[[str], Path]:
    """An argparse ``type``: a file that will be written, looked at before the work that makes it.

    Args:
        *suffixes: Of which the name has one; none: it may have any.
    """

    def check(name: str) -> Path:
        path = Path(name)
        there = next(folder for folder in path.absolute().parents if folder.exists())
        if suffixes and path.suffix.lower() not in suffixes:
            raise argparse.ArgumentTypeError(f'{name!r} must end with one of {", ".join(suffixes)}')
        if path.is_dir() or not there.is_dir() or not os.access(there, os.W_OK):
            why = 'it is a folder' if path.is_dir() else f'{there} is no folder that can be written to'
            raise argparse.ArgumentTypeError(f'{name!r} cannot be written: {why}; give another file')
        if path.suffix.lower() == '.pdf':  # fontTools tells a user that matplotlib's own fonts have early dates
            logging.getLogger('fontTools.ttLib.tables._h_e_a_d').setLevel(logging.ERROR)
        return path

    return check


picture_file = output_file('.png', '.jpg', '.jpeg', '.webp', '.tif', '.tiff', '.pdf', '.svg', '.eps')


def above_zero(text: str) -> float:
    """An argparse ``type``: a finite number of more than 0."""
    value = float(text)
    if not 0 < value < 1e5:
        raise argparse.ArgumentTypeError(f'{text}: more than 0 expected')
    return value


def contents(cfg: Config, **files: str | None) -> dict[str, str]:
    """Short hashes of what is in a config and in local files, by which a run is told from one of other contents.

    Args:
        cfg: The config, as it was before a model was built from it.
        **files: By what they are; None and URLs are left out.
    """
    kept = {key: value for key, value in cfg.to_dict().items() if key not in ('work_dir', 'launcher')}
    found = {"config's content": hashlib.sha256(Config(kept).pretty_text.encode()).hexdigest()}
    for name, file in files.items():
        if file is not None and os.path.isfile(file):
            found[f"{name}'s content"] = sha256_of(file)
    return {name: digest[:16] for name, digest in found.items()}


def config_path(name: str) -> Path:
    """The file of a config; ``mmaction::recognition/...`` is looked up in the installed framework, ``mmsvf::`` in ours.

    Raises:
        FileNotFoundError: no such file; the message has the nearest names.
        ImportError: the framework is not installed; the message has the pip command.
        ValueError: an unknown framework before ``::``, or a checkpoint.
    """
    folder, file = Path(), name
    if '::' in name:
        scope, file = name.split('::', 1)
        if scope not in FRAMEWORKS and scope != 'mmsvf':
            raise ValueError(
                f"config {name!r}: unknown framework {scope!r}; choose one of {sorted(FRAMEWORKS)} or 'mmsvf'"
            )
        require(scope, f'config {name!r}')
        folder = mim_folder(scope) / 'configs'
    path = folder / file
    if path.suffix in ('.pth', '.pt', '.ckpt', '.safetensors'):
        raise ValueError(f'config {name!r} is a checkpoint: the config comes first, then the checkpoint')
    if not path.is_file():
        there = islice((folder if '::' in name else path.parent).rglob('*.py'), 2000)  # not a whole disk's
        known = [(p.relative_to(folder) if '::' in name else p).as_posix() for p in there]
        near = difflib.get_close_matches(file, known, 3)
        raise FileNotFoundError(f'config {name!r} does not exist{f"; did you mean {near}?" if near else ""}')
    return path


def load_config(name: str) -> Config:
    """Read a config and check that the frameworks it names are installed.

    Raises:
        FileNotFoundError, ImportError, ValueError: as :func:`config_path`.
    """
    path = config_path(name)
    text = path.read_text(encoding='utf-8')
    for scope in FRAMEWORKS:
        if f'{scope}::' in text:
            require(scope, f'config {name!r}')
    cfg = Config.fromfile(path)
    scope = cfg.get('default_scope')
    if scope in FRAMEWORKS:
        require(scope, f'config {name!r} (default_scope={scope!r})')
    return cfg


def prepare(args: argparse.Namespace) -> Config:
    """Config with the common flags merged."""
    check_environment()
    name_ranks(args.launcher)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args.config)
    cfg.launcher = args.launcher
    merge_options(cfg, args.cfg_options or {})
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or os.path.join('work_dirs', Path(args.config).stem)
    return cfg


def check_schedule(cfg: Config) -> None:
    """Compare the training's length with that of schedules which cannot go on beyond theirs.

    Raises:
        ValueError: a one-cycle schedule ends before the training does.
    """
    schedules, loop = cfg.get('param_scheduler') or [], cfg.get('train_cfg') or {}
    listed = isinstance(schedules, (list, tuple))
    for i, schedule in enumerate(schedules if listed else [schedules]):
        unit = 'max_epochs' if schedule.get('by_epoch', True) else 'max_iters'
        steps, length = schedule.get('total_steps'), loop.get(unit)
        if steps is not None and length is not None and schedule.get('begin', 0) + steps < length:
            key = f'param_scheduler.{i}.total_steps' if listed else 'param_scheduler.total_steps'
            raise ValueError(
                f'train_cfg.{unit}={length}, but {key}={steps}: the schedule of the learning rate ends before the '
                f'training; set both, as --cfg-options train_cfg.{unit}={length} '
                f'{key}={length - schedule.get("begin", 0)}'
            )


def check_optimizer(cfg: Config) -> None:
    """Look an optimizer up by its name, of which MMEngine says that None is not callable.

    Raises:
        ValueError: there is none.
    """
    name = ((cfg.get('optim_wrapper') or {}).get('optimizer') or {}).get('type')
    with OPTIMIZERS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
        if isinstance(name, str) and registry.get(name) is None:
            known = sorted({*registry.module_dict, *OPTIMIZERS.module_dict})
            raise ValueError(f'optim_wrapper.optimizer.type={name!r}; choose one of {known}, or register your own')


def check_classes(cfg: Config, *loaders: str) -> None:
    """Compare the number of classes of the head with the names that the config gives its data sets.

    With more classes than names a training runs to its end, and what it says cannot be named.

    Raises:
        ValueError: they differ.
    """
    model = cfg.model.get('module', cfg.model)  # of test-time augmentation
    key = next((key for key in ('cls_head', 'decode_head') if isinstance(model.get(key), dict)), None)
    count = model[key].get('num_classes') if key else None
    for name in loaders if count else ():
        loader = cfg.get(name)
        dataset: Any = loader.get('dataset') if isinstance(loader, dict) else {}
        while isinstance(dataset.get('dataset'), dict):
            dataset = dataset['dataset']
        classes = (dataset.get('metainfo') or {}).get('classes')
        if isinstance(classes, (list, tuple)) and len(classes) != count:
            raise ValueError(
                f'{len(classes)} classes are named in metainfo.classes of {name}, but model.{key}.num_classes={count}; '
                f'set model.{key}.num_classes={len(classes)}, or correct the names'
            )


def check_work_dir(folder: str) -> None:
    """Write and remove a file, before hours of training that could not be kept.

    Raises:
        OSError: nothing can be written there.
    """
    probe = Path(folder, f'.writable-{os.getpid()}')
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b'1')
        probe.unlink(missing_ok=True)  # a process on another machine may have the same number
    except OSError as error:
        raise OSError(
            f'nothing can be written to the work-dir {folder!r} ({error}); give another --work-dir'
        ) from error


@contextlib.contextmanager
def plain_messages(interrupted: str = 'interrupted') -> Iterator[None]:
    """Of a user's mistake a tool prints what is wrong, and no traceback of ours; Python's development mode keeps it.

    At Ctrl-C it prints ``interrupted``, and the process ends by the signal, so that a script around it ends, too.

    A mistake is what this package or a tool raises, a file that cannot be opened, or what MMEngine cannot build of a
    config: a type that it does not know, or keywords that the type does not take.
    """

    def interrupt_again(unraisable: Any) -> None:
        # Python drops what is raised within a __del__, as in that of decord's reader: Ctrl-C, too
        if unraisable.exc_type is KeyboardInterrupt:
            threading.Timer(0.1, _thread.interrupt_main).start()
        else:
            before(unraisable)

    before, sys.unraisablehook = sys.unraisablehook, interrupt_again
    try:
        yield
    except KeyboardInterrupt:
        if not sys.flags.dev_mode:
            sys.excepthook = lambda *_: print(f'\n{interrupted}', file=sys.stderr)
        raise
    except (ValueError, OSError, ImportError, KeyError, TypeError, UnpicklingError) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raised_in = Path(last.filename).resolve()
        package = Path(__file__).resolve().parents[1]
        known = any(folder in raised_in.parents for folder in (package, Path(sys.argv[0]).resolve().parent))
        if isinstance(error, (KeyError, TypeError)):
            handed_on = known and isinstance(error, TypeError) and (last.line or '').startswith('super().__init__(')
            known = handed_on or raised_in == Path(build_functions.__file__).resolve()
        if sys.flags.dev_mode or not (known or (isinstance(error, OSError) and error.filename is not None)):
            raise
        raise SystemExit(f'{type(error).__name__}: {error.args[0] if isinstance(error, KeyError) else error}') from None
    finally:
        sys.unraisablehook = before


def require_file(
    checkpoint: str, name: str = 'checkpoint ', advice: str = 'training writes them in its --work-dir'
) -> None:
    """Check that a checkpoint exists, unless it is a URL.

    Raises:
        FileNotFoundError: no such file; the message has its ``name`` and the ``advice``.
    """
    if '://' not in checkpoint and not os.path.exists(checkpoint):
        raise FileNotFoundError(f'{name}{checkpoint!r} does not exist; {advice}')
