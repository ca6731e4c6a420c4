"""Time steps of a video, of events or of an action of MMHPSD, as a pose estimator takes them, one after the other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmsvf.body import MMHPSD_SIZE as SIZE
from mmsvf.datasets.event_transforms import read_events
from mmsvf.datasets.events import bin_events, check_events
from mmsvf.datasets.grey_pictures import cut_square, grey_picture
from mmsvf.datasets.mmhpsd import RATE
from mmsvf.datasets.mmhpsd_layouts import open_layout, read_pictures
from mmsvf.datasets.reading import reading

from .person import PersonChooser
from .sources import Frame, Source

WHOLE = (0, 0, SIZE)
STEPS = 10_000_000  # of a recording: more is a time stamp that is wrong, and would fill the memory


@dataclass
class Step:
    """A time step: the picture uint8 (256, 256, 3) that the model sees, of the square of a frame, and what chose it."""

    frame: Frame
    last: int
    picture: np.ndarray
    square: tuple[int, int, int] = WHOLE
    chosen: str = 'centre'
    truth: np.ndarray | None = None


class StepSource(Source):
    """A source that has time steps of its own; its frames are those that the steps are drawn on."""

    @abstractmethod
    def steps(self) -> Iterator[Step]:
        """The time steps, from the first."""

    def __iter__(self) -> Iterator[Frame]:
        return (step.frame for step in self.steps())


class EventsFile(StepSource):
    """A .npz of events with x, y (of 256 x 256 pixels) and t (microseconds). They are read as a whole, binned by steps.

    Raises:
        UnreadableError: no such file of events, one that is shorter than a step, or of more than ``STEPS``.
    """

    def __init__(self, path: str | Path, step: float) -> None:
        self.path, self.name, self.fps = Path(path), str(path), 1 / step
        self._events = read_events(str(path))
        t = self._events['t']
        self.begin, end = int(t.min()), int(t.max())  # whose difference may have more than 64 bits
        with reading(path, 'time stamps are microseconds: if one of them is wrong, take it out'):
            if end - self.begin > STEPS * step * 1e6:
                raise ValueError(f't goes from {self.begin} to {end}; up to {STEPS} steps of {step} s are read')
        seconds = (end - self.begin) / 1e6
        self.length = count = int(seconds / step)
        if count < 1:
            raise ValueError(f'{path} has events of {seconds} s; at least a step of {step} s expected')
        self._edges = [self.begin + round(k * step * 1e6) for k in range(count + 1)]
        with reading(path):  # all of them are looked at before the first is used
            check_events(self._events['x'], self._events['y'], t, size=(SIZE, SIZE))

    def steps(self) -> Iterator[Step]:
        x, y, t = self._events.values()
        order = np.argsort(t, kind='stable')
        x, y, t = x[order], y[order], t[order]
        for k, (begin, end) in enumerate(zip(self._edges, self._edges[1:])):
            # an event on an edge is of the step that begins there; the last step has its end, too
            part = slice(*np.searchsorted(t, (begin, end + 1 if k == len(self._edges) - 2 else end)))
            picture = bin_events(x[part], y[part], t[part], 1, (SIZE, SIZE), (begin, end))[0].transpose(1, 2, 0)
            yield Step(Frame(255 * picture, k, k / self.fps), k, picture)


class Action(StepSource):
    """An action of MMHPSD with its true joints.

    Raises:
        FileNotFoundError: no such action.
        ValueError: one that is annotated with gaps.
    """

    def __init__(self, action: str, modality: str, step: float, data_root: str) -> None:
        self.layout, self.action, self.name, self.modality = open_layout(data_root, modality), action, action, modality
        folder = Path(data_root) / self.layout.annotations
        if not (folder / action).is_dir():
            raise FileNotFoundError(f'{folder} has no action {action}')
        indices, self.gap = self.layout.indices(action), max(1, round(RATE * step))
        missing = sorted(set(range(indices[0], indices[-1] + 1)) - set(indices))
        if missing:
            raise ValueError(f'{action} is annotated with gaps (frame {missing[0]} is missing); a track has none')
        first = indices[0] + (self.gap if modality == 'events' else 0)
        self.frames, self.fps = range(first, indices[-1] + 1, self.gap), RATE / self.gap
        self.length = len(self.frames)

    def steps(self) -> Iterator[Step]:
        for k, number in enumerate(self.frames):
            picture = read_pictures(self.layout, self.action, [number], self.gap, self.modality)[0]
            frame = Frame(picture * (255 if self.modality == 'events' else 1), number, k / self.fps)
            truth = self.layout.pose(self.action, number)['joints_3d']
            yield Step(frame, number + self.gap - 1, picture, truth=truth)


def steps_of(source: Source, step: float, person: PersonChooser) -> Iterator[Step]:
    """Time steps of a source, a step every so many seconds: of frames, the nearest one, with the person on it."""
    if isinstance(source, StepSource):
        yield from source.steps()
        return
    person = copy(person)  # others may go on with theirs
    person.reset()
    held: Step | None = None
    number, last = 0, 0
    for frame in source:
        last = frame.index
        # in frames of a constant rate: the one numbered round(k * step * fps)
        if frame.time * source.fps < round(number * step * source.fps) - 0.5:
            continue
        if held is not None:
            held.last = frame.index - 1
            yield held
        square, chosen = person(frame.image)
        held = Step(frame, frame.index, grey_picture(cut_square(frame.image, *square)), square, chosen)
        # a gap in the time stamps takes its steps along
        number = max(number, int(np.floor(frame.time / step + 1e-6))) + 1
    if held is not None:
        held.last = last
        yield held
