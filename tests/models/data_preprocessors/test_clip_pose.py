import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

import mmsvf  # noqa: F401


def build(**kwargs):
    init_default_scope('mmpose')
    return MODELS.build(dict(type='mmsvf.ClipPoseDataPreprocessor', **kwargs))


def test_clips_and_pictures_become_a_batch():
    clips = torch.randint(0, 256, (2, 3, 4, 8, 8), dtype=torch.uint8)
    for given in (clips, list(clips), list(clips[:, :, 0])):
        batch = build(scale=1 / 255)(dict(inputs=given))['inputs']
        expected = torch.stack(list(given)).float() * (1 / 255)
        assert torch.equal(batch, expected), 'bit for bit'


def test_clips_of_several_lengths_are_not_filled_up():
    with pytest.raises(ValueError, match=r'a batch of shapes \[\(3, 4, 8, 8\), \(3, 5, 8, 8\)\]'):
        build()(dict(inputs=[torch.zeros(3, 4, 8, 8), torch.zeros(3, 5, 8, 8)]))


def test_a_picture_is_nothing_for_a_model_of_events():
    from mmpose.structures import PoseDataSample

    picture, events = torch.full((3, 8, 8), 200, dtype=torch.uint8), torch.ones(3, 4, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r'values up to 200 for a model of events.*tools/track_pose\.py'):
        build(scale=1.0)(dict(inputs=[picture], data_samples=[PoseDataSample()]))
    for inputs, sample in ((events, PoseDataSample()), (picture, PoseDataSample(metainfo=dict(modality='frames')))):
        assert build(scale=1.0)(dict(inputs=[inputs], data_samples=[sample]))['inputs'].max() == inputs.max()
