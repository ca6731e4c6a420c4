"""Pictures of recognised videos: named after them, with the frames, the truth and the best classes."""

import types

import cv2
import numpy as np
import torch
from mmengine.visualization import Visualizer

from mmsvf.engine.hooks import video_visualization
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


def test_no_two_samples_of_a_run_have_one_name(monkeypatch, tmp_path):
    """Dots in names of folders are no suffixes; what is left of two files may still be the same."""
    written = []
    monkeypatch.setattr(video_visualization, 'write_pictures', lambda path, *_: written.append(path.name))
    Visualizer.get_instance('of_names')
    hook = VideoVisualizationHook(enable=True, interval=1, out_dir=str(tmp_path))
    runner = types.SimpleNamespace(test_dataloader=types.SimpleNamespace(dataset=types.SimpleNamespace()))
    found = [
        *(dict(frame_dir=f'/d/clip.{end}') for end in ('01', '02', 'mp4')),
        *(dict(filename=f'/d/v.1{end}') for end in ('.mp4', '.avi', '_2.MKV', '.gif', '')),
        dict(filename='/e/v.1.mp4'),
    ]
    inputs = dict(inputs=[torch.zeros(1, 3, 2, 4, 4)] * len(found))
    names = ['clip.01', 'clip.02', 'clip.mp4', 'v.1', 'v.1_2', 'v.1_2_2', 'v.1_3', 'v.1_4', 'v.1_5']
    for _ in range(2):  # a second run has the names of the first
        written.clear()
        hook.before_test(runner)
        hook.after_test_iter(runner, 0, inputs, [Sample(one) for one in found])
        assert written == names
