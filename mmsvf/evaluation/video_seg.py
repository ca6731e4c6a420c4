"""mIoU, weighted IoU and video consistency for mmsegmentation (docs/faithfulness.md, D39 and D52)."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmseg.evaluation import IoUMetric
from PIL import Image
from torch import Tensor

from mmsvf.registry import METRICS

from .video_consistency import mean_consistency, video_consistency


@METRICS.register_module()
class VideoSegMetric(IoUMetric):
    """mmsegmentation's ``IoUMetric`` with a second mean IoU, weighted IoU and VC_n over each video, all in %.

    ``IoUMetric`` sums areas over frames and knows no videos; its ``output_dir`` gets ``<frame>.png``, which repeats
    from video to video. What it measures is the same here.

    ``mIoU`` is mmsegmentation's, over the classes that occur in labels or predictions; ``mIoU_present`` is that of
    VSPW's script, over the classes that occur in the labels (D52). A class that is predicted but never there is a zero
    in the first and not in the second; where every class is labelled somewhere, they are equal.

    Frames may come in any order and from any process: each keeps its label maps (compressed)
    until the end. ``output_dir`` gets ``<video>/<frame>.png``, so videos cannot overwrite each
    other.

    Args:
        windows: Lengths n of VC_n; () computes none, and no label maps are kept.
        strict: Ask VC for predictions that are right, not only stable.
        **kwargs: As in ``IoUMetric`` (iou_metrics, ignore_index, output_dir, format_only).

    Raises:
        ValueError: a window that is no positive integer; a label or a prediction beyond the classes, which
            mmsegmentation would leave out of its sums; a frame without a mask. The message has the frame.
    """

    def __init__(self, windows: Sequence[int] = (8, 16), strict: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.windows, self.strict = tuple(windows), strict
        if not all(type(n) is int and n > 0 for n in self.windows):
            raise ValueError(f'windows={windows!r}; lengths in frames, such as (8, 16), or () for none')

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Histograms, label maps and files of a batch."""
        classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            prediction = sample['pred_sem_seg']['data'].squeeze()
            path = Path(sample['img_path'])
            # without an id a video is its folder; VSPW's frames are in VIDEO/origin
            folder = path.parent.parent if path.parent.name == 'origin' else path.parent
            video, frame = sample.get('video_id', str(folder)), sample.get('frame_id', path.stem)
            if self.output_dir is not None:
                offset = 1 if sample.get('reduce_zero_label', False) else 0
                file = Path(self.output_dir) / str(sample.get('video_id', folder.name)) / f'{path.stem}.png'
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((prediction.cpu().numpy() + offset).astype(np.uint8)).save(file)
            if self.format_only:
                continue
            if 'gt_sem_seg' not in sample:
                raise ValueError(
                    f'{path} has no mask to compare with; to write predictions alone: tools/test.py --out DIR '
                    '--cfg-options test_evaluator.format_only=True'
                )
            label = sample['gt_sem_seg']['data'].squeeze().to(prediction)
            self._check(prediction, label, classes, path)
            areas = self.intersect_and_union(prediction, label, classes, self.ignore_index)
            maps = [m.cpu().numpy().astype(np.uint8) for m in (prediction, label)] if self.windows else []
            self.results.append((areas, video, frame, label.shape, [zlib.compress(m.tobytes(), 1) for m in maps]))

    def _check(self, prediction: Tensor, label: Tensor, classes: int, path: Path) -> None:
        for what, ids in (('label', label[label != self.ignore_index]), ('prediction', prediction)):
            beyond = ids[(ids < 0) | (ids >= classes)]
            if len(beyond):
                raise ValueError(
                    f'{path}: {what} {beyond.unique().tolist()[:5]} in {len(beyond)} pixels, but the data set has '
                    f'{classes} classes, 0 to {classes - 1} (and ignore_index={self.ignore_index}): check num_classes, '
                    'the masks and reduce_zero_label'
                )

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The metrics of all frames; a frame that two processes saw counts once."""
        if self.format_only:
            print_log(f'predictions are in {self.output_dir}', logger='current')
            return {}
        unique = {(video, frame): (areas, shape, maps) for areas, video, frame, shape, maps in results}
        metrics = dict(super().compute_metrics([areas for areas, _, _ in unique.values()]))
        intersect, union, _, label = (sum(a[i] for a, _, _ in unique.values()) for i in range(4))
        iou = (intersect / union.clamp(min=1)).double()
        metrics['mIoU_present'] = round(100 * float(iou[label > 0].mean()), 2)
        metrics['wIoU'] = round(100 * float((iou * label).sum() / label.sum()), 2)
        videos: dict[Any, list] = defaultdict(list)
        for (video, frame), (_, shape, maps) in unique.items():
            videos[video].append((frame, shape, maps))
        shortest = max(self.windows, default=0)
        scores: dict[int, list] = {window: [] for window in self.windows}
        for frames in videos.values() if self.windows else ():
            frames.sort(key=lambda frame: frame[0])
            predictions, labels = (
                np.stack(
                    [np.frombuffer(zlib.decompress(maps[i]), np.uint8).reshape(shape) for _, shape, maps in frames]
                )
                for i in (0, 1)
            )
            for window in self.windows:
                scores[window].append(video_consistency(predictions, labels, window, self.strict, shortest))
        metrics.update({f'VC{window}': round(mean_consistency(scores[window]), 2) for window in self.windows})
        return metrics
