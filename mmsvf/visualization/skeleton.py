"""Skeletons of 24 joints over frames and from the side; pictures are BGR uint8."""

from __future__ import annotations

import cv2
import numpy as np

from mmsvf.body import MMHPSD_SIZE as SIZE
from mmsvf.body import PARENTS, SMPL_METAINFO

from .drawing import PAPER, put_text, text_size, unit

VIEW = 2.2  # metres of a side view
FLOOR, EARTH = (130, 120, 115), (236, 236, 232)
AWAY = 'away from the camera →'
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


def side_view(joints: np.ndarray, size: int = SIZE, title: str = '', moment: str = '') -> np.ndarray:
    """The skeleton (24, 3) in metres seen from the camera's right, 2.2 metres high and wide, about its pelvis.

    The floor is drawn through the lowest joint; ``title`` and ``moment`` stand above.
    """
    view = np.full((size, size, 3), 255, np.uint8)
    letters, metre = unit(view), size / VIEW
    relative = joints - joints[:1]
    pixels = np.stack([relative[:, 2], relative[:, 1]], 1) * metre + np.array([0.5, 0.46]) * size  # words below
    floor = round(float(np.clip(pixels[:, 1].max(), 0, size - 1)))
    view[floor:] = EARTH
    cv2.line(view, (0, floor), (size, floor), FLOOR, max(1, size // 250))
    right = size - letters
    cv2.line(view, (right, floor), (right, floor - round(metre)), FLOOR, max(1, size // 250))
    for end in (floor, floor - round(metre)):
        cv2.line(view, (right - letters // 3, end), (right + letters // 3, end), FLOOR, max(1, size // 250))
    put_text(view, '1 m', right - letters // 2 - text_size('1 m', letters)[0], floor - round(metre / 2), letters, FLOOR)
    view = draw_skeleton(view, pixels, max(2, size // 180))
    put_text(view, title, letters // 2, letters // 4, letters, PAPER)
    put_text(view, moment, size - text_size(moment, letters)[0] - letters // 2, letters // 4, letters, PAPER)
    for x, text in ((letters // 2, 'floor'), (right - text_size(AWAY, letters)[0] + letters // 2, AWAY)):
        put_text(view, text, x, size - round(1.4 * letters), letters, FLOOR)
    return view


def pose_row(frame: np.ndarray, joints_2d: np.ndarray, moment: str, **joints_3d: np.ndarray) -> np.ndarray:
    """A frame of a clip with the skeleton over it, then the side view of each of ``joints_3d``.

    Args:
        frame: (H, W, 3) of any size; events as 0 and 1, or 0 and 255.
        joints_2d: (24, 2) in pixels of 256 x 256.
        moment: When it is, for the side views.
        **joints_3d: (24, 3) in metres, by the titles of their views.
    """
    frame = frame * 255 if frame.max() <= 1 else frame
    frame = cv2.resize(np.ascontiguousarray(frame.astype(np.uint8)), (SIZE, SIZE))
    views = (side_view(joints, SIZE, title, moment) for title, joints in joints_3d.items())
    return np.hstack([draw_skeleton(frame, joints_2d), *views])


def sheet(rows: list[np.ndarray], count: int = 4) -> np.ndarray:
    """About ``count`` of the rows of a clip, evenly spaced, as one picture."""
    return np.vstack(rows[:: -(-len(rows) // count)])
