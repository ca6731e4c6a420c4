"""Actions in videos of any length."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import print_log
from torch import Tensor

from .predictor import Predictor
from .records import ActionRecord
from .sources import Frame, Source
from .stream import Stream
from .windows import blended


class _Seen(NamedTuple):
    """A frame, and what the network gets of it."""

    frame: Frame
    results: dict[str, Any]


class ActionPredictor(Predictor):
    """Scores of mmaction2's recognisers, a record a frame.

    A video is cut into overlapping windows, and each goes through the config's test pipeline as a video of its own,
    with as many clips and crops. A frame has the weighted mean of the windows over it (:func:`blended`). A video that
    is no longer than a window has the scores of ``tools/test.py``, whatever it is decoded with there.

    Frame by frame the network sees a frame at the interval of the pipeline's clips, in as many crops, and a record has
    the mean score of the frames up to it.

    Args:
        model, cfg: See :class:`Predictor`.
        classes: Names of the classes.
        window: Seconds of a window; 0 takes a source as a whole, which is read twice: no iterator and no camera. Frame
            by frame: how long ago a frame's score still counts; 0: all do.
        overlap: Share of a window that the next one sees again; None: 0.5.
        windows: Have a model see windows that could go frame by frame.

    Raises:
        ValueError: a test pipeline that decodes no frames, or an overlap of no windows.
    """

    scope = 'mmaction'

    def __init__(
        self,
        model: Any,
        cfg: Config,
        classes: Sequence[str] = (),
        window: float = 10.0,
        overlap: float | None = None,
        windows: bool = False,
    ) -> None:
        super().__init__(model, cfg)
        self.choose(windows, overlap=overlap)
        overlap = 0.5 if overlap is None else overlap
        if not window >= 0 or not 0 <= overlap < 1:
            raise ValueError(f'window={window}, overlap={overlap}; seconds, or 0 for the whole, and from 0 to below 1')
        self.classes, self.window, self.overlap = classes, window, overlap
        steps = [step for step in self.dataset.pipeline if not str(step['type']).endswith('Init')]
        place = next((i for i, step in enumerate(steps) if str(step['type']).endswith('Decode')), None)
        if place is None:
            raise ValueError(
                f'the test pipeline decodes no frames ({", ".join(str(s["type"]) for s in steps)}); one with '
                'DecordDecode or another of mmaction2 expected'
            )
        self._sample, rest = Compose(steps[:place]), steps[place + 1 :]
        self._interval = next((step['frame_interval'] for step in steps[:place] if 'frame_interval' in step), 1)
        # what makes frames small is done as they come: a window of large ones would fill the memory
        early = 0
        while early < len(rest) and rest[early]['type'] == 'Resize' and not rest[early].get('lazy'):
            early += 1
        self._early, self._late = Compose(rest[:early]), Compose(rest[early:])

    def predict(self, source: Source) -> Iterator[ActionRecord]:
        """Predict an open source, lazily."""
        if self.frame_by_frame:
            yield from self._steps(source)
            return
        if self.window == 0:
            yield from self._whole(source)
            return
        items = (_Seen(frame, self._see(frame)) for frame in source)
        for seen, values in blended(
            items, max(1, round(self.window * source.fps)), self.overlap, lambda w: self._scores(w, source)
        ):
            yield self._record(seen.frame, values['scores'])

    def _see(self, frame: Frame) -> dict[str, Any]:
        """The frame as the pipeline makes it before it goes with others; the frame itself is kept as a JPEG."""
        image = np.ascontiguousarray(frame.image[..., ::-1])
        results = self._early(dict(imgs=[image], original_shape=image.shape[:2], img_shape=image.shape[:2]))
        frame.pack()
        return results

    def _steps(self, source: Source) -> Iterator[ActionRecord]:
        """Records of a model that goes frame by frame; its streams are the crops."""
        recent = max(1, round(self.window * source.fps / self._interval))
        stream, state, scores = Stream(self.model, fuse=False, recent=recent), None, torch.empty(0)
        name = 'recent_score' if self.window else 'pred_score'
        for frame in source:
            if frame.index % self._interval == 0:
                image = np.ascontiguousarray(frame.image[..., ::-1])
                clip = dict(original_shape=image.shape[:2], img_shape=image.shape[:2], num_clips=1, clip_len=1)
                results = self._late(self._early(dict(imgs=[image], modality='RGB', label=-1, **clip)))
                samples, state = stream.step(results['inputs'][:, :, 0], state)  # of crops (N, C, T, H, W)
                scores = torch.stack([_mean(sample.get(name)) for sample in samples]).mean(0)
            yield self._record(frame, scores)

    def _places(self, count: int, source: Source) -> tuple[dict[str, Any], np.ndarray]:
        """Which frames of so many the clips take."""
        info = dict(total_frames=count, start_index=0, modality='RGB', label=-1, filename=source.name)
        results = self._sample(dict(**info, avg_fps=source.fps))
        places = np.asarray(results['frame_inds']).reshape(-1) + results.get('offset', 0)
        return results, places

    @torch.no_grad()
    def _run(self, results: dict[str, Any], frames: Sequence[dict[str, Any]]) -> Tensor:
        """Scores (classes,) of the frames that the clips took."""
        images = list(chain.from_iterable(frame['imgs'] for frame in frames))
        results.update({k: v for k, v in frames[0].items() if k != 'imgs'}, imgs=images)
        return _mean(self.model.test_step(pseudo_collate([self._late(results)]))[0].pred_score)

    def _scores(self, window: list[_Seen], source: Source) -> dict[str, Tensor]:
        results, places = self._places(len(window), source)
        scores = self._run(results, [window[i].results for i in places])
        return dict(scores=scores.expand(len(window), -1))

    def _whole(self, source: Source) -> Iterator[ActionRecord]:
        if not source.repeatable:
            raise ValueError(f'{source.name} is seen once: give a window of some seconds, not 0')
        count = sum(1 for _ in source)
        results, places = self._places(count, source)
        wanted, kept = set(places.tolist()), {}
        for frame in source:
            if frame.index in wanted:
                kept[frame.index] = self._see(frame)
        scores = self._run(results, [kept[i] for i in places])
        kept.clear()
        for frame in source:
            yield self._record(frame, scores)

    def _record(self, frame: Frame, scores: Tensor) -> ActionRecord:
        if not self.classes:
            self.classes = [f'class {i}' for i in range(len(scores))]
            print_log('the classes have no names; give a file of them', logger='current', level=logging.WARNING)
        return ActionRecord(frame, scores.numpy(), self.classes)


def _mean(scores: Tensor) -> Tensor:
    """Scores (classes,) of a sample; with ``average_clips=None`` it has a row a clip."""
    scores = scores.float().cpu()
    return scores if scores.dim() == 1 else scores.softmax(-1).mean(0)
