"""Side views of bodies: a floor under the lowest joint, a metre beside it, words above."""

import cv2
import numpy as np
import pytest

from mmsvf.visualization.skeleton import EARTH, FLOOR, VIEW, pose_row, side_view
from mmsvf.visualization.video import write_video


@pytest.fixture
def joints():
    """All at the pelvis but one foot, 0.8 m below it, and a hand 0.5 m behind."""
    found = np.tile((0.3, 0.1, 4.0), (24, 1))
    found[10, 1] += 0.8
    found[22, 2] += 0.5
    return found


def is_near(picture, colour, least=12):
    return np.abs(picture.astype(int) - colour).max(-1) < least


def test_floor_and_metre(joints):
    size = 440  # 200 pixels a metre
    view = side_view(joints, size, 'side view', '0:01.5')
    floor = round(0.46 * size + 0.8 * size / VIEW)
    assert is_near(view[floor + 1 : floor + 3, 100:200], EARTH).all() and (view[floor - 20, 20:100] == 255).all()
    column = is_near(view, FLOOR).sum(0)
    assert column[: size - 60].max() < 30 and column[-40:].max() == pytest.approx(size / VIEW, abs=4), 'the metre'
    words = [(view[:30, part] < 128).all(-1).sum() for part in (slice(0, 120), slice(150, 300), slice(340, 440))]
    assert words[0] > 50 and words[1] == 0 and words[2] > 30
    assert np.array_equal(view, side_view(joints + np.array([1.0, -2.0, 3.0]), size, 'side view', '0:01.5')), (
        'about the pelvis'
    )


def test_a_body_out_of_the_view_has_its_floor_at_the_border(joints):
    joints[10, 1] += 5
    assert side_view(joints, 200).shape == (200, 200, 3)


def test_rows_as_a_video(joints, tmp_path):
    frame = np.full((64, 64, 3), 60, np.uint8)
    rows = [pose_row(frame, np.full((24, 2), 128.0), f'frame {t}', prediction=joints, truth=joints) for t in (7, 9)]
    write_video(tmp_path / 'a.mp4', rows, 4)
    video = cv2.VideoCapture(str(tmp_path / 'a.mp4'))
    for _ in rows:
        good, row = video.read()
        assert good and row.shape == (256, 768, 3)
        floor = round(0.46 * 256 + 0.8 * 256 / VIEW)
        for left in (256, 512):
            assert is_near(row[floor + 4, left + 90 : left + 110], EARTH).all()
            assert (row[:20, left : left + 80] < 128).all(-1).any(), 'its title'
    assert not video.read()[0]
