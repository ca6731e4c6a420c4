"""Predictions for the page: one computation at a time, each with a folder that goes when it is no longer wanted."""

from __future__ import annotations

import json
import secrets
import shutil
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmsvf.apis.pose_steps import StepSource
from mmsvf.apis.prediction_files import limited, write_predictions
from mmsvf.apis.predictor import Predictor
from mmsvf.apis.sources import Frame, Source

from .inside import Clip, kept_clips

KEPT = 4  # runs whose results are kept
MOST_FPS = 120  # frames a second that are looked at: time stamps may stand still


class BusyError(RuntimeError):
    """Another computation is running."""


class AbandonedError(RuntimeError):
    """Nobody waits for a run any more."""


@dataclass(frozen=True)
class Limits:
    """What of a video is looked at.

    Attributes:
        seconds: The first so many.
        side: Pixels of the longer side of a frame; larger ones are made smaller.
    """

    seconds: float = 30.0
    side: int = 640


class Begin(Source):
    """The begin of a source, its frames made smaller, which can be stopped.

    Args:
        source: The frames.
        limits: How much of it.
        stopped: Whether to end now.

    Attributes:
        notes: What was left out.
        read, time: Frames so far, and seconds.
    """

    def __init__(self, source: Source, limits: Limits, stopped: Callable[[], bool]) -> None:
        self.source, self.limits, self.stopped = source, limits, stopped
        self.name, self.fps, self.repeatable = source.name, source.fps, source.repeatable
        most = round(limits.seconds * source.fps) + 1
        self.length = None if source.length is None else min(source.length, most)
        self.read, self.time = 0, 0.0
        self.notes: list[str] = []

    def __iter__(self) -> Iterator[Frame]:
        """The frames."""
        for frame in self.source:
            if self.stopped():
                self.notes.append(f'stopped at {self.time:.1f} s')
                return
            if frame.time > self.limits.seconds or frame.index > self.limits.seconds * MOST_FPS:
                self.notes.append(f'only the first {self.limits.seconds:g} s were looked at (--max-seconds)')
                return
            image = limited(frame.image, self.limits.side)
            if image is not frame.image and not self.notes:
                (height, width), (high, wide) = frame.image.shape[:2], image.shape[:2]
                self.notes.append(f'frames of {width} x {height} pixels were made smaller, {wide} x {high}')
            self.read, self.time = frame.index + 1, frame.time
            yield Frame(image, frame.index, frame.time, frame.path)
        self.problem = self.source.problem


class Run:
    """One prediction.

    Attributes:
        id: Cannot be guessed.
        folder: Where its results are.
        name: What the source is called, for people.
        state: 'running', 'done', 'failed' or 'stopped', with nothing to show.
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
        self.source: Source | None = None
        self.records, self.fps = 0, 0.0
        self._stopped = self._abandoned = False

    def stop(self) -> None:
        """End it with the frames that were read."""
        self._stopped = True

    def abandon(self) -> None:
        """End it; there will be no result."""
        self._stopped = self._abandoned = True

    def predict(
        self, load: Callable[[], Predictor], open_source: Callable[[Predictor], Source], limits: Limits
    ) -> None:
        """Predict a source within limits; never raises. An upload is removed before the run says that it is done."""
        state = self._predict(load, open_source, limits)
        for upload in self.folder.glob('upload.*'):
            upload.unlink(missing_ok=True)
        self.state = state

    def _predict(
        self, load: Callable[[], Predictor], open_source: Callable[[Predictor], Source], limits: Limits
    ) -> str:
        """The state it comes to."""
        try:
            predictor = load()
            source = open_source(predictor)
            if isinstance(source, StepSource):  # it is read as a whole, and has a length
                seconds = (source.length or 0) / source.fps
                if seconds > limits.seconds + 1:
                    raise ValueError(f'{seconds:.0f} s of events; up to {limits.seconds:g} s are taken (--max-seconds)')
            else:
                source = Begin(source, limits, lambda: self._stopped)
            self.source = source
            with kept_clips(predictor, self._now) as spread:
                self.said = write_predictions(predictor, source, self.folder / 'prediction', advance=self._advance)
            self.said['problem'] = self._named(self.said.get('problem', ''))
            self.fps, self.clips = predictor.output_fps(source), spread.chosen()
            return 'done'
        except AbandonedError:
            return 'stopped'
        except Exception as error:
            # a user's mistake is told to the user; anything else is ours to mend, and the terminal has it
            if not isinstance(error, (ValueError, OSError, ImportError)):
                traceback.print_exc()
            self.message = self._told(error)
            return 'stopped' if self._stopped and not self.records else 'failed'  # before its first frame

    def _advance(self) -> None:
        self.records += 1
        if self._abandoned:
            raise AbandonedError

    def _now(self) -> float:
        if isinstance(self.source, Begin):
            return self.source.time
        return self.records / self.source.fps if self.source else 0.0

    def _told(self, error: BaseException) -> str:
        """What is wrong."""
        return self._named(' '.join(str(error).split()) or type(error).__name__)

    def _named(self, text: str) -> str:
        """A text with the user's name for the file instead of ours; said before the upload is removed."""
        for upload in self.folder.glob('upload.*'):
            text = text.replace(str(upload), self.name)
        return text.replace(str(self.folder), '')

    def progress(self) -> dict[str, Any]:
        """Plain values of where it is, and of what it said."""
        read = self.source.read if isinstance(self.source, Begin) else 0
        values: dict[str, Any] = dict(id=self.id, model=self.model, name=self.name, state=self.state)
        expected = self.source.length if self.source else None
        values.update(message=self.message, done=max(read, self.records), expected=expected)
        if self.state == 'done':
            files = sorted(path.name for path in self.folder.iterdir())
            notes = [*getattr(self.source, 'notes', ()), self.said.get('problem', '')]
            values.update(mean=self.said.get('mean', []), errors=self.said.get('errors', {}))
            values.update(notes=[note for note in notes if note], fps=self.fps, files=files)
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
        limits: What of a video is looked at.
        patience: Seconds that a question about a result waits for another computation.
    """

    def __init__(self, folder: Path, limits: Limits, patience: float = 20.0) -> None:
        self.folder, self.limits, self.patience = folder, limits, patience
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
        self,
        run: Run,
        load: Callable[[], Predictor],
        open_source: Callable[[Predictor], Source],
        side: int | None = None,
    ) -> threading.Thread:
        """Begin to predict in a thread of its own; an upload is removed when that is done.

        Args:
            run: The run.
            load, open_source: Of the model and of the video.
            side: A model's own limit of the longer side of frames.

        Raises:
            BusyError: another computation is running.
        """
        if not self._computing.acquire(timeout=min(1.0, self.patience)):  # one that is done releases it in a moment
            raise BusyError('another computation is running: wait until it is done, or stop it')
        with self._list:
            self.runs[run.id] = run
            for old in [old for old in self.runs.values() if old.state != 'running'][:-KEPT]:
                self._forget(old)

        limits = self.limits if side is None else replace(self.limits, side=min(side, self.limits.side))

        def work() -> None:
            try:
                run.predict(load, open_source, limits)
            finally:
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
            run.abandon()
        with suppress(BusyError), self.computing():
            pass
        for run in list(self.runs.values()):
            self.remove(run)

    def remove(self, run: Run) -> None:
        """Stop a run, and remove all there is of it."""
        run.abandon()
        with self._list:
            self._forget(run)
