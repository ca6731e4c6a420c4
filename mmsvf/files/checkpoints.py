"""Checkpoints: read without running what they contain, checked against what they should be, written whole."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import threading
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from .allowed import CHECKPOINT, resolve
from .configs import keep_configs
from .pickles import refuse, unreadable
from .values import REFUSED

PARTIAL = '.partial'  # of a file that is being written

_lock = threading.Lock()  # torch's list of names belongs to the process


def load_checkpoint(file: Any, map_location: Any = None, **_: Any) -> Any:
    """``torch.load`` of weights and MMEngine's training state, by torch's weights-only loader.

    Args:
        file: Path or binary file.
        map_location: As in ``torch.load``.

    Raises:
        FileNotFoundError: no such file.
        UnpicklingError: the file asks for a name that is not allowed, is TorchScript (a program), is truncated or
            damaged, is no checkpoint, or is not the one whose hash its name has.
    """
    path = file if isinstance(file, (str, os.PathLike)) else getattr(file, 'name', None)
    if isinstance(file, (str, os.PathLike)):
        if Path(file).exists() and not Path(file).is_file():  # a pipe would be waited for
            raise UnpicklingError(f'cannot read {file}: it is no regular file')
        check_hash(file)
        check_sums(file)
    names: list[Any] = [(value, name) for name, value in CHECKPOINT.items()]
    try:
        with _lock, torch.serialization.safe_globals(names):
            checkpoint = resolve(torch.load(file, map_location=map_location, weights_only=True))
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # a damaged file fails in many ways
        inner = re.search(rf'{REFUSED}.*|(?<=WeightsUnpickler error: ).*', str(error))
        asked = re.search(r'GLOBAL (\S+) (?:was not an allowed|whose module)', str(error))
        if asked:  # torch's own message recommends to run the file
            raise unreadable(path or 'the checkpoint', refuse(asked[1])) from None
        if 'TorchScript' in str(error):
            raise UnpicklingError(f'{REFUSED} {path}: it is a TorchScript program, not a checkpoint') from None
        raise unreadable(path or 'the checkpoint', UnpicklingError(inner[0]) if inner else error) from None
    keep_configs(checkpoint)
    return checkpoint


def sha256_of(path: str | os.PathLike) -> str:
    """The SHA-256 of a file, read in parts."""
    sha256 = hashlib.sha256()
    with open(path, 'rb') as file:
        while part := file.read(2**20):
            sha256.update(part)
    return sha256.hexdigest()


def check_hash(path: str | os.PathLike) -> None:
    """Compare a file with the start of its SHA-256 that its name has, ``name-1475b0c1.pth``; a date is no hash.

    Raises:
        UnpicklingError: they differ.
    """
    found = re.search(r'-([0-9a-f]{8,64})\.(?:pth|pt|pkl)$', Path(path).name)
    if not found or re.fullmatch(r'(19|20)\d{6}', found[1]) or not Path(path).is_file():
        return
    digest = sha256_of(path)
    if not digest.startswith(found[1]):
        raise UnpicklingError(
            f'{REFUSED} {path}: its SHA-256 begins with {digest[: len(found[1])]}, its name says {found[1]}: it is '
            'damaged, or was changed. Download it again; if you changed it yourself, give it another name'
        )


def check_sums(path: str | os.PathLike) -> None:
    """Compare each part of a checkpoint with the checksum that was written with it; torch's reader does not.

    It takes about as long as reading the file.

    Raises:
        UnpicklingError: they differ.
    """
    if not zipfile.is_zipfile(path):  # of torch before 1.6, which has none
        return
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # a damaged archive fails in many ways
        raise unreadable(path, error) from error
    if damaged is not None:
        raise UnpicklingError(
            f'cannot read {path}: it is damaged, {damaged!r} in it has another checksum. Copy it again'
        )


def is_whole(path: str | os.PathLike) -> bool:
    """Whether a checkpoint is all there, as it was written."""
    try:
        load_checkpoint(path, 'meta')  # checksums, and names without numbers
    except Exception:  # a damaged file fails in many ways
        return False
    return zipfile.is_zipfile(path)


def save_checkpoint(checkpoint: dict[str, Any], path: str | os.PathLike) -> None:
    """Write a checkpoint so that ``path`` is, at any moment, what it was before or all of the new one.

    Raises:
        OSError: it could not be written; ``path`` is what it was before.
    """
    path = Path(path)
    partial = path.with_name(f'{path.name}.{platform.node()}-{os.getpid()}{PARTIAL}')
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = checkpoint.get('state_dict') if isinstance(checkpoint, dict) else None
    if isinstance(weights, dict):  # FSDP notes something on them, and tensors with attributes are not read again
        weights.update({k: v.detach() for k, v in weights.items() if isinstance(v, torch.Tensor) and vars(v)})
    try:
        partial.unlink(missing_ok=True)
        with partial.open('xb') as file:  # never through a link
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if not isinstance(error, (OSError, RuntimeError)):  # torch has its own error for a full disk
            raise
        raise OSError(
            f'{path} could not be written ({error}); {free_space(path.parent)}. Checkpoints written before are '
            'untouched: make room, then go on with --resume'
        ) from error


def free_space(folder: Path) -> str:
    """How much space a folder's disk has, as text for a message."""
    return f'{shutil.disk_usage(folder).free / 2**20:.0f} MiB are free in {folder}'
