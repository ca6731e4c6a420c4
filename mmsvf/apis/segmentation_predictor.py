"""Segmentation of every frame of a video, with a memory of earlier frames or without."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.fileio import register_backend
from mmengine.fileio.backends import BaseStorageBackend

from mmsvf.datasets.clip_segmentation import clip_indices
from mmsvf.visualization.drawing import distinct_palette

from .predictor import Predictor
from .records import SegmentationRecord
from .sources import Frame, Source


class FrameBackend(BaseStorageBackend):
    """Frames in memory as files of MMEngine, ``frame://...``: transforms that load a picture by its path take them.

    Pictures go as BMP, which keeps their pixels. mmsegmentation's ``LoadImageFromNDArray`` loads one picture, no clip.
    """

    frames: ClassVar[dict[str, np.ndarray]] = {}

    def get(self, filepath: Any) -> bytes:
        return cv2.imencode('.bmp', self.frames[str(filepath)])[1].tobytes()

    def get_text(self, filepath: Any, encoding: str = 'utf-8') -> str:
        raise ValueError(f'{filepath} is a picture')


register_backend('frame', FrameBackend, prefixes='frame', force=True)


def without_labels(pipeline: Sequence[Any]) -> list[Any]:
    """Configs of a pipeline's transforms but those that load labels, also inside others."""
    kept: list[Any] = []
    for step in pipeline:
        if 'LoadAnnotations' in str(step.get('type')):
            continue
        inner = step.get('transforms')
        kept.append({**step, 'transforms': without_labels(inner)} if inner else step)
    return kept


class SegmentationPredictor(Predictor):
    """Masks of mmsegmentation's segmentors, a record a frame.

    Where the config's data set has ``offsets``, a frame goes with the earlier ones that these say, by the rule of the
    data set near the begin of a video (:func:`clip_indices`).

    Args:
        model, cfg: See :class:`Predictor`.
        classes: Names of the classes.
        palette: RGB colours of the classes; as many as differ well if there are none.
        batch_size: Frames that go through the network together.
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
        steps = without_labels(self.dataset.pipeline)
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
        paths = [frame.path for frame in clip]
        FrameBackend.frames = {frame.path: frame.image for frame in clip}
        try:
            return self._pipeline(
                dict(img_path=paths[-1], clip_paths=paths, video_id=name, frame_id=clip[-1].index)
                | dict(seg_fields=[], label_map=None, reduce_zero_label=False)
            )
        finally:
            FrameBackend.frames = {}

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
