"""Figures of attention: the scores' colours over their tokens, the range beside them, frame by frame the same."""

import cv2
import numpy as np
import pytest
from matplotlib import colormaps

from mmsvf.visualization.attention_figure import MARK, clip_pictures, draw_clip
from mmsvf.visualization.video import write_video

QUERY = (1, 0, 2)


@pytest.fixture
def clip():
    """Black frames, and scores of which the left column is the least, the right one the largest."""
    scores = np.broadcast_to(np.array([0.2, 0.5, 0.8]), (3, 2, 3)).copy()
    return np.zeros((3, 40, 60, 3), np.uint8), scores


def colour(share):
    """A colour of the map, over black, BGR."""
    return 0.6 * 255 * np.array(colormaps['viridis'](share)[2::-1])


def count(picture, wanted, least=10):
    return int((np.abs(picture.astype(int) - wanted).max(-1) < least).sum())


def test_colours_are_those_of_the_scores(clip, tmp_path):
    figure = draw_clip(*clip, QUERY, 'a layer', 'similarity')
    figure.savefig(tmp_path / 'a.png', dpi=100)
    picture = cv2.imread(str(tmp_path / 'a.png'))
    areas = [count(picture, colour(share)) for share in (0, 0.5, 1)]
    assert min(areas) > 3 * 1000 and max(areas) < 1.2 * min(areas), 'three columns of three frames'
    assert count(picture, [int(MARK[i : i + 2], 16) for i in (5, 3, 1)], 40) > 300, 'the frame and the cross'
    *panels, bar = figure.axes
    assert [panel.get_title() for panel in panels] == ['t = 1', 't = 2, query', 't = 3']
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ['0.200', '0.500', '0.800']
    assert bar.get_ylabel() == 'similarity' and figure.get_suptitle() == 'a layer'


def test_scores_without_a_range_colour_nothing(clip, tmp_path):
    frames, scores = clip
    figure = draw_clip(frames, np.ones_like(scores), QUERY, 'a layer', 'similarity', 'no spikes')
    figure.savefig(tmp_path / 'a.png', dpi=100)
    assert len(figure.axes) == 3, 'no colour bar'
    assert figure.get_suptitle() == 'a layer\nno spikes'
    assert count(cv2.imread(str(tmp_path / 'a.png')), 0) > 10_000, 'the frames are as they were'


def test_the_video_is_the_same_frame_by_frame(clip, tmp_path):
    frames, scores = clip
    scores[0] = np.nan  # tokens that do not meet
    write_video(tmp_path / 'a.mp4', clip_pictures(frames, scores, QUERY, 'similarity'), 4)
    video, seen = cv2.VideoCapture(str(tmp_path / 'a.mp4')), []
    while (read := video.read())[0]:
        seen.append([count(read[1], colour(share), 25) for share in (0, 0.5, 1)] + [count(read[1], 0, 25)])
    assert len(seen) == 3
    assert max(seen[0][:3]) < 3000 < seen[0][3], 'black'
    assert min(*seen[1][:3], *seen[2][:3]) > 10_000
