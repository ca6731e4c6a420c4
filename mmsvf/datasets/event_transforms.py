"""Events in mmaction2's pipelines: read from a file or simulated from frames, and made frames of bins.

A pipeline for event files::

    dict(type='mmsvf.LoadEvents'), dict(type='mmsvf.BinEvents', time_steps=8, size=(256, 256))

and for videos, after decoding::

    dict(type='mmsvf.SimulateEvents'), dict(type='mmsvf.BinEvents', time_steps=8)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmsvf.arguments import renamed
from mmsvf.registry import TRANSFORMS

from .events import BINS, bin_events, check_events, simulate_events
from .reading import read_npz, reading


def read_events(path: str) -> dict[str, np.ndarray]:
    """Columns x, y, t of the events of a .npz file, (N,) each; nothing in it is run.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such file of events (:func:`check_events`), or none in it.
    """
    events = read_npz(path, ('x', 'y', 't'), ('p',))
    with reading(path):
        check_events(events['x'], events['y'], events['t'], events.get('p'))
        if not len(events['t']):
            raise ValueError('no events')
    return {name: events[name] for name in ('x', 'y', 't')}


def read_interval(path: Path, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Places xy (N, 2) and times (N,) of MMHPSD's raw events of an interval, in the order of time; N may be 0.

    Args:
        path: A .npz file with xy, t and, if known, p.
        size: Height and width of the sensor in pixels.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such file of events, or times that go backwards.
    """
    fix = 'restore the file, or move the folder of raw events away: quarters are used then'
    events = read_npz(path, ('xy', 't'), ('p',), fix)
    xy, t = events['xy'], events['t']
    with reading(path, fix):
        if xy.shape != (len(t), 2) and (xy.size or t.size):
            raise ValueError(f'xy of shape {xy.shape} and t of {t.shape}; (N, 2) and (N,) expected')
        xy = xy.reshape(-1, 2)
        check_events(xy[:, 0], xy[:, 1], t, events.get('p'), size)
        if (t[1:] < t[:-1]).any():
            raise ValueError('t goes backwards; the events of an interval are in the order of time')
    return xy, t


@TRANSFORMS.register_module()
class LoadEvents(BaseTransform):
    """Reads the .npz named by ``filename`` into ``events``: one stream. No framework of OpenMMLab has events."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds ``events``; raises as :func:`read_events`."""
        events = read_events(results['filename'])
        results['events'] = [dict(**events, span=None)]
        return results


@TRANSFORMS.register_module()
class SimulateEvents(BaseTransform):
    """Events between the frames of each clip (``imgs``, RGB or grey) into ``events``: one stream per clip.

    No framework of OpenMMLab simulates events.

    Args:
        threshold: Contrast threshold in the natural logarithm; see :func:`simulate_events`.
    """

    def __init__(self, threshold: float = 0.15) -> None:
        self.threshold = threshold

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds ``events`` and ``img_shape``."""
        frames = np.stack([f if f.ndim == 2 else cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in results['imgs']])
        results['events'] = []
        for clip in np.split(frames, results['num_clips']):
            x, y, t, _ = simulate_events(clip, np.arange(len(clip)), self.threshold)
            results['events'].append(dict(x=x, y=y, t=t, span=(0.0, len(clip) - 1.0)))
        results['img_shape'] = frames.shape[1:]
        return results


@TRANSFORMS.register_module()
class BinEvents(BaseTransform):
    """Streams to ``imgs``: of each, ``time_steps`` frames uint8 (H, W, bins) with 255 where a bin has an event, else 0.

    No framework of OpenMMLab has events; what follows in a pipeline is stock, since these are frames.

    Args:
        time_steps: Time steps T.
        size: Height and width of the sensor in pixels; None takes ``img_shape``.
        bins: Channels of a step.
    """

    @renamed(steps='time_steps')
    def __init__(self, time_steps: int, size: tuple[int, int] | None = None, bins: int = BINS) -> None:
        self.time_steps, self.size, self.bins = time_steps, size, bins

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replaces ``events`` by ``imgs``, with the keys that mmaction2's decoders set.

        Raises:
            ValueError: neither ``size`` nor ``img_shape``, or as :func:`bin_events`.
        """
        size = self.size or results.get('img_shape')
        if size is None:
            raise ValueError('BinEvents(size=None) takes the size of frames, and there are none: give size=(H, W)')
        clips = []
        for stream in results.pop('events'):
            frames = bin_events(
                stream['x'], stream['y'], stream['t'], self.time_steps, tuple(size), stream['span'], self.bins
            )
            clips += list(frames.transpose(0, 2, 3, 1) * np.uint8(255))
        results.update(imgs=clips, clip_len=self.time_steps, num_clips=len(clips) // self.time_steps)
        results.update(img_shape=tuple(size), original_shape=tuple(size))
        return results


@TRANSFORMS.register_module()
class LoadEventCounts(BaseTransform):
    """Reads the .npz named by ``img_path`` into ``img``, float32 (2, T, size, size): events of each polarity, counted.

    A stream is cut into ``time_steps`` parts of equally many events, as spikingjelly's ``split_by='number'``; the last
    one has what is left over. (spikingjelly's data sets write such frames to disk first, and are none of MMEngine's.)

    Args:
        time_steps: Time steps T.
        size: Height and width of the result in pixels; neighbouring pixels of the sensor are added up.
        sensor: Height and width of the sensor in pixels, a multiple of ``size``.
    """

    @renamed(steps='time_steps')
    def __init__(self, time_steps: int, size: int = 64, sensor: int = 128) -> None:
        if sensor % size:
            raise ValueError(f'size={size} does not divide sensor={sensor}; choose a divisor')
        self.time_steps, self.size, self.sensor = time_steps, size, sensor

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds ``img``, ``img_shape`` and ``ori_shape``.

        Raises:
            FileNotFoundError: no such file.
            ValueError: no such file of events (:func:`check_events`), or fewer events than time steps.
        """
        path = results['img_path']
        events = read_npz(path, ('x', 'y', 'p'), ('t',))
        with reading(path, 'set sensor to its size, and time_steps to no more than there are events'):
            x, y, p = events['x'], events['y'], events['p']
            check_events(x, y, events.get('t', x), p, (self.sensor, self.sensor))
            if len(x) < self.time_steps:
                raise ValueError(f'{len(x)} events for {self.time_steps} steps')
        x, y, p = (column.astype(np.int64) for column in (x, y, p))
        step = np.minimum(np.arange(len(x)) // (len(x) // self.time_steps), self.time_steps - 1)
        factor = self.sensor // self.size
        index = (((p > 0) * self.time_steps + step) * self.size + y // factor) * self.size + x // factor
        counts = np.bincount(index, minlength=2 * self.time_steps * self.size**2)
        results['img'] = counts.reshape(2, self.time_steps, self.size, self.size).astype(np.float32)
        results['img_shape'] = results['ori_shape'] = (self.size, self.size)
        return results
