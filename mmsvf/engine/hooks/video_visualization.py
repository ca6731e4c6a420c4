"""Predictions on video clips as pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmaction.engine.hooks import VisualizationHook
from torch import Tensor

from mmsvf.datasets.reading import VIDEOS
from mmsvf.registry import HOOKS
from mmsvf.visualization import drawing
from mmsvf.visualization.video import write_video

BEST, SHOWN = 5, 8  # classes of a picture, frames of a sheet
RIGHT, WRONG = (120, 210, 120), (110, 110, 255)  # BGR


@HOOKS.register_module()
class VideoVisualizationHook(VisualizationHook):
    """mmaction2's ``VisualizationHook`` for clips in NCTHW too, of which the first view is drawn.

    With ``out_dir`` a video gets ``out_dir/<its path in the list>.mp4`` and ``.png`` (a second one of that name
    ``<path>_2``): frames as the network saw them,
    the truth, and the best classes with their scores. mmaction2's own numbers them and draws neither the truth nor
    the classes. Its pictures go to the visualizer's backends otherwise; it also gets the option under the name that it
    has there (``show_frames``).

    Args:
        enable: Whether to draw; tools/test.py --show-dir switches it on.
        interval: Every n-th sample.
        show: Show the frames in a window.
        wait_time: Seconds a window is shown.
        out_dir: Folder to write.
        fps: Frames a second of the mp4 files.
    """

    def __init__(
        self,
        enable: bool = False,
        interval: int = 5000,
        show: bool = False,
        wait_time: float = 2,
        out_dir: str | None = None,
        fps: float = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(enable, interval, show, out_dir, wait_time=wait_time, fps=fps, **kwargs)
        self.draw_args['show_frames'] = self.draw_args.pop('show')
        self.folder = ''
        self.taken: dict[str, int] = {}  # samples of each name in this run

    def before_test(self, runner: Any) -> None:
        """Remember the folder that the list's paths are in; names begin anew."""
        self.taken = {}
        prefix = getattr(runner.test_dataloader.dataset, 'data_prefix', None) or {}
        self.folder = next((str(path) for path in prefix.values() if path), '')

    def _draw_samples(self, batch_idx: int, data_batch: dict, data_samples: Any, step: int = 0) -> None:
        if not self.enable:
            return
        clips = [first_view(clip) for clip in data_batch['inputs']]
        if self.out_dir is None or self.show:
            super()._draw_samples(batch_idx, {**data_batch, 'inputs': clips}, data_samples, step)
            return
        meta = self._visualizer.dataset_meta or {}
        for place, (clip, sample) in enumerate(zip(clips, data_samples), batch_idx * len(clips)):
            if place % self.interval == 0:
                frames = clip.permute(1, 2, 3, 0).cpu().numpy().astype(np.uint8)[..., ::-1]
                path = Path(self.out_dir, self.own_name(self.name_of(sample) or str(place)))
                write_pictures(path, frames, sample, meta.get('classes'), self.draw_args['fps'])

    def name_of(self, sample: Any) -> str:
        """The path of a sample's video in its list, without its suffix, or of its folder of frames.

        Empty where the pipeline keeps none.
        """
        found = sample.get('filename') or sample.get('frame_dir')
        if not found:
            return ''
        name = os.path.relpath(found, self.folder) if self.folder else os.path.basename(found)
        if name.startswith('..'):
            name = os.path.basename(found)
        stem, suffix = os.path.splitext(name)
        return stem if sample.get('filename') and suffix.lower() in VIDEOS else name

    def own_name(self, name: str) -> str:
        """A name that no other sample of the run has: the second ``clip`` is ``clip_2``."""
        own = name
        while own in self.taken:
            self.taken[name] += 1
            own = f'{name}_{self.taken[name]}'
        self.taken[own] = 1
        return own


def first_view(clip: Tensor) -> Tensor:
    """One view as (C, T, H, W), from views (M, C, T, H, W) or frames (T, C, H, W)."""
    return clip[0] if clip.dim() == 5 else clip.transpose(0, 1)


def write_pictures(path: Path, frames: np.ndarray, sample: Any, classes: Sequence[str] | None, fps: float) -> None:
    """Write ``path`` with .mp4 and .png: BGR frames (T, H, W, 3), and what the sample says of them."""
    scores = sample.pred_score.detach().cpu()
    names = [str(name) for name in classes] if classes else [f'class {i}' for i in range(len(scores))]
    values, best = scores.topk(min(BEST, len(scores)))
    truth = sample.get('gt_label', best[:0]).cpu()
    labels = (truth.nonzero()[:, 0] if truth.is_floating_point() else truth).tolist()  # several labels are 0s and 1s
    ink = RIGHT if int(best[0]) in labels else WRONG

    def said_beside(picture: np.ndarray) -> np.ndarray:
        strip = drawing.bars([names[i] for i in best], values.tolist(), len(picture))
        size = drawing.unit(picture)
        for row, label in enumerate(labels[:3]):
            mark = '✓' if label == int(best[0]) else '✗'
            text = drawing.shorten(f'{mark} truth: {names[label]}', size, strip.shape[1] - 2 * size)
            drawing.put_text(
                strip, text, size, len(picture) - round((1.7 * (len(labels[:3]) - row) + 0.3) * size), size, ink
            )
        return np.hstack([picture, strip])

    write_video(path.with_name(f'{path.name}.mp4'), (said_beside(drawing.enlarged(frame)) for frame in frames), fps)
    chosen = np.linspace(0, len(frames) - 1, min(SHOWN, len(frames))).round().astype(int)
    sheet = drawing.sheet([drawing.enlarged(frames[i], drawing.SHORT_SIDE // 2) for i in chosen])
    cv2.imwrite(str(path.with_name(f'{path.name}.png')), said_beside(sheet))
