"""Predictions for the page: one computation at a time, each with a folder that goes when it is no longer wanted."""

from __future__ import annotations

import json
import secrets
import shutil
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mmsvf.apis.pose_steps import StepSource
from mmsvf.apis.prediction_files import write_predictions
from mmsvf.apis.predictor import Predictor
from mmsvf.apis.sources import Frame, Source

from .inside import Clip, kept_clips

KEPT = 4  # runs whose results are kept
MOST_FPS = 120  # frames a second that are looked at: time stamps may stand still


class BusyError(RuntimeError):
    """Another computation is running."""


class StoppedError(RuntimeError):
    """The user stopped a run."""


class FirstSeconds(Source):
    """The begin of a source, frame by frame, which can be stopped.

    Args:
        source: The frames.
        seconds: How many seconds of it are looked at.
        check: Called before each frame; what it raises ends the source.
    """

    def __init__(self, source: Source, seconds: float, check: Callable[[], None]) -> None:
        self.source, self.seconds, self.check = source, seconds, check
        self.name, self.fps, self.repeatable = source.name, source.fps, source.repeatable
        most = round(seconds * source.fps) + 1
        self.length = None if source.length is None else min(source.length, most)
        self.read, self.time = 0, 0.0

    def __iter__(self) -> Iterator[Frame]:
        """The frames of the first seconds."""
        for frame in self.source:
            self.check()
            if frame.time > self.seconds or frame.index > self.seconds * MOST_FPS:
                self.problem = f'only the first {self.seconds:g} s were looked at (--max-seconds)'
                return
            self.read, self.time = frame.index + 1, frame.time
            yield frame
        self.problem = self.source.problem


class Run:
    """One prediction.

    Attributes:
        id: Cannot be guessed.
        folder: Where its results are.
        name: What the source is called, for people.
        state: 'running', 'done', 'failed' or 'stopped'.
        message: What is wrong, if it failed.
        said: What :func:`write_predictions` says of the whole.
        clips: To look into.
    """

    def __init__(self, folder: Path, model: str, name: str) -> None:
        self.id = secrets.token_urlsafe(12)
        self.folder, self.model, self.name = folder / self.id, model, name
        self.folder.mkdir()
        self.state, self.message = 'running', ''
        self.said: dict[str, Any] = {}
        self.clips: Sequence[Clip] = ()
        self.expected: int | None = None
        self.source: Source | None = None
        self.records, self.fps = 0, 0.0
        self._stop = threading.Event()

    def stop(self) -> None:
        """End it after the frame it is at."""
        self._stop.set()

    def _check(self) -> None:
        if self._stop.is_set():
            raise StoppedError

    def predict(self, load: Callable[[], Predictor], open_source: Callable[[Predictor], Source], most: float) -> None:
        """Predict a source of at most so many seconds; never raises."""
        try:
            predictor = load()
            self._check()
            source = open_source(predictor)
            if isinstance(source, StepSource):  # it has a length, and is read as a whole
                seconds = (source.length or 0) / source.fps
                if seconds > most + 1:
                    raise ValueError(f'{seconds:.0f} s of events; up to {most:g} s are taken (--max-seconds)')
            else:
                source = FirstSeconds(source, most, self._check)
            self.source, self.expected = source, source.length

            def advance() -> None:
                self.records += 1
                self._check()

            def now() -> float:
                return source.time if isinstance(source, FirstSeconds) else self.records / source.fps

            with kept_clips(predictor, now) as spread:
                self.said = write_predictions(predictor, source, self.folder / 'prediction', advance=advance)
            self.fps, self.clips, self.state = predictor.output_fps(source), spread.chosen(), 'done'
        except StoppedError:
            self.state = 'stopped'
        except Exception as error:
            # a user's mistake is told to the user; anything else is ours to mend, and the terminal has it
            if not isinstance(error, (ValueError, OSError, ImportError)):
                traceback.print_exc()
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Say what is wrong, with the user's name for the file instead of ours."""
        text = ' '.join(str(error).split()) or type(error).__name__
        for upload in self.folder.glob('upload.*'):
            text = text.replace(str(upload), self.name)
        self.message, self.state = text.replace(str(self.folder), ''), 'failed'

    def progress(self) -> dict[str, Any]:
        """Plain values of where it is, and of what it said."""
        read = self.source.read if isinstance(self.source, FirstSeconds) else self.records
        values: dict[str, Any] = dict(
            id=self.id, model=self.model, name=self.name, state=self.state, message=self.message
        )
        values.update(done=max(read, self.records), expected=self.expected)
        if self.state == 'done':
            files = sorted(path.name for path in self.folder.iterdir())
            values.update(said=dict(self.said, source=self.name), fps=self.fps, files=files)
            values.update(clips=[round(clip.time, 2) for clip in self.clips], pose='prediction.npz' in files)
        return values

    def lines(self) -> list[Any]:
        """What was said of each frame or time step."""
        with (self.folder / 'prediction.jsonl').open(encoding='utf-8') as file:
            return [json.loads(line) for line in file]


class Runs:
    """The last few runs, of which one is computing at a time.

    Args:
        folder: For their results; what is in it goes with a run.
        seconds: Of a video that are looked at.
        patience: Seconds that a question about a result waits for another computation.
    """

    def __init__(self, folder: Path, seconds: float, patience: float = 20.0) -> None:
        self.folder, self.seconds, self.patience = folder, seconds, patience
        self.runs: dict[str, Run] = {}
        self._computing, self._list = threading.Lock(), threading.Lock()

    @contextmanager
    def computing(self) -> Iterator[None]:
        """The one who may compute: models, and their kernels on a CPU, are for one thread at a time.

        Raises:
            BusyError: somebody else computes, and still does when the patience is over.
        """
        if not self._computing.acquire(timeout=self.patience):
            raise BusyError('another computation is running: wait until it is done, or stop it')
        try:
            yield
        finally:
            self._computing.release()

    def start(
        self, run: Run, load: Callable[[], Predictor], open_source: Callable[[Predictor], Source]
    ) -> threading.Thread:
        """Begin to predict in a thread of its own; an upload is removed when that is done.

        Raises:
            BusyError: another computation is running.
        """
        if not self._computing.acquire(blocking=False):
            raise BusyError('another computation is running: wait until it is done, or stop it')
        with self._list:
            self.runs[run.id] = run
            for old in [old for old in self.runs.values() if old.state != 'running'][:-KEPT]:
                self._forget(old)

        def work() -> None:
            try:
                run.predict(load, open_source, self.seconds)
            finally:
                for upload in run.folder.glob('upload.*'):
                    upload.unlink(missing_ok=True)
                if run.id not in self.runs:  # it was removed while it ran
                    shutil.rmtree(run.folder, ignore_errors=True)
                self._computing.release()

        thread = threading.Thread(target=work, name=f'run {run.id}', daemon=True)
        thread.start()
        return thread

    def _forget(self, run: Run) -> None:
        self.runs.pop(run.id, None)
        shutil.rmtree(run.folder, ignore_errors=True)

    def close(self) -> None:
        """Stop what computes, wait for it, and remove everything."""
        for run in list(self.runs.values()):
            run.stop()
        with suppress(BusyError), self.computing():
            pass
        for run in list(self.runs.values()):
            self.remove(run)

    def remove(self, run: Run) -> None:
        """Stop a run, and remove all there is of it."""
        run.stop()
        with self._list:
            self._forget(run)
