"""The ANN regressors of human pose: features of frames, joined by a GRU or by softmax attention."""

import pytest
import torch
from mmengine.config import Config

from mmsvf.analysis.models import build_without_memory
from mmsvf.models.backbones.frame_backbone import FrameBackbone
from mmsvf.models.necks.frame_fusion import FrameGRU, SpaceTimeTransformer, positions

from ...conftest import ROOT

RESNET = dict(type='mmpose.ResNet', depth=18)


def test_frames_go_through_on_their_own():
    backbone = FrameBackbone(RESNET).eval()
    x = torch.randn(2, 3, 4, 32, 32)
    (y,) = backbone(x)
    assert y.shape == (2, 512, 4, 1, 1)
    torch.testing.assert_close(backbone(x[:, :, 2:3])[0], y[:, :, 2:3])
    with pytest.raises(ValueError, match=r'takes a clip.*\(2, 3, 32, 32\)'):
        backbone(x[:, :, 0])


def test_gru_is_its_definition():
    """VIBE's: linear(relu(GRU)) added to the frame's mean feature; an earlier frame does not see a later one."""
    neck = FrameGRU(8, channels=6)
    x = torch.randn(2, 8, 4, 3, 3)
    (y,) = neck((x,))
    mean = x.mean((3, 4)).transpose(1, 2)
    torch.testing.assert_close(y[..., 0, 0].transpose(1, 2), mean + neck.linear(neck.gru(mean)[0].relu()))
    torch.testing.assert_close(neck((x[:, :, :2],))[0], y[:, :, :2])


def test_transformer_attends_to_all_tokens_and_knows_their_places():
    neck = SpaceTimeTransformer(8, channels=12, layers=2, num_heads=2).eval()
    x = torch.randn(1, 8, 3, 2, 2)
    (y,) = neck((x,))
    assert y.shape == (1, 12, 3, 2, 2)
    other = x.clone()
    other[:, :, 2, 1, 1] += 1
    assert ((neck((other,))[0] - y).abs().amax(1) > 0).all(), 'a token reaches all others'
    assert not torch.allclose(neck((x.flip(2),))[0].flip(2), y), 'time has a direction'
    table = positions((3, 2, 2), 14)
    assert table.shape == (12, 14) and len(table.unique(dim=0)) == 12


@pytest.mark.parametrize('neck', [FrameGRU(8, 6), SpaceTimeTransformer(8, 12, 1, 2)], ids=lambda n: type(n).__name__)
def test_every_gradient_and_bad_input(neck):
    neck((torch.randn(2, 8, 3, 2, 2),))[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in neck.parameters())
    for wrong in ((torch.zeros(2, 4, 3, 2, 2),), (torch.zeros(2, 8, 2, 2),)):
        with pytest.raises(ValueError, match=r'in_channels=8\) takes a tuple'):
            neck(wrong)


@pytest.mark.parametrize(('name', 'millions'), [('glot', 40.5), ('vibe', 41.7)])
def test_parameters(name, millions):
    """GLoT's as in Table 3; VIBE's regressor is not ours, so it has fewer than the paper's 48.3 M."""
    model = build_without_memory(Config.fromfile(ROOT / 'configs' / 'compared' / f'{name}_mmhpsd_t8.py'))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.003)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(num_heads=0), 'num_heads=0; at least 1'),
        (dict(num_heads=5), 'num_heads=5 does not divide the width 12'),
        (dict(mlp_ratio=0), 'mlp_ratio=0; at least 1'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        SpaceTimeTransformer(8, channels=12, **{'num_heads': 2, **options})
