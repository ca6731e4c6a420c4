"""Video metrics against slow, independent references."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmsvf.evaluation.video_consistency import mean_consistency, video_consistency
from mmsvf.evaluation.video_seg import VideoSegMetric


def labels(rng, frames, classes, size=(6, 7)):
    """Label videos in which many pixels stay for a while, with void."""
    video = np.repeat(rng.integers(0, classes, (frames // 4 + 1, *size)), 4, 0)[:frames].astype(np.uint8)
    video[:, :2] = rng.integers(0, classes)
    flips = rng.random(video.shape) < 0.02
    video[flips] = rng.integers(0, classes, flips.sum())
    video[:, -1] = 255
    return video


def reference(predictions, truth, window, strict=False):
    """Protocol 3.3, pixel by pixel and window by window."""
    scores = []
    for start in range(len(truth) - window):
        common = kept = 0
        for y, x in np.ndindex(truth.shape[1:]):
            g, p = truth[start : start + window, y, x], predictions[start : start + window, y, x]
            if len(set(g.tolist())) == 1:
                common += 1
                kept += len(set(p.tolist())) == 1 and (not strict or p[0] == g[0])
        scores.append(kept / common if common else np.nan)
    return np.array(scores)


@pytest.mark.parametrize('strict', [False, True])
@pytest.mark.parametrize('window', [2, 8, 16])
@pytest.mark.parametrize('seed', range(5))
def test_video_consistency_equals_the_reference(window, strict, seed):
    rng = np.random.default_rng(seed)
    truth, predictions = labels(rng, 20, 3), labels(rng, 20, 3)
    scores = video_consistency(predictions, truth, window, strict)
    np.testing.assert_allclose(scores, reference(predictions, truth, window, strict))
    assert len(scores) == 20 - window, 'the last possible window is left out'


def test_windows_without_a_pixel_that_stays_and_short_videos():
    truth = np.arange(12).reshape(12, 1, 1) % 2
    assert np.isnan(video_consistency(truth, truth, 2)).all()
    assert np.isnan(mean_consistency([video_consistency(truth, truth, 2)]))
    assert len(video_consistency(truth[:8], truth[:8], 8)) == 0
    assert len(video_consistency(truth, truth, 8, shortest=16)) == 0
    assert np.isnan(mean_consistency([]))


def sample(prediction, truth, video, frame, **meta):
    return dict(
        pred_sem_seg=dict(data=torch.from_numpy(prediction).long()[None]),
        gt_sem_seg=dict(data=torch.from_numpy(truth).long()[None]),
        img_path=f'/data/{video}/origin/{frame:08d}.jpg', video_id=video, frame_id=frame, **meta,
    )  # fmt: skip


def build(classes=3, **kwargs):
    metric = VideoSegMetric(**kwargs)
    metric.dataset_meta = dict(classes=tuple('abcde'[:classes]))
    return metric


def test_all_metrics_of_a_set_in_any_order():
    rng = np.random.default_rng(0)
    videos = {name: (labels(rng, n, 3) % 253, labels(rng, n, 3)) for name, n in (('v1', 20), ('v2', 18), ('short', 12))}
    entries = [sample(p[t], g[t], v, t) for v, (p, g) in videos.items() for t in range(len(g))]
    metric = build()
    for i in rng.permutation(len(entries)):
        metric.process(None, [entries[i]])
    metric.process(None, [entries[0]])  # a frame that two processes saw
    metrics = metric.compute_metrics(metric.results)

    for window in (8, 16):
        scores = np.concatenate([reference(*videos[v], window) for v in ('v1', 'v2')])
        assert metrics[f'VC{window}'] == pytest.approx(100 * np.nanmean(scores), abs=0.006)
    p, g = (np.concatenate([video[i].ravel() for video in videos.values()]) for i in (0, 1))
    p = p[g != 255]
    g = g[g != 255]
    iou = [(p[g == c] == c).sum() / ((p == c) | (g == c)).sum() for c in range(3)]
    frequency = [(g == c).mean() for c in range(3)]
    assert metrics['wIoU'] == pytest.approx(100 * np.dot(iou, frequency), abs=0.006)
    assert metrics['mIoU'] == pytest.approx(100 * np.mean(iou), abs=0.006)
    assert metrics['mIoU_present'] == metrics['mIoU'], 'all classes occur'


def test_mean_iou_over_classes_in_labels_or_predictions_and_over_those_in_the_labels():
    """Of five classes two are labelled, one is predicted alone, two never occur; on two processes, a frame on both."""
    truth = np.array([[0, 0, 1, 1, 255]], np.uint8)
    predictions = np.array([[[0, 0, 1, 1, 4]], [[0, 2, 1, 1, 4]], [[2, 2, 1, 0, 4]]], np.uint8)
    iou = {0: 3 / 7, 1: 5 / 6, 2: 0}  # what is predicted on void pixels does not count
    samples = [sample(prediction, truth, 'v1', t) for t, prediction in enumerate(predictions)]
    one, processes = build(5, windows=()), [build(5, windows=()) for _ in range(2)]
    for entry in samples:
        one.process(None, [entry])
    for rank, metric in enumerate(processes):  # the sampler repeats the first frame for an even share
        for i in (rank, (rank + 2) % 3):
            metric.process(None, [samples[i]])
    gathered = [result for pair in zip(*(metric.results for metric in processes)) for result in pair]
    for results in (one.results, gathered):
        metrics = one.compute_metrics(results)
        assert metrics['mIoU'] == pytest.approx(100 * sum(iou.values()) / 3, abs=0.006)
        assert metrics['mIoU_present'] == pytest.approx(100 * (iou[0] + iou[1]) / 2, abs=0.006)


def test_strict_asks_for_right_predictions():
    truth = np.zeros((20, 4, 4), np.uint8)
    loose, strict = build(), build(strict=True)
    for metric in (loose, strict):
        for t in range(20):
            metric.process(None, [sample(truth[t] + 1, truth[t], 'v1', t)])
    assert loose.compute_metrics(loose.results)['VC8'] == 100
    assert strict.compute_metrics(strict.results)['VC8'] == 0


def test_files_of_two_videos_do_not_overwrite_each_other(tmp_path):
    metric = build(output_dir=str(tmp_path / 'out'), format_only=True)
    for video, label in (('v1', 0), ('v2', 2), ('day/v1', 1)):
        frame = np.full((4, 4), label, np.uint8)
        metric.process(None, [sample(frame, frame, video, 0, reduce_zero_label=True)])
    files = {p.relative_to(tmp_path / 'out').as_posix(): np.array(Image.open(p)) for p in tmp_path.rglob('*.png')}
    assert set(files) == {'v1/00000000.png', 'v2/00000000.png', 'day/v1/00000000.png'}
    assert (files['v1/00000000.png'] == 1).all() and (files['v2/00000000.png'] == 3).all(), 'label 0 is void on disk'


def test_without_ids_a_video_is_its_folder(tmp_path):
    """VSPW's frames are in VIDEO/origin: frames of one name in two videos are two frames."""
    metric = build(windows=(), output_dir=str(tmp_path))
    for video, label in (('v1', 0), ('v2', 1)):
        entry = sample(np.zeros((4, 4), np.uint8), np.full((4, 4), label, np.uint8), video, 0)
        del entry['video_id'], entry['frame_id']
        metric.process(None, [entry])
    assert metric.compute_metrics(metric.results)['aAcc'] == 50
    assert sorted(p.parent.name for p in tmp_path.rglob('*.png')) == ['v1', 'v2']


def test_without_windows_no_maps_are_kept():
    metric, truth = build(windows=()), np.zeros((4, 4), np.uint8)
    metric.process(None, [sample(truth, truth, 'v1', 0)])
    assert metric.results[0][-1] == []
    assert not any(key.startswith('VC') for key in metric.compute_metrics(metric.results))


@pytest.mark.parametrize(
    ('prediction', 'label', 'message'),
    [
        (0, 3, r'00000000\.jpg: label \[3\] in 16 pixels, but the data set has 3 classes, 0 to 2'),
        (5, 0, r'00000000\.jpg: prediction \[5\] in 16 pixels'),
    ],
)
def test_labels_beyond_the_classes_are_refused(prediction, label, message):
    maps = [np.full((4, 4), value, np.uint8) for value in (prediction, label)]
    with pytest.raises(ValueError, match=message):
        build().process(None, [sample(*maps, 'v1', 0)])


def test_a_frame_without_a_mask_is_said():
    entry = sample(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), 'v1', 0)
    del entry['gt_sem_seg']
    with pytest.raises(ValueError, match=r'00000000\.jpg has no mask to compare with; .*format_only=True'):
        build().process(None, [entry])
    metric = build(format_only=True)
    metric.process(None, [entry])
    assert metric.compute_metrics(metric.results) == {}


def test_mean_iou_is_mmsegmentation_s(tmp_path):
    """The stock metric on the same predictions: the same numbers under the same names."""
    from mmseg.evaluation import IoUMetric

    rng = np.random.default_rng(0)
    entries = [sample(labels(rng, 1, 3)[0] % 253, labels(rng, 1, 3)[0], video, 0) for video in ('v1', 'v2')]
    stock, own = IoUMetric(), build(windows=())
    stock.dataset_meta = own.dataset_meta
    for metric in (stock, own):
        metric.process(None, entries)
    expected = stock.compute_metrics(stock.results)
    assert set(expected) == {'aAcc', 'mIoU', 'mAcc'}
    found = own.compute_metrics(own.results)
    assert {key: found[key] for key in expected} == expected
    stock.output_dir, stock.format_only = str(tmp_path), True
    stock.process(None, entries)
    assert len(list(tmp_path.iterdir())) == 1, 'its files overwrite each other'


def test_windows_are_lengths():
    with pytest.raises(ValueError, match=r'windows=\(0, -3\); lengths in frames'):
        build(windows=(0, -3))
