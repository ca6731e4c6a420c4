import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData

import mmsvf  # noqa: F401

NORM = dict(mean=[10.0, 20.0, 30.0], std=[1.0, 2.0, 4.0], bgr_to_rgb=True)


def build(kind='mmsvf.ClipSegDataPreProcessor', **kwargs):
    init_default_scope('mmseg')
    return MODELS.build(dict(type=kind, **NORM, **kwargs))


def clip(frames, height=6, width=5):
    """Values that name channel and frame, 100 * channel + frame, as the data sets load them: the last frame first."""
    values = 100 * torch.arange(3).view(1, 3, 1, 1) + torch.arange(frames).flip(0).view(-1, 1, 1, 1)
    return values.expand(frames, 3, height, width).flatten(0, 1).to(torch.uint8)


@pytest.mark.parametrize('frames', [3, 4])
def test_colours_turn_and_frames_do_not(frames):
    x = build()(dict(inputs=[clip(frames)]))['inputs']
    as_clip = clip(frames).unflatten(0, (frames, 3)).flip(0).transpose(0, 1)
    assert build()(dict(inputs=[as_clip]))['inputs'].equal(x)
    assert x.shape == (1, 3, frames, 6, 5)
    for t in range(frames):
        for c, (mean, std) in enumerate(zip(NORM['mean'], NORM['std'])):
            assert x[0, c, t].unique().item() == pytest.approx((100 * (2 - c) + t - mean) / std)


def test_the_stock_preprocessor_cannot():
    """It leaves the colours of more than three channels, and has a mean for three alone."""
    init_default_scope('mmseg')
    stock = MODELS.build(dict(type='SegDataPreProcessor', bgr_to_rgb=True))
    assert stock(dict(inputs=[clip(4)]))['inputs'].equal(clip(4)[None].float())
    with pytest.raises(RuntimeError, match='must match the size'):
        build('SegDataPreProcessor')(dict(inputs=[clip(4)]))


@pytest.mark.parametrize('training', [True, False])
def test_padding(training):
    from mmseg.structures import SegDataSample

    sample = SegDataSample(metainfo=dict(img_shape=(6, 5)))
    sample.gt_sem_seg = PixelData(data=torch.zeros(1, 6, 5, dtype=torch.long))
    model = build(size=(8, 8), pad_val=0, seg_pad_val=255, test_cfg=dict(size_divisor=8))
    result = model(dict(inputs=[clip(4)], data_samples=[sample]), training)
    assert result['inputs'].shape == (1, 3, 4, 8, 8)
    assert (result['inputs'][..., 6:, :] == 0).all() and (result['inputs'][..., :6, :5] != 0).all()
    if training:
        assert (result['data_samples'][0].gt_sem_seg.data[0, 6:] == 255).all()


def test_an_image_is_as_in_mmsegmentation():
    image = torch.randint(0, 255, (3, 6, 5), dtype=torch.uint8)
    ours, stock = build(), build('SegDataPreProcessor')
    torch.testing.assert_close(ours(dict(inputs=[image]))['inputs'], stock(dict(inputs=[image]))['inputs'])


def test_bad_input():
    with pytest.raises(ValueError, match=r'clips of \[4, 1\] frames in one batch'):
        build()(dict(inputs=[clip(4), clip(1)]))
    with pytest.raises(
        ValueError, match=r'clips of T frames as \(3 T, H, W\) or \(3, T, H, W\), expected; got \[\(4, 6, 5\)\]'
    ):
        build()(dict(inputs=[torch.zeros(4, 6, 5)]))
