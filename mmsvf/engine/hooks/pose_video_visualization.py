"""Predicted skeletons over the frames of clips, with a side view, as mp4 and as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
from mmengine.hooks import Hook

from mmsvf.registry import HOOKS
from mmsvf.visualization.skeleton import pose_row, sheet
from mmsvf.visualization.video import write_video


@HOOKS.register_module()
class PoseVideoVisualizationHook(Hook):
    """Writes ``out_dir/<action>_<first frame>.mp4`` and ``.png`` of test clips: skeleton, side view, and the truth's.

    Args:
        enable: Whether to do so; tools/test.py --show-dir switches it on.
        interval: Every n-th batch.
        show: Also show the pictures in a window.
        wait_time: Seconds a window is shown.
        out_dir: Folder to write.
        fps: Frames a second.
    """

    def __init__(
        self,
        enable: bool = False,
        interval: int = 1,
        show: bool = False,
        wait_time: float = 2,
        out_dir: str | None = None,
        fps: float = 4,
    ) -> None:
        self.enable, self.interval, self.show, self.wait_time = enable, interval, show, wait_time
        self.out_dir, self.fps = Path(out_dir) if out_dir else None, fps

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if not self.enable or not self.every_n_inner_iters(batch_idx, self.interval):
            return
        for clip, sample in zip(data_batch['inputs'], outputs):
            predicted, truth = sample.pred_instances.detach().cpu().numpy(), sample.gt_instance_labels.cpu().numpy()
            rows = [
                pose_row(frame, predicted.joints_2d[t], predicted.joints_3d[t], truth.joints_3d[t])
                for t, frame in enumerate(clip.permute(1, 2, 3, 0).cpu().numpy())
            ]
            if self.out_dir is not None:
                path = self.out_dir / f'{sample.action}_{sample.frames[0]:04d}.mp4'
                write_video(path, rows, self.fps)
                cv2.imwrite(str(path.with_suffix('.png')), sheet(rows))
            if self.show:
                runner.visualizer.show(rows[0][..., ::-1], wait_time=self.wait_time)
