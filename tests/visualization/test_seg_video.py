"""Pictures of segmented videos: their names, what stands on them, and clips."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from mmsvf.visualization.drawing import GAP
from mmsvf.visualization.seg_video import SegVideoVisualizer

(SegLocalVisualizer,) = SegVideoVisualizer.__bases__  # of mmsegmentation, which mmsvf lets import
META = dict(classes=('a', 'b', 'c'), palette=[[255, 0, 0], [0, 255, 0], [0, 0, 255]])


def sample(video, frame, size=(32, 48)):
    """A prediction; the file has the same name in each video, as in VSPW."""
    from mmseg.structures import SegDataSample

    meta = dict(img_path=f'data/{video}/origin/{frame:08d}.jpg', video_id=video, frame_id=frame)
    labels = torch.from_numpy(np.kron([[0, 1, 2]], np.ones((size[0], size[1] // 3))).astype(np.int64))
    return SegDataSample(metainfo=meta, pred_sem_seg=PixelData(data=labels[None]))


def draw(kind, folder, **options):
    visualizer = kind(save_dir=str(folder), vis_backends=[dict(type='LocalVisBackend')], **options)
    visualizer.dataset_meta = META
    for video in ('v1', 'v2'):
        for frame in range(3):
            image = np.full((32, 48, 3), 100, np.uint8)
            visualizer.add_datasample(f'test_{frame:08d}.jpg', image, sample(video, frame), step=0)
    visualizer.close()
    return {path.name for path in (folder / 'vis_data' / 'vis_image').iterdir()}


def test_videos_do_not_overwrite_each_other(tmp_path):
    assert len(draw(SegLocalVisualizer, tmp_path / 'stock')) == 3, 'of six'
    names = draw(SegVideoVisualizer, tmp_path / 'ours', name='frames')
    assert names == {f'test_v{video}_{frame}.png' for video in (1, 2) for frame in range(3)}
    for video in (1, 2):
        mp4 = cv2.VideoCapture(str(tmp_path / f'ours/vis_data/test_v{video}.mp4'))
        assert int(mp4.get(cv2.CAP_PROP_FRAME_COUNT)) == 3


def test_each_validation_has_its_pictures(tmp_path):
    visualizer = SegVideoVisualizer(name='val', save_dir=str(tmp_path), vis_backends=[dict(type='LocalVisBackend')])
    visualizer.dataset_meta = META
    for iteration in (10, 20):
        visualizer.add_datasample('val_0.jpg', np.zeros((32, 48, 3), np.uint8), sample('v1', 4), step=iteration)
    visualizer.close()
    names = {path.name for path in (tmp_path / 'vis_data' / 'vis_image').iterdir()}
    assert names == {'val_v1_iter10_4.png', 'val_v1_iter20_4.png'}


def test_truth_stands_beside_the_prediction_with_a_legend_of_both(tmp_path):
    """Of a tiny frame: large, in the classes' colours, and the legend's letters are as sharp as they are drawn."""
    visualizer = SegVideoVisualizer(name='both', save_dir=str(tmp_path), vis_backends=[dict(type='LocalVisBackend')])
    visualizer.dataset_meta = META
    both = sample('v1', 0)
    both.gt_sem_seg = PixelData(data=torch.full((1, 32, 48), 255).index_fill(2, torch.arange(24), 1))
    visualizer.add_datasample('val_0.jpg', np.full((32, 48, 3), 100, np.uint8), both)
    visualizer.close()
    picture = cv2.imread(str(tmp_path / 'vis_data' / 'vis_image' / 'val_v1_0.png'))[..., ::-1]
    height, width = 360, 540
    assert picture.shape[0] == height and picture.shape[1] > 2 * width
    truth, prediction, legend = np.split(picture, (width + GAP // 2, 2 * width + GAP), axis=1)
    red, green, grey = (224, 20, 20), (20, 224, 20), (100, 100, 100)  # colours of 80 % over a grey frame
    for panel, column, colour in (
        (truth, 100, green),
        (truth, 500, grey),
        (prediction, 100, red),
        (prediction, 290, green),
    ):
        np.testing.assert_allclose(panel[height // 2, column], colour, atol=1)
    for colour in META['palette']:
        assert (legend == colour).all(-1).sum() > 100, 'its square'
    grey_levels = legend[(np.ptp(legend.astype(int), axis=-1) < 12)].mean(-1)
    assert (grey_levels > 240).sum() > 10, 'letters of full brightness'


def test_a_clip_is_drawn_on_its_last_frame_as_the_network_saw_it(tmp_path):
    spoil = dict(type='mmsvf.DegradeLastFrame', kind='occlusion', strength=1.0)
    options = dict(vis_backends=[], alpha=0.0)
    clip = np.stack([np.full((32, 48, 3), 10 * t, np.uint8) for t in range(4)])
    for name, transforms, grey in (('plain', [], 30), ('spoilt', [spoil], 128)):
        visualizer = SegVideoVisualizer(name=name, transforms=transforms, **options)
        visualizer.dataset_meta = META
        visualizer.add_datasample('a', clip, sample('v1', 0), with_labels=False)
        assert np.unique(visualizer.get_image()).tolist() == [grey]
    # as browse_dataset.py makes its pictures, which mmsegmentation's visualizer cannot draw on
    transposed = torch.zeros(3, 32, 48, dtype=torch.uint8).permute(1, 2, 0).numpy()[..., [2, 1, 0]]
    visualizer.add_datasample('a', transposed, sample('v1', 0))
    stock = SegLocalVisualizer(name='stock', vis_backends=[])
    stock.dataset_meta = META
    with pytest.raises(cv2.error, match='incompatible'):
        stock.add_datasample('a', transposed, sample('v1', 0))
