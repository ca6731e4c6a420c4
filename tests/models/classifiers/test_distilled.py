import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope

import mmsvf  # noqa: F401
from mmsvf.registry import MODELS

TEACHER = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18, base_channels=4, stem_channels=4),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=5, in_channels=32),
)


def build(**kwargs):
    init_default_scope('mmpretrain')
    settings = dict(
        type='DistilledImageClassifier',
        teacher=TEACHER,
        backbone=dict(
            type='SpikeVideoFormer',
            arch=dict(embed_dims=(8, 8, 8, 8, 8), depths=(1, 1, 1, 1, 1)),
            time_steps=2,
            keep_time=True,
            output='tuple',
        ),
        head=dict(type='SpikeImageClsHead', num_classes=5, in_channels=8, distilled=True),
    )
    return MODELS.build({**settings, **kwargs})


def losses(model, images):
    from mmpretrain.structures import DataSample

    return model.loss(images, [DataSample().set_gt_label(i % 5) for i in range(len(images))])


@pytest.mark.parametrize('kind', ['hard', 'soft'])
def test_loss_is_shared_between_labels_and_teacher(kind):
    model = build(distillation=kind, alpha=0.3, temperature=2.0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.0  # RepConv's border reads the statistics: the same in both passes
    images = torch.randn(5, 3, 32, 32)
    result = losses(model, images)
    with torch.no_grad():
        spikes = model.head.pre_logits(model.extract_feat(images))
        teacher = model.teacher(images)
        own, distilled = model.head.fc(spikes).mean(0), model.head.fc_kd(spikes).mean(0)
    torch.testing.assert_close(result['loss'], 0.7 * F.cross_entropy(own, torch.arange(5)))
    if kind == 'hard':
        expected = F.cross_entropy(distilled, teacher.argmax(1))
    else:
        p, q = (teacher / 2).softmax(1), (distilled / 2).softmax(1)
        expected = (p * (p / q).log()).sum(1).mean() * 4
    torch.testing.assert_close(result['loss_kd'], 0.3 * expected)


def test_the_teacher_is_not_saved_not_trained_and_follows_to_another_type():
    model = build()
    model(torch.zeros(1, 3, 32, 32))
    assert not model._teacher, 'inference needs no teacher'
    model.init_weights()
    assert model._teacher, 'built before training starts'
    assert not any('teacher' in name for name in [*model.state_dict(), *dict(model.named_parameters())])
    before = {k: v.clone() for k, v in model.teacher.state_dict().items()}
    sum(losses(model.train(), torch.randn(5, 3, 32, 32)).values()).backward()
    assert not model.teacher.training
    assert all(torch.equal(v, before[k]) for k, v in model.teacher.state_dict().items())
    assert all(p.grad is None for p in model.teacher.parameters())
    assert next(model.double().teacher.parameters()).dtype == torch.float64


def test_bad_options():
    with pytest.raises(ValueError, match=r"distillation='medium'"):
        build(distillation='medium')
    with pytest.raises(ValueError, match=r'alpha=2'):
        build(alpha=2)
    plain = dict(type='SpikeImageClsHead', num_classes=5, in_channels=8)
    with pytest.raises(ValueError, match=r'head\.distilled=True'):
        losses(build(head=plain), torch.randn(5, 3, 32, 32))


def test_what_is_not_finite_has_no_class():
    model = build().eval()
    with pytest.raises(ValueError, match=r'samples \[0, 1\] of a batch of 2'):
        model.predict(torch.full((2, 3, 32, 32), float('nan')))
