import pytest
import torch
from mmengine.registry import init_default_scope

import mmsvf  # noqa: F401
from mmsvf.registry import MODELS
from mmsvf.spiking import build_neuron


@pytest.fixture(autouse=True)
def mmaction_scope():
    init_default_scope('mmaction')


def build(**kwargs):
    return MODELS.build(dict(type='SpikeClsHead', num_classes=5, in_channels=8, **kwargs))


@pytest.mark.usefixtures('device')
def test_is_mean_lif_linear_mean():
    head, x = build(), torch.randn(3, 8, 4, 6, 6) * 8
    spikes = build_neuron()(x.mean((3, 4)).permute(2, 0, 1))
    torch.testing.assert_close(head(x), head.fc(spikes).mean(0))
    assert spikes.sum() > 0


def test_loss_and_views():
    from mmaction.structures import ActionDataSample

    head, x = build(topk=(1, 2)), torch.randn(6, 8, 4, 6, 6) * 8
    losses = head.loss(x, [ActionDataSample().set_gt_label(i % 5) for i in range(6)])
    assert set(losses) == {'loss_cls', 'top1_acc', 'top2_acc'}
    losses['loss_cls'].backward()
    assert head.fc.weight.grad is not None
    samples = head.predict(x, [ActionDataSample() for _ in range(2)])  # three views of each of two videos
    torch.testing.assert_close(samples[1].pred_score, head(x)[3:].softmax(1).mean(0))


@pytest.mark.parametrize('x', [torch.zeros(2, 8, 6, 6), torch.zeros(2, 4, 3, 6, 6), (torch.zeros(2, 8, 3, 6, 6),)])
def test_bad_input(x):
    with pytest.raises(ValueError, match=r'SpikeClsHead\(in_channels=8\) takes one feature map'):
        build()(x)


@pytest.mark.parametrize('classes', [None, 0, -1, 2.5])
def test_bad_number_of_classes(classes):
    with pytest.raises(ValueError, match=f'num_classes={classes}; at least 1'):
        MODELS.build(dict(type='SpikeClsHead', num_classes=classes, in_channels=8))


@pytest.mark.parametrize('shape', [(0, 8, 3, 6, 6), (2, 8, 0, 6, 6)])
def test_empty_input(shape):
    with pytest.raises(ValueError, match='SpikeClsHead got an empty input'):
        build()(torch.zeros(shape))


@pytest.mark.parametrize('label', [99, 5, -1])
def test_labels_that_are_no_class(label):
    from mmaction.structures import ActionDataSample

    labels = [ActionDataSample().set_gt_label(i) for i in (0, label)]
    with pytest.raises(ValueError, match=rf'labels \[{label}\] with num_classes=5; 0 to 4'):
        build().loss(torch.randn(2, 8, 3, 6, 6), labels)


def test_labels_that_are_scores():
    from mmaction.structures import ActionDataSample

    labels = [ActionDataSample().set_gt_label(torch.full((5,), 0.2)) for _ in range(2)]
    assert build().loss(torch.randn(2, 8, 3, 6, 6), labels)['loss_cls'].isfinite()
