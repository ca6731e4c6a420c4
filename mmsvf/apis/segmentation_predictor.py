"""Segmentation of every frame of a video, with a memory of earlier frames or without."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import print_log

from mmsvf.datasets.clip_segmentation import clip_indices, without_masks
from mmsvf.datasets.reading import MASKS, check_image
from mmsvf.registry import DATASETS
from mmsvf.spiking.state import State
from mmsvf.visualization.drawing import distinct_palette

from .predictor import Predictor
from .records import SegmentationRecord
from .sources import Frame, Pictures, Source
from .stream import Stream


class SegmentationPredictor(Predictor):
    """Masks of mmsegmentation's segmentors, a record a frame.

    Where the config's data set has ``offsets``, a frame goes with the earlier ones that these say, by the rule of the
    data set near the begin of a video (:func:`clip_indices`).

    Frame by frame the memory has the last frames at the interval of the offsets: with (-9, -6, -3) the frames 0, 3, 6,
    ... are one stream, 1, 4, 7, ... another, and 2, 5, 8, ... a third.

    Of a folder ``origin`` beside one of masks, ``mask`` (VSPW's layout), records have the truth. A mask that cannot be
    read is taken for one of unlabelled pixels, and ``problem`` of the source says so.

    Args:
        model, cfg: See :class:`Predictor`.
        classes: Names of the classes.
        palette: RGB colours of the classes; as many as differ well if there are none.
        batch_size: Frames that go through the network together; None: 1.
        windows: Have a model see clips that could go frame by frame.

    Raises:
        ValueError: a test pipeline that does not begin with mmsegmentation's ``LoadImageFromFile``, or a batch of a
            model that goes frame by frame.
    """

    scope = 'mmseg'

    def __init__(
        self,
        model: Any,
        cfg: Config,
        classes: Sequence[str] = (),
        palette: Sequence[Sequence[int]] = (),
        batch_size: int | None = None,
        windows: bool = False,
    ) -> None:
        super().__init__(model, cfg)
        self.offsets, self.batch_size = (
            tuple(self.dataset.get('offsets') or ()),
            1 if batch_size is None else batch_size,
        )
        if self.batch_size < 1:
            raise ValueError(f'batch_size={batch_size}; at least one frame at a time')
        self.classes = classes
        self.palette = palette if len(palette) >= len(classes) else distinct_palette(len(classes))
        load, *steps = without_masks(self.dataset.pipeline)
        if 'LoadImageFromFile' not in str(load['type']):
            raise ValueError(f'the test pipeline begins with {load["type"]}; LoadImageFromFile expected')
        self._type = np.float32 if load.get('to_float32') else np.uint8
        self._pipeline = Compose(steps)
        annotate = [step for step in self.dataset.pipeline if str(step['type']).endswith('LoadAnnotations')]
        self._annotate = Compose(annotate[:1]) if annotate else None
        self._masks: dict[str, Path] = {}
        self._broken: list[str] = []
        # a test that spoils frames on purpose shows them as the network saw them
        self._spoil = Compose([step for step in steps if str(step['type']).endswith('DegradeLastFrame')])
        self.choose(windows, self._why_clips(), batch_size=batch_size)

    def _why_clips(self) -> str | None:
        """Why a model that can go frame by frame sees clips; None: it need not."""
        gap = -self.offsets[-1] if self.offsets else 1
        if self.offsets != tuple(range(-gap * len(self.offsets), 0, gap)):
            return f'offsets={self.offsets} of the data set are no constant interval'
        if self._spoil.transforms:
            return 'the test pipeline spoils the last frame of a clip, and in a stream each frame is one'
        return None

    def predict(self, source: Source) -> Iterator[SegmentationRecord]:
        """Predict an open source, lazily."""
        self._masks, self._broken = masks_of(source) if self._annotate else {}, []
        yield from self._steps(source) if self.frame_by_frame else self._clips(source)
        if self._broken:
            count = f'{len(self._broken)} of {len(self._masks)} masks'
            source.problem = f'{count} cannot be read, so these frames have no truth: {self._broken[0]}'

    def _clips(self, source: Source) -> Iterator[SegmentationRecord]:
        """Records of a model that sees clips, or single frames."""
        held: deque[Frame] = deque(maxlen=1 - self.offsets[0] if self.offsets else 1)
        batch: list[tuple[Frame, dict[str, Any]]] = []
        for frame in source:
            held.append(frame)
            first = frame.index - len(held) + 1
            clip = [held[i - first] for i in clip_indices(frame.index, self.offsets)]
            sample = self._load(clip, source.name)
            # clips at the begin of a video are shorter than the others
            if batch and (len(batch) == self.batch_size or batch[0][1]['inputs'].shape != sample['inputs'].shape):
                yield from self._run(batch)
                batch = []
            batch.append((frame, sample))
        if batch:
            yield from self._run(batch)

    def _steps(self, source: Source) -> Iterator[SegmentationRecord]:
        """Records of a model that goes frame by frame."""
        options = {} if self.model.memory is None else dict(clip_length=len(self.offsets) + 1)
        stream = Stream(self.model, fuse=False, **options)
        states: list[State | None] = [None] * (-self.offsets[-1] if self.offsets else 1)
        for frame in source:
            packed, turn = self._load([frame], source.name), frame.index % len(states)
            samples, states[turn] = stream.step([packed['inputs']], states[turn], [packed['data_samples']])
            yield self._record(frame, samples[0])

    def _load(self, clip: list[Frame], name: str) -> dict[str, Any]:
        """The last frame of a clip through the test pipeline."""
        last, size = clip[-1], clip[-1].image.shape[:2]
        image = np.stack([frame.image for frame in clip]) if self.offsets else last.image
        loaded = dict(img=image.astype(self._type), img_shape=size, ori_shape=size, img_path=last.path)
        return self._pipeline(
            dict(**loaded, video_id=name, frame_id=last.index, seg_fields=[], label_map=None, reduce_zero_label=False)
        )

    @torch.no_grad()
    def _run(self, batch: list[tuple[Frame, dict[str, Any]]]) -> Iterator[SegmentationRecord]:
        samples = self.model.test_step(pseudo_collate([sample for _, sample in batch]))
        for (frame, _), sample in zip(batch, samples):
            yield self._record(frame, sample)

    def _record(self, frame: Frame, sample: Any) -> SegmentationRecord:
        mask = sample.pred_sem_seg.data.squeeze(0).cpu().numpy().astype(np.uint8)
        if self._spoil.transforms:
            image = self._spoil(dict(img=frame.image.copy(), img_path=frame.path))['img']
            frame = Frame(image, frame.index, frame.time, frame.path)
        return SegmentationRecord(frame, mask, self.classes, self.palette, self._truth(frame, mask.shape))

    def _truth(self, frame: Frame, shape: tuple[int, ...]) -> np.ndarray | None:
        """The frame's mask, as the test reads it; 255 where it cannot be read, so that all pictures are alike."""
        if frame.path not in self._masks or self._annotate is None:
            return None
        path = self._masks[frame.path]
        given: dict[str, Any] = dict(seg_map_path=str(path), seg_fields=[], label_map=None)
        given.update(reduce_zero_label=self._void_is_zero())
        try:
            if check_image(path, MASKS) != shape:
                raise ValueError(f'{path} has another size than its frame')
            return self._annotate(given)['gt_seg_map'].astype(np.uint8)
        except ValueError as error:
            self._broken.append(str(error))
            return np.full(shape, 255, np.uint8)

    def _void_is_zero(self) -> bool:
        """``reduce_zero_label`` of the data set: of the config, or as its class has it."""
        with DATASETS.switch_scope_and_registry(self.scope) as registry:
            kind = registry.get(self.dataset.type) if isinstance(self.dataset.type, str) else self.dataset.type
        default = signature(kind).parameters.get('reduce_zero_label')
        return bool(self.dataset.get('reduce_zero_label', default is not None and default.default))


def masks_of(source: Source) -> dict[str, Path]:
    """Masks by the frames of a folder ``origin``, beside it in ``mask``; none unless each frame has one."""
    if not isinstance(source, Pictures) or any(path.parent.resolve().name != 'origin' for path in source.paths):
        return {}
    masks = {str(path): path.parent.resolve().with_name('mask') / f'{path.stem}.png' for path in source.paths}
    there = sum(mask.is_file() for mask in masks.values())
    if 0 < there < len(masks):
        message = f'{source.name}: {there} of {len(masks)} frames have a mask, and so the truth is not shown'
        print_log(message, logger='current', level=logging.WARNING)
    return masks if there == len(masks) else {}
