"""Predicted masks over the frames of videos, as pictures and as mp4."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook

from mmsvf.registry import HOOKS
from mmsvf.visualization.video import write_video


def overlay(frame: np.ndarray, mask: np.ndarray, palette: Sequence[Sequence[int]], opacity: float = 0.5) -> np.ndarray:
    """A BGR frame (H, W, 3) with a mask (H, W) over it, in the RGB colours of a palette; void (255) stays clear."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = np.array(palette, np.uint8)[:, ::-1]
    blend = cv2.addWeighted(frame, 1 - opacity, colours[mask], opacity, 0)
    return np.where((mask == 255)[..., None], frame, blend)


def legend(labels: Sequence[int], classes: Sequence[str], palette: Sequence[Sequence[int]], height: int) -> np.ndarray:
    """A strip (height, 160, 3) BGR that names the labels."""
    strip = np.full((height, 160, 3), 255, np.uint8)
    step = min(20, height // max(1, len(labels)))
    for i, label in enumerate(labels):
        top = i * step
        cv2.rectangle(strip, (4, top + 2), (4 + step, top + step - 2), [int(c) for c in palette[label][::-1]], -1)
        cv2.putText(strip, classes[label][:16], (10 + step, top + step - 5), 0, 0.022 * step, (0, 0, 0), 1, cv2.LINE_AA)
    return strip


@HOOKS.register_module()
class SegVideoVisualizationHook(Hook):
    """Writes ``out_dir/<video>/<frame>.png`` and ``out_dir/<video>.mp4`` of a test: mask over frame, and a legend.

    Args:
        draw: Whether to do so; tools/test.py --show-dir switches it on.
        interval: Every n-th frame.
        show: Also show each picture in a window.
        wait_time: Seconds a window is shown.
        out_dir: Folder to write.
        fps: Frames a second of the videos.
        opacity: Of the mask.
    """

    def __init__(
        self,
        draw: bool = False,
        interval: int = 1,
        show: bool = False,
        wait_time: float = 2,
        out_dir: str | None = None,
        fps: float = 10,
        opacity: float = 0.5,
    ) -> None:
        self.draw, self.interval, self.show, self.wait_time = draw, interval, show, wait_time
        self.out_dir, self.fps, self.opacity = Path(out_dir) if out_dir else None, fps, opacity

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if not self.draw or not self.every_n_inner_iters(batch_idx, self.interval):
            return
        meta = runner.test_dataloader.dataset.metainfo
        for inputs, sample in zip(data_batch['inputs'], outputs):
            mask = sample.pred_sem_seg.data.squeeze().cpu().numpy().astype(np.uint8)
            # what the network saw, so that a spoilt frame shows as one
            frame = (inputs[:, -1] if inputs.dim() == 4 else inputs).permute(1, 2, 0).cpu().numpy()
            frame = cv2.resize(np.ascontiguousarray(frame), mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
            picture = overlay(frame, mask, meta['palette'], self.opacity)
            labels = [int(label) for label in np.unique(mask) if label != 255]
            picture = np.hstack([picture, legend(labels, meta['classes'], meta['palette'], len(frame))])
            if self.out_dir is not None:
                path = self.out_dir / str(sample.get('video_id', 'images')) / f'{Path(sample.img_path).stem}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), picture)
            if self.show:
                runner.visualizer.show(picture[..., ::-1], wait_time=self.wait_time)

    def after_test_epoch(self, runner: Any, metrics: Any = None) -> None:
        """Join the pictures of each video."""
        barrier()
        if not self.draw or self.out_dir is None or not is_main_process():
            return
        for folder in sorted(p for p in self.out_dir.iterdir() if p.is_dir()):
            pictures = (cv2.imread(str(path)) for path in sorted(folder.glob('*.png')))
            write_video(folder.with_suffix('.mp4'), pictures, self.fps)
        runner.logger.info(f'pictures and videos are in {self.out_dir}')
