"""Skeletons of 24 joints over frames and from the side; pictures are BGR uint8."""

from __future__ import annotations

import cv2
import numpy as np

from mmsvf.body import MMHPSD_SIZE as SIZE
from mmsvf.body import PARENTS, SMPL_METAINFO

COLOURS = [link['color'][::-1] for link in SMPL_METAINFO['skeleton_info'].values()]


def draw_skeleton(picture: np.ndarray, joints: np.ndarray, thickness: int = 2) -> np.ndarray:
    """Bones between joints (24, 2) in pixels, on a copy of a picture, in the colours of :data:`SMPL_METAINFO`.

    mmpose's visualizer leaves out bones that reach over the border, and draws in the first process alone.
    """
    picture = picture.copy()
    points = np.round(np.clip(joints, -1e4, 1e4)).astype(int)
    for point, parent, colour in zip(points[1:], PARENTS[1:], COLOURS):
        cv2.line(picture, tuple(points[parent]), tuple(point), colour, thickness, cv2.LINE_AA)
    return picture


def side_view(joints: np.ndarray, size: int = SIZE) -> np.ndarray:
    """The skeleton (24, 3) in metres seen from the camera's right, 2.2 metres high and wide, about its pelvis."""
    relative = joints - joints[:1]
    pixels = np.stack([relative[:, 2], relative[:, 1]], 1) * size / 2.2 + size / 2
    return draw_skeleton(np.full((size, size, 3), 255, np.uint8), pixels)


def pose_row(frame: np.ndarray, joints_2d: np.ndarray, *joints_3d: np.ndarray) -> np.ndarray:
    """A frame of a clip with the skeleton over it, then the side view of each ``joints_3d``.

    Args:
        frame: (H, W, 3) of any size; events as 0 and 1, or 0 and 255.
        joints_2d: (24, 2) in pixels of 256 x 256.
        joints_3d: (24, 3) in metres.
    """
    frame = frame * 255 if frame.max() <= 1 else frame
    frame = cv2.resize(np.ascontiguousarray(frame.astype(np.uint8)), (SIZE, SIZE))
    return np.hstack([draw_skeleton(frame, joints_2d), *(side_view(joints) for joints in joints_3d)])


def sheet(rows: list[np.ndarray], count: int = 4) -> np.ndarray:
    """About ``count`` of the rows of a clip, evenly spaced, as one picture."""
    return np.vstack(rows[:: -(-len(rows) // count)])
