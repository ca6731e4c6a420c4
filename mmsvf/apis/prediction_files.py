"""Predictions of many sources as files: a video, a line a record, arrays, and a picture, each whole or not there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import torch

from mmsvf.body import JOINTS, errors
from mmsvf.files.whole import whole
from mmsvf.visualization import drawing
from mmsvf.visualization.video import VideoWriter

from .predictor import Predictor
from .records import ARRAYS, ActionRecord, PoseRecord, Record, SegmentationRecord
from .sources import Camera, Frame, Source

PICTURES = 12  # of the summary
ERRORS = {'MPJPE': errors.mpjpe, 'PEL-MPJPE': errors.pel_mpjpe, 'PA-MPJPE': errors.pa_mpjpe}  # in mm
LONGEST, CELL = 1280, 720  # pixels of the longer side of a video, and of a picture of the summary
SUFFIXES = ('jsonl', 'mp4', 'npz', 'png')  # of what is written of a source


class Spread:
    """About ``2 * count`` items at most, evenly spread over a stream of unknown length."""

    def __init__(self, count: int) -> None:
        self.count, self.every, self.seen, self.items = count, 1, 0, list[Any]()

    def add(self, make: Callable[[], Any]) -> None:
        """Take the next item, if it is one of those kept; only then it is made."""
        if self.seen % self.every == 0:
            self.items.append(make())
            if len(self.items) > 2 * self.count:
                self.items, self.every = self.items[::2], 2 * self.every
        self.seen += 1

    def chosen(self) -> list[Any]:
        """``count`` of the items, or all of fewer."""
        places = np.linspace(0, len(self.items) - 1, min(self.count, len(self.items))).round().astype(int)
        return [self.items[i] for i in places]


class Averages:
    """What a whole source has in common: mean scores, mean shares of the classes, steps."""

    def __init__(self) -> None:
        self.count, self.sums = 0, dict[str, float]()
        self.right = self.known = 0  # pixels

    def add(self, record: Record) -> None:
        """Take a record."""
        self.count += 1
        values: Mapping[str, float] = {}
        if isinstance(record, ActionRecord):
            values = dict(zip(record.classes, record.scores.tolist()))
        elif isinstance(record, SegmentationRecord):
            values = {record.classes[k]: v for k, v in record.shares().items() if k < len(record.classes)}
            self.right, self.known = self.right + record.right[0], self.known + record.right[1]
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def best(self, most: int = 5) -> list[list[Any]]:
        """Names and means of the largest."""
        means = sorted(((name, total / self.count) for name, total in self.sums.items()), key=lambda pair: -pair[1])
        return [[name, round(mean, 5)] for name, mean in means[:most]]


def limited(picture: np.ndarray, longest: int = LONGEST) -> np.ndarray:
    """The picture, its longer side at most so many pixels."""
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return picture if scale >= 1 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def files_of(target: Path) -> dict[str, Path]:
    """What may be written of a source, by suffix: named by adding, since 'v1.2' is no name with a suffix."""
    return {suffix: target.with_name(f'{target.name}.{suffix}') for suffix in SUFFIXES}


def write_predictions(
    predictor: Predictor,
    source: Source,
    target: Path,
    show: Callable[[np.ndarray], None] | None = None,
    advance: Callable[[], None] = lambda: None,
    video: bool = True,
    masks: bool = False,
) -> dict[str, Any]:
    """Predict a source and write ``target`` with .mp4, .jsonl, .png, and .npz of a pose.

    Args:
        predictor: The predictor.
        source: An open source.
        target: Path without suffix.
        show: Called with each drawn picture.
        advance: Called after each record.
        video: Whether to write the .mp4.
        masks: Whether to write the label maps of a segmentation, ``target/000000.png``.

    Returns:
        What there is to say of the source as a whole.
    """
    spread, averages, pose = Spread(PICTURES), Averages(), list[PoseRecord]()
    begin, record = time.monotonic(), None
    named = files_of(target)
    with ExitStack() as stack:
        lines: IO[str] = stack.enter_context(stack.enter_context(whole(named['jsonl'])).open('w', encoding='utf-8'))
        writer: VideoWriter | None = None
        for record in predictor.predict(source):
            json.dump(record.to_dict(), lines, ensure_ascii=False)
            lines.write('\n')
            averages.add(record)
            if isinstance(record, PoseRecord):
                pose.append(_slim(record))
            if masks and isinstance(record, SegmentationRecord):
                with whole(target / f'{record.frame.index:06d}.png') as part:
                    _write_picture(part, record.mask)
            if video or show is not None:
                picture = limited(record.draw())
                spread.add(lambda drawn=picture: limited(drawn, CELL))
                if show is not None:
                    show(picture)
                if video:
                    if writer is None:
                        fps, timed = predictor.output_fps(source), isinstance(source, Camera)
                        # a camera's frames come as slowly as the model takes them
                        writer = VideoWriter(named['mp4'], picture.shape, fps, timed)
                        stack.enter_context(writer)
                    writer.write(picture, record.frame.time)
            else:
                spread.add(lambda seen=record: limited(seen.draw(), CELL))
            advance()
        lines.flush()
        if record is None:
            raise ValueError(f'{source.name} has no frame')
        arrays = track_arrays(pose) if pose else {}
        if pose:
            with whole(named['npz']) as part:
                np.savez(part, **arrays)
        with whole(named['png']) as part:
            _write_picture(part, drawing.sheet(spread.chosen()))
    last = record.last if isinstance(record, PoseRecord) else record.frame.index
    said: dict[str, Any] = dict(source=source.name, records=averages.count, last_frame=last)
    if averages.sums:
        said['mean'] = averages.best()
    if averages.known:
        said['right'] = round(averages.right / averages.known, 5)
    if 'truth' in arrays:
        joints, truth = (torch.from_numpy(arrays[name]).double() for name in ('joints_3d', 'truth'))
        said['errors'] = {name: round(1000 * float(error(joints, truth).mean()), 2) for name, error in ERRORS.items()}
    if source.problem:
        said['problem'] = source.problem
    return dict(**said, seconds=round(time.monotonic() - begin, 2))


def _write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a PNG.

    Raises:
        OSError: it cannot be encoded or written; OpenCV's own writer leaves a part of it on a full disk.
    """
    good, encoded = cv2.imencode('.png', picture)
    if not good:
        raise OSError(f'{path}: a picture of {picture.dtype} {picture.shape} cannot be written')
    path.write_bytes(encoded.tobytes())


def _slim(record: PoseRecord) -> PoseRecord:
    """The record without its image."""
    return replace(record, frame=Frame(np.empty(0), record.frame.index, record.frame.time))


def track_arrays(records: list[PoseRecord]) -> dict[str, np.ndarray]:
    """Records of a pose as arrays (T, ...), with ``times``, ``frames``, ``squares``, ``joint_names``, and ``truth``."""
    arrays = {name: np.stack([getattr(record, name) for record in records]) for name in ARRAYS}
    arrays['joints_2d_frame'] = np.stack([record.pixels for record in records])
    arrays['times'] = np.array([record.frame.time for record in records])
    arrays['frames'] = np.array([record.frame.index for record in records])
    arrays['squares'] = np.array([record.square for record in records])
    truth = [record.truth for record in records if record.truth is not None]
    if len(truth) == len(records):
        arrays['truth'] = np.stack(truth)
    return {**arrays, 'joint_names': np.array(JOINTS)}
