"""Predicted skeletons over the frames of clips, with a side view, as mp4 and as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmpose.engine.hooks import PoseVisualizationHook
from torch import Tensor

from mmsvf.registry import HOOKS
from mmsvf.visualization.skeleton import pose_row, sheet
from mmsvf.visualization.video import write_video


@HOOKS.register_module()
class PoseVideoVisualizationHook(PoseVisualizationHook):
    """mmpose's hook for clips: each frame with its skeleton, its side view, and the truth's.

    mmpose's own draws all poses of a clip into the one picture of ``img_path``. Test clips are written as
    ``out_dir/<action>_<first frame>.mp4`` and ``.png``; without ``out_dir`` and ``show`` their pictures go to the
    visualizer's ``vis_backends``, as does the first clip of each ``interval``-th batch in validation.

    Args:
        enable: Whether to do so; tools/test.py --show-dir switches it on.
        interval: Every n-th batch.
        show: Show the pictures in a window.
        wait_time: Seconds a window is shown.
        out_dir: Folder to write.
        fps: Frames a second.
        **kwargs: As in mmpose's ``PoseVisualizationHook``.
    """

    def __init__(
        self,
        enable: bool = False,
        interval: int = 1,
        show: bool = False,
        wait_time: float = 2,
        out_dir: str | None = None,
        fps: float = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(enable, interval, show=show, wait_time=wait_time, out_dir=out_dir, **kwargs)
        self.fps = fps

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self.enable and self.every_n_inner_iters(batch_idx, self.interval):
            picture = sheet(rows_of(data_batch['inputs'][0], outputs[0]))
            self._visualizer.add_image('val_clip', picture[..., ::-1], runner.iter + batch_idx)

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if not self.enable or not self.every_n_inner_iters(batch_idx, self.interval):
            return
        for clip, sample in zip(data_batch['inputs'], outputs):
            rows, name = rows_of(clip, sample), f'{sample.action}_{sample.frames[0]:04d}'
            if self.out_dir is not None:
                path = Path(self.out_dir, f'{name}.mp4')
                write_video(path, rows, self.fps)
                cv2.imwrite(str(path.with_suffix('.png')), sheet(rows))
            if self.show:
                self._visualizer.show(rows[0][..., ::-1], name, wait_time=self.wait_time)
            elif self.out_dir is None:
                self._visualizer.add_image(name, sheet(rows)[..., ::-1])


def rows_of(clip: Tensor, sample: Any) -> list[np.ndarray]:
    """A row for each frame of a clip (C, T, H, W), BGR: skeleton over the frame, side views of prediction and truth."""
    predicted, truth = sample.pred_instances.detach().cpu().numpy(), sample.gt_instance_labels.cpu().numpy()
    frames = clip.permute(1, 2, 3, 0).cpu().numpy()
    return [
        pose_row(frame, joints_2d, f'frame {number}', prediction=own, truth=true)
        for number, frame, joints_2d, own, true in zip(
            sample.frames, frames, predicted.joints_2d, predicted.joints_3d, truth.joints_3d
        )
    ]
