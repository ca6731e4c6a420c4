"""Predicted skeletons over the frames of clips, with a side view, as mp4 and as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.hooks import Hook

from mmsvf.body import PARENTS
from mmsvf.datasets.mmhpsd import SIZE
from mmsvf.registry import HOOKS

COLOURS = {'left': (60, 160, 255), 'right': (255, 160, 60), 'trunk': (90, 220, 90)}  # BGR
LEFT = (1, 4, 7, 10, 13, 16, 18, 20, 22)
RIGHT = (2, 5, 8, 11, 14, 17, 19, 21, 23)


def draw_skeleton(picture: np.ndarray, joints: np.ndarray, thickness: int = 2) -> np.ndarray:
    """Bones between joints (24, 2) in pixels, on a copy of a BGR picture."""
    picture = picture.copy()
    points = np.round(np.clip(joints, -1e4, 1e4)).astype(int)
    for joint, parent in enumerate(PARENTS[1:], 1):
        side = 'left' if joint in LEFT else 'right' if joint in RIGHT else 'trunk'
        cv2.line(picture, tuple(points[parent]), tuple(points[joint]), COLOURS[side], thickness, cv2.LINE_AA)
    return picture


def side_view(joints: np.ndarray, size: int) -> np.ndarray:
    """The skeleton (24, 3) seen from the right of the camera, two metres high and wide, about its pelvis."""
    relative = joints - joints[:1]
    pixels = np.stack([relative[:, 2], relative[:, 1]], 1) * size / 2.2 + size / 2
    return draw_skeleton(np.full((size, size, 3), 255, np.uint8), pixels)


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
            frames = clip.permute(1, 2, 3, 0).cpu().numpy()
            frames = (frames * (255 if frames.max() <= 1 else 1)).astype(np.uint8)
            prediction, truth = sample.pred_instances, sample.gt_instance_labels
            size = SIZE
            frames = [cv2.resize(np.ascontiguousarray(frame), (size, size)) for frame in frames]
            rows = [
                np.hstack(
                    [
                        draw_skeleton(frame, prediction.joints_2d[t].detach().cpu().numpy()),
                        side_view(prediction.joints_3d[t].detach().cpu().numpy(), size),
                        side_view(truth.joints_3d[t].detach().cpu().numpy(), size),
                    ]
                )
                for t, frame in enumerate(frames)
            ]
            if self.out_dir is not None:
                self.out_dir.mkdir(parents=True, exist_ok=True)
                name = str(self.out_dir / f'{sample.action}_{sample.frames[0]:04d}')
                cv2.imwrite(f'{name}.png', np.vstack(rows[:: max(1, len(rows) // 4)]))
                shape = rows[0].shape[1::-1]
                writer = cv2.VideoWriter(f'{name}.mp4', cv2.VideoWriter.fourcc(*'mp4v'), self.fps, shape)
                for row in rows:
                    writer.write(row)
                writer.release()
            if self.show:
                runner.visualizer.show(rows[0][..., ::-1], wait_time=self.wait_time)
