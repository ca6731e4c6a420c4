"""Segmentation of every frame of a video, with a memory of earlier frames or without."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from mmsvf.datasets.clip_segmentation import clip_indices, without_masks
from mmsvf.visualization.drawing import distinct_palette

from .predictor import Predictor
from .records import SegmentationRecord
from .sources import Frame, Source


class SegmentationPredictor(Predictor):
    """Masks of mmsegmentation's segmentors, a record a frame.

    Where the config's data set has ``offsets``, a frame goes with the earlier ones that these say, by the rule of the
    data set near the begin of a video (:func:`clip_indices`).

    Args:
        model, cfg: See :class:`Predictor`.
        classes: Names of the classes.
        palette: RGB colours of the classes; as many as differ well if there are none.
        batch_size: Frames that go through the network together.

    Raises:
        ValueError: a test pipeline that does not begin with mmsegmentation's ``LoadImageFromFile``.
    """

    scope = 'mmseg'

    def __init__(
        self,
        model: Any,
        cfg: Config,
        classes: Sequence[str] = (),
        palette: Sequence[Sequence[int]] = (),
        batch_size: int = 1,
    ) -> None:
        super().__init__(model, cfg)
        if batch_size < 1:
            raise ValueError(f'batch_size={batch_size}; at least one frame at a time')
        self.offsets, self.batch_size = tuple(self.dataset.get('offsets') or ()), batch_size
        self.classes = classes
        self.palette = palette if len(palette) >= len(classes) else distinct_palette(len(classes))
        load, *steps = without_masks(self.dataset.pipeline)
        if 'LoadImageFromFile' not in str(load['type']):
            raise ValueError(f'the test pipeline begins with {load["type"]}; LoadImageFromFile expected')
        self._type = np.float32 if load.get('to_float32') else np.uint8
        self._pipeline = Compose(steps)
        # a test that spoils frames on purpose shows them as the network saw them
        self._spoil = Compose([step for step in steps if str(step['type']).endswith('DegradeLastFrame')])

    def predict(self, source: Source) -> Iterator[SegmentationRecord]:
        """Predict an open source, lazily."""
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
            mask = sample.pred_sem_seg.data.squeeze(0).cpu().numpy().astype(np.uint8)
            shown = frame
            if self._spoil.transforms:
                image = self._spoil(dict(img=frame.image.copy(), img_path=frame.path))['img']
                shown = Frame(image, frame.index, frame.time, frame.path)
            yield SegmentationRecord(shown, mask, self.classes, self.palette)
