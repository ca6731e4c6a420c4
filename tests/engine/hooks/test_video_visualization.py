"""Pictures of recognised videos: named after them, with the frames, the truth and the best classes."""

import types

import cv2
import numpy as np
import torch
from mmengine.visualization import Visualizer

from mmsvf.engine.hooks.video_visualization import RIGHT, WRONG, VideoVisualizationHook


class Sample(dict):
    def __getattr__(self, name):
        return self[name]


def coloured(picture, colour):
    """Pixels of about a BGR colour."""
    return int((np.abs(picture.astype(int) - colour).max(-1) < 30).sum())


def test_files_have_the_names_of_the_videos_and_say_what_is_right(tmp_path):
    visualizer = Visualizer.get_instance('of_videos')
    visualizer.dataset_meta = dict(classes=('waving', 'jumping', 'diving'))
    hook = VideoVisualizationHook(enable=True, interval=1, out_dir=str(tmp_path / 'shown'))
    runner = types.SimpleNamespace(
        test_dataloader=types.SimpleNamespace(dataset=types.SimpleNamespace(data_prefix=dict(video='root/val')))
    )
    hook.before_test(runner)
    clip = torch.zeros(1, 3, 6, 40, 50)  # views, channels, steps
    clip[:, 0] = 200  # red
    scores = torch.tensor([0.1, 0.7, 0.2])
    samples = [
        Sample(filename='root/val/pool/a.mp4', pred_score=scores, gt_label=torch.tensor([1])),
        Sample(filename='root/val/a.mp4', pred_score=scores, gt_label=torch.tensor([0.0, 0.0, 1.0])),
        Sample(filename='elsewhere/b.v1.mp4', pred_score=scores),
    ]
    hook.after_test_iter(runner, 0, dict(inputs=[clip] * 3), samples)
    files = sorted(str(path.relative_to(tmp_path / 'shown')) for path in tmp_path.rglob('*.*') if path.is_file())
    assert files == ['a.mp4', 'a.png', 'b.v1.mp4', 'b.v1.png', 'pool/a.mp4', 'pool/a.png']
    for name, right, wrong in (('pool/a', True, False), ('a', False, True), ('b.v1', False, False)):
        picture = cv2.imread(str(tmp_path / 'shown' / f'{name}.png'))
        assert (coloured(picture, RIGHT) > 20, coloured(picture, WRONG) > 20) == (right, wrong), name
        video = cv2.VideoCapture(str(tmp_path / 'shown' / f'{name}.mp4'))
        frames = []
        while (read := video.read())[0]:
            frames.append(read[1])
        assert len(frames) == 6 and frames[0].shape[0] == 360
        np.testing.assert_allclose(frames[3][180, 200], (0, 0, 200), atol=12)
