import pytest

from mmsvf.evaluation.corruption_accuracy import CorruptionAccuracy


def test_means_over_severities_then_over_corruptions():
    metric = CorruptionAccuracy()
    for corruption, severity, hits in (('fog', 1, [1, 1]), ('fog', 2, [1, 0]), ('snow', 1, [0, 0])):
        samples = [
            dict(img_path=f'/data/{corruption}/{severity}/n01/{i}.JPEG', pred_label=hit, gt_label=1)
            for i, hit in enumerate(hits)
        ]
        metric.process(None, samples)
    metrics = metric.evaluate(size=6)
    assert metrics['imagenet_c/fog/1'] == 100 and metrics['imagenet_c/fog/2'] == 50
    assert metrics['imagenet_c/fog'] == 75 and metrics['imagenet_c/snow'] == 0
    assert metrics['imagenet_c/mean'] == pytest.approx(37.5)
