import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope

import mmsvf  # noqa: F401
from mmsvf.registry import MODELS
from mmsvf.spiking import build_neuron


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    init_default_scope('mmpretrain')


def build(**kwargs):
    return MODELS.build(dict(type='SpikeImageClsHead', num_classes=5, in_channels=8, **kwargs))


def samples(n):
    from mmpretrain.structures import DataSample

    return [DataSample().set_gt_label(i % 5) for i in range(n)]


def spikes_of(x):
    return build_neuron()(x.mean((3, 4)).permute(2, 0, 1))


def test_is_mean_lif_linear_mean():
    head, x = build(), torch.randn(3, 8, 4, 6, 6) * 8
    assert spikes_of(x).sum() > 0
    torch.testing.assert_close(head((x,)), head.fc(spikes_of(x)).mean(0))
    assert head.pre_logits((x,)).shape == (4, 3, 8)


def test_scores_are_the_same_as_those_of_the_video_head():
    x = torch.randn(3, 8, 4, 6, 6) * 8
    head = build()
    video = MODELS.build(dict(type='SpikeClsHead', num_classes=5, in_channels=8))
    video.load_state_dict(head.state_dict(), strict=False)
    torch.testing.assert_close(head((x,)), video(x))


def test_loss_and_prediction():
    head, x = (
        build(loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')),
        torch.randn(6, 8, 4, 6, 6),
    )
    x = x * 8
    loss = head.loss((x,), samples(6))['loss']
    target = torch.tensor([0, 1, 2, 3, 4, 0])
    torch.testing.assert_close(loss, F.cross_entropy(head((x,)), target, label_smoothing=0.1))
    loss.backward()
    assert head.fc.weight.grad is not None
    assert head.predict((x,), samples(6))[0].pred_score.shape == (5,)


def test_distilled_scores_are_the_mean_of_two_layers():
    head, x = build(distilled=True), torch.randn(3, 8, 4, 6, 6) * 8
    spikes = spikes_of(x)
    torch.testing.assert_close(head((x,)), (head.fc(spikes).mean(0) + head.fc_kd(spikes).mean(0)) / 2)


@pytest.mark.parametrize('x', [torch.zeros(2, 8, 6, 6), torch.zeros(2, 4, 3, 6, 6)])
def test_bad_input(x):
    with pytest.raises(ValueError, match=r'SpikeImageClsHead\(in_channels=8\) takes a tuple.*keep_time=True'):
        build()((x,))
    with pytest.raises(ValueError, match=r'takes a tuple.*got one tensor'):
        build()(torch.zeros(2, 8, 3, 6, 6))


def test_temporal_efficient_training():
    """TET: the mean of each step's cross-entropy, and the distance of the scores from a value, by hand."""
    head = build(neuron=None, temporal=dict(weight=0.25, mean=1.0))
    feats = (torch.rand(3, 8, 4, 2, 2),)
    scores = head.fc(feats[0].mean((3, 4)).permute(2, 0, 1))
    batch = samples(3)
    labels = torch.cat([sample.gt_label for sample in batch])
    steps = torch.stack([F.cross_entropy(step, labels) for step in scores])
    losses = head.loss(feats, batch)
    torch.testing.assert_close(losses['loss'], 0.75 * steps.mean())
    torch.testing.assert_close(losses['loss_mse'], 0.25 * (scores - 1).square().mean())
    torch.testing.assert_close(head(feats), scores.mean(0))
    with pytest.raises(ValueError, match=r'weight=2; from 0 to 1'):
        build(temporal=dict(weight=2))


@pytest.mark.parametrize('classes', [None, 0, 2.5])
def test_bad_number_of_classes(classes):
    with pytest.raises(ValueError, match=f'num_classes={classes}; at least 1'):
        MODELS.build(dict(type='SpikeImageClsHead', num_classes=classes, in_channels=8))


@pytest.mark.parametrize('options', [dict(), dict(temporal=dict(weight=0.25))], ids=str)
def test_labels_that_are_no_class(options):
    head, batch, feats = build(**options), samples(2), (torch.rand(2, 8, 4, 2, 2),)
    batch[1].set_gt_label(99)
    with pytest.raises(ValueError, match=r'labels \[99\] with num_classes=5; 0 to 4'):
        head.loss(feats, batch)


def test_empty_input():
    with pytest.raises(ValueError, match='SpikeImageClsHead got an empty input'):
        build()((torch.zeros(2, 8, 0, 2, 2),))
