"""Views go through the backbone some at a time, whatever the batch: the scores are those of one pass."""

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

import mmsvf  # noqa: F401


def build(**test_cfg):
    init_default_scope('mmaction')
    torch.manual_seed(0)
    arch = dict(embed_dims=(8, 8, 8, 8, 16), depths=(1, 1, 1, 1, 1))
    model = MODELS.build(dict(
        type='mmsvf.ClipRecognizer',
        backbone=dict(type='mmsvf.SpikeVideoFormer', arch=arch),
        cls_head=dict(type='mmsvf.SpikeClsHead', num_classes=5, in_channels=16, average_clips='prob'),
        data_preprocessor=dict(type='ActionDataPreprocessor', format_shape='NCTHW'),
        test_cfg=test_cfg,
    ))  # fmt: skip
    for module in model.modules():  # untouched, so small a model never fires
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(module.bias, 1.5)
    return model.eval()


@pytest.mark.parametrize('videos', [1, 3])
@pytest.mark.parametrize('views', [1, 4, 100])
def test_scores_are_those_of_one_pass(videos, views):
    from mmaction.structures import ActionDataSample

    clips = torch.randn(videos, 6, 3, 2, 32, 32)
    at_once, in_parts = build(), build(max_testing_views=views)
    seen = []
    in_parts.backbone.register_forward_hook(lambda module, inputs, out: seen.append(len(inputs[0])))
    scores = []
    for model in (at_once, in_parts):
        with torch.no_grad():
            samples = model.predict(clips, [ActionDataSample() for _ in range(videos)])
        scores.append(torch.stack([sample.pred_score for sample in samples]))
    torch.testing.assert_close(scores[0], scores[1])
    assert scores[0].shape == (videos, 5) and scores[0].std() > 0
    assert max(seen) <= views and sum(seen) == 6 * videos


def test_training_takes_one_view_a_video():
    from mmaction.structures import ActionDataSample

    model = build(max_testing_views=4).train()
    samples = [ActionDataSample().set_gt_label(i) for i in range(3)]
    assert model.loss(torch.randn(3, 1, 3, 2, 32, 32), samples)['loss_cls'].isfinite()


@pytest.mark.parametrize('shape', [(0, 2, 3, 2, 32, 32), (2, 0, 3, 2, 32, 32), (2, 2, 3, 0, 32, 32)])
def test_empty_input(shape):
    from mmaction.structures import ActionDataSample

    with pytest.raises(ValueError, match='ClipRecognizer got an empty input'):
        build(max_testing_views=2).predict(torch.zeros(shape), [ActionDataSample() for _ in range(shape[0])])


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_what_is_not_finite_has_no_class(value):
    """As a user's call of the whole model."""
    from mmaction.structures import ActionDataSample

    model, clips = build(), torch.randn(3, 2, 3, 2, 32, 32)
    clips[1, 1, 0, 0, 5, 5] = value
    data = dict(inputs=clips, data_samples=[ActionDataSample() for _ in range(3)])
    with pytest.raises(ValueError, match=r'samples \[1\] of a batch of 3.*NaN or infinite.*check_finite=False'):
        model(**data, mode='predict')
    model.check_finite = False
    with torch.no_grad():
        assert len(model(**data, mode='predict')) == 3
