"""The folder of a training: which checkpoint is the latest whole one, who writes there, and what is left to remove."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import time
from pathlib import Path
from typing import Any

from .checkpoints import PARTIAL, is_whole

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

STEP = re.compile(r'(.*?)(?:epoch|iter)_(\d+)\.pth')  # what comes before is 'best_acc_top1_' or nothing
LOCK, REMOVALS = '.lock', '.removals'


def step_of(path: str | os.PathLike) -> tuple[str, int] | None:
    """Kind and step of a checkpoint of a training, by its name; None for other files."""
    found = STEP.fullmatch(Path(path).name)
    return (found[1], int(found[2])) if found else None


def find_latest_checkpoint(folder: str | os.PathLike) -> str | None:
    """The checkpoint to resume from: the newest whole one.

    ``last_checkpoint`` tells which training of several in a folder was the last, and a checkpoint elsewhere. It may be
    empty, damaged, or older than the newest checkpoint, if a machine went down; a checkpoint may be cut off or damaged.
    """
    folder = Path(folder)
    named = folder / 'last_checkpoint'
    text = named.read_bytes().decode('utf-8', 'replace').strip() if named.is_file() else ''
    if '://' in text:
        return text
    text = '' if '\0' in text or len(text) > 4096 else text
    if step_of(text) and os.path.isdir(text):  # of a sharded training
        return text
    files = (path for path in folder.glob('*.pth') if path.is_file())  # a pipe would be waited for
    steps = {path: step[1] for path in files if (step := step_of(path)) and step[0] == ''}
    last = folder / Path(text).name if text and Path(text).name in {path.name for path in steps} else Path(text)
    if text and last not in steps and last.is_file() and is_whole(last):  # elsewhere, or of another name
        return str(last)
    order = sorted(steps, key=steps.__getitem__, reverse=True)
    if last in steps:  # what another, longer training left here comes after it
        order.sort(key=lambda path: steps[path] > steps[last] and path.stat().st_mtime < last.stat().st_mtime)
    found, damaged = None, []
    for path in order:
        if is_whole(path):
            found = str(path)
            break
        damaged.append(path.name)
    if damaged or (named.is_file() and found is None) or (named.is_file() and last not in steps):
        from mmengine.logging import print_log

        what = f'goes on from {found}' if found else 'starts from the beginning: there is no other'
        why = f'{", ".join(damaged)} cut off or damaged' if damaged else f'{named} names {text!r}, which is not there'
        print_log(f'{folder}: {why}; the training {what}', logger='current', level=logging.WARNING)
    return found


class WorkDirLock:
    """One run at a time writes in a folder; the lock goes with its process, however that ends.

    Args:
        folder: The folder.
        flag: What gives another one.

    Raises:
        BlockingIOError: another process holds it; the message says which.
    """

    def __init__(self, folder: str | os.PathLike, flag: str = '--work-dir') -> None:
        self.file: Any = None
        path = Path(folder, LOCK)
        if fcntl is None:
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.fdopen(os.open(path, flags, 0o644), 'r+', encoding='utf-8')  # never through a link
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock not inherited by loaders' processes
        except (BlockingIOError, PermissionError):
            file.seek(0)
            holder = file.read().strip() or 'another process'
            file.close()
            raise BlockingIOError(
                f'{folder} is in use by {holder}: two runs in one folder would overwrite each other. Wait, stop that '
                f'one, or give another {flag}'
            ) from None
        except OSError:  # a file system without locks
            file.close()
            return
        file.seek(0)
        file.truncate()
        file.write(f'process {os.getpid()} on {socket.gethostname()} since {time.strftime("%Y-%m-%d %H:%M:%S")}\n')
        file.flush()
        self.file = file

    def release(self) -> None:
        """Let another training have the folder."""
        if self.file is not None:
            self.file.close()
            self.file = None


def note_removals(folder: str | os.PathLike, paths: list[str]) -> None:
    """Write down which checkpoints go once a newer one is there; a kill in between leaves the note."""
    path = Path(folder, REMOVALS)
    path.unlink(missing_ok=True)
    if paths:
        with path.open('x', encoding='utf-8') as file:  # never through a link
            json.dump([Path(p).name for p in paths], file)


def tidy(folder: str | os.PathLike) -> list[str]:
    """Remove what an interrupted training left: partial files, and checkpoints that were to go; returns their names.

    A checkpoint goes only if a newer one of its kind is whole.
    """
    folder, gone = Path(folder), []
    for path in folder.glob(f'*{PARTIAL}'):
        if (path.is_file() or path.is_symlink()) and re.match(r'.*?(?:epoch|iter)_\d+\.pth\.', path.name):
            path.unlink(missing_ok=True)
            gone.append(path.name)
    try:
        names = json.loads((folder / REMOVALS).read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError):
        names = []
    for name in names if isinstance(names, list) else []:
        path = folder / Path(str(name)).name
        old = step_of(path)
        if old is None or not path.is_file():
            continue
        newer = [p for p in folder.glob('*.pth') if (new := step_of(p)) and new[0] == old[0] and new[1] > old[1]]
        if any(is_whole(p) for p in newer):
            path.unlink()
            gone.append(path.name)
    note_removals(folder, [])
    return gone
