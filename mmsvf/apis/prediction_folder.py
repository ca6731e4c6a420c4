"""Predictions of many sources in a folder, which goes on where it was stopped."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from copy import copy
from pathlib import Path
from threading import Lock
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mmsvf.files.whole import whole
from mmsvf.files.work_dir import WorkDirLock

from .find_sources import LISTED
from .prediction_files import SUFFIXES, files_of, write_predictions
from .predictor import Predictor
from .sources import Camera, Source

DONE, RUN = f'{LISTED}.jsonl', 'run.json'


class Folder:
    """The folder of a run, which goes on where it was stopped: sources that are done are listed in ``sources.jsonl``.

    Nothing is written before :meth:`claim`, so that what is refused once is refused again.

    Args:
        path: The folder; made if it is not there.
        run: What the predictions depend on: config, checkpoint, options.
        again: Whether to predict all sources anew.

    Raises:
        ValueError: it has predictions of another run.
        OSError: nothing can be written there, or another run does write there.
    """

    def __init__(self, path: Path, run: dict[str, Any], again: bool = False) -> None:
        self.path, self.run, self._again, self._begun = path, run, again, False
        listed, written = path / DONE, path / RUN
        try:
            path.mkdir(parents=True, exist_ok=True)
            with whole(path / f'.writable-{os.getpid()}') as part:
                part.touch()
            (path / f'.writable-{os.getpid()}').unlink()
        except OSError as error:
            raise OSError(f'nothing can be written to {path} ({error}); give another --out') from error
        self._lock, self._one = WorkDirLock(path, '--out'), Lock()
        self._ours = again or written.exists()  # of another folder files may be the user's
        if not again and listed.exists() and written.exists():
            former = json.loads(written.read_text(encoding='utf-8'))
            other = [key for key in {**former, **run} if former.get(key) != run.get(key)]
            if other:
                raise ValueError(
                    f'{path} has predictions of another run ({other[0]}: {former.get(other[0])!r}, now '
                    f'{run.get(other[0])!r}); give another --out, or --overwrite'
                )
        self.done: dict[str, dict[str, Any]] = {}
        for line in listed.read_text(encoding='utf-8').splitlines() if listed.exists() and not again else ():
            try:
                said = json.loads(line)
            except ValueError:  # the machine went down while it was written
                continue
            if isinstance(said, dict) and 'name' in said:
                self.done[said['name']] = said

    def claim(self, sources: Mapping[str, Any], masks: bool = False) -> None:
        """Refuse sources whose results would take the place of another's, or of what is no result; else begin the run.

        Args:
            sources: Sources by names for the results.
            masks: Whether label maps are among them.

        Raises:
            ValueError: of which source.
        """
        keep_apart(self.path, sources, masks)
        advice = 'give another --out, or --overwrite'
        for name, source in sources.items():
            given = source.name if isinstance(source, Source) else source
            if name in self.done and not self.has(name, given):
                raise ValueError(
                    f'the results of {given} would take the place of those of {self.done[name].get("source")}: both '
                    f'are called {name!r} in {self.path}; {advice}'
                )
            places = [] if self._ours or name in self.done else [*files_of(self.path / name).values()]
            if masks and places:
                places += (self.path / name).glob('[0-9]' * 6 + '.png')
            for place in places:
                if place.exists():
                    raise ValueError(
                        f'{place} is there, and {self.path} is no folder of predictions: those of {name!r} would take '
                        f'its place; {advice}'
                    )
        self._begin()

    def has(self, name: str, given: Any) -> bool:
        """Whether a source is done."""
        if name not in self.done:
            return False
        listed = str(self.done[name].get('source'))
        return listed == str(given) or os.path.realpath(listed) == os.path.realpath(str(given))  # such as 'a' and 'a/'

    def _begin(self) -> None:
        """Write down what run it is, once."""
        if self._begun:
            return
        if self._again:
            (self.path / DONE).unlink(missing_ok=True)
        with whole(self.path / RUN) as part:
            part.write_text(json.dumps(self.run, indent=1), encoding='utf-8')
        self._begun = self._ours = True

    def sweep(self, name: str) -> None:
        """Remove parts of a source's files that a process left which is no more."""
        target = self.path / name
        of_it = re.compile(rf'\.{re.escape(target.name)}\.(?:{"|".join(SUFFIXES)})\.(\d+)\.part.*')
        for part in target.parent.glob('.*.part*') if target.parent.is_dir() else ():
            if (found := of_it.fullmatch(part.name)) and not _runs(int(found[1])):
                part.unlink(missing_ok=True)

    def finish(self, name: str, said: dict[str, Any]) -> None:
        """List a source as done."""
        self._begin()
        with self._one, whole(self.path / DONE) as part:
            self.done[name] = dict(name=name, **said)
            part.write_text(''.join(json.dumps(s, ensure_ascii=False) + '\n' for s in self.done.values()), 'utf-8')


def keep_apart(out: Path, sources: Mapping[str, Any], masks: bool = False) -> None:
    """Refuse results that would take the place of a source, or stand among its pictures.

    Args:
        out: The folder of the results.
        sources: Sources by names for the results.
        masks: Whether label maps are among them.

    Raises:
        ValueError: of which source.
    """
    given = {Path(source).resolve(): source for source in sources.values() if isinstance(source, (str, Path))}
    for name in sources:
        target = out / name
        places = files_of(target).values()
        if (out / DONE).resolve() in (place.resolve() for place in places):
            raise ValueError(f'the results of {name!r} would take the place of {out / DONE}; give it another name')
        for place in (*places, target.parent, *[target] * masks):
            if (taken := given.get(place.resolve())) is not None:
                raise ValueError(
                    f'the results of {name!r} would take the place of the source {taken}, or be in it; give '
                    'another --out'
                )


def _runs(process: int) -> bool:
    """Whether there is a process of this number; on Windows, where asking would end it, that is taken for granted."""
    if os.name != 'posix':
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def predict_sources(
    predictor: Predictor, sources: Mapping[str, Any], folder: Folder, fps: float = 25.0, **options: Any
) -> list[str]:
    """Predict sources one after the other; those that are done are passed over, unreadable ones are skipped.

    Args:
        predictor: The predictor.
        sources: What :meth:`Predictor.open` takes, by names for the results.
        folder: Where they go.
        fps: Of pictures.
        **options: Of :func:`write_predictions`.

    Returns:
        What could not be read, and why, a line each.

    Raises:
        ValueError: results would take the place of a source, or of what is there (:meth:`Folder.claim`).
    """
    folder.claim(sources, options.get('masks', False))
    unreadable: list[str] = []
    with _progress() as progress:
        for place, (name, given) in enumerate(sources.items(), 1):
            if folder.has(name, given):
                print(f'{name}: done before')
                continue
            task = progress.add_task(f'{place}/{len(sources)} {name}')
            unreadable += _predict_one(predictor, name, given, folder, fps, progress, task, options)
    return unreadable


def predict_cameras(predictor: Predictor, cameras: Mapping[str, Camera], folder: Folder, **options: Any) -> list[str]:
    """Predict cameras side by side, each in a thread of its own, until they are stopped.

    Arguments and what is returned are those of :func:`predict_sources`. They share the model, and keep what they know
    of their source in a copy of the predictor. An error of one, such as a full disk, stops
    all: what they have written is ended as files.
    """
    folder.claim(cameras, options.get('masks', False))
    with _progress() as progress, ThreadPoolExecutor(len(cameras)) as threads:
        try:
            waiting = [
                threads.submit(_predict_one, copy(predictor), name, camera, folder, 0, progress, task, options)
                for name, camera in cameras.items()
                for task in [progress.add_task(name)]
            ]
            wait(waiting, return_when=FIRST_EXCEPTION)
        finally:
            for camera in cameras.values():
                camera.stop()
    return [line for done in waiting for line in done.result()]


def _progress() -> Progress:
    """Bars for a terminal; what is done is printed, wherever that goes."""
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    shown: Any = dict(transient=True, redirect_stdout=sys.stdout.isatty(), disable=not sys.stderr.isatty())
    return Progress(*columns, TimeRemainingColumn(), console=Console(file=sys.stderr), **shown)


def _predict_one(
    predictor: Predictor, name: str, given: Any, folder: Folder, fps: float, progress: Progress, task: TaskID,
    options: dict[str, Any],
) -> list[str]:  # fmt: skip
    """Predict a source; a line that says why it could not be read."""
    folder.sweep(name)
    try:
        source = predictor.open(given, fps)
        progress.update(task, total=predictor.expected(source))
        said = write_predictions(
            predictor, source, folder.path / name, advance=lambda: progress.advance(task), **options
        )
    except (ValueError, FileNotFoundError) as error:  # not what stops all of them, such as a full disk
        print(f'{name}: skipped')
        return [f'{name}: {" ".join(str(error).split())}']
    finally:
        progress.remove_task(task)
    folder.finish(name, said)
    print(describe(name, said))
    return []


def describe(name: str, said: Mapping[str, Any]) -> str:
    """A source's line for the console."""
    best = ', '.join(f'{label} {100 * value:.1f} %' for label, value in said.get('mean', ())[:3])
    wrong = ', '.join(f'{label} {value:.1f} mm' for label, value in said.get('errors', {}).items())
    right = f'{100 * said["right"]:.1f} % of the labelled pixels right' if 'right' in said else ''
    words = [
        f'{name}: {said["records"]} records in {said["seconds"]:.1f} s',
        best,
        right,
        wrong,
        said.get('problem', ''),
    ]
    return '; '.join(word for word in words if word)
