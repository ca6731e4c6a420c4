import pytest
import torch
from torch import nn

from mmsvf.spiking import Downsample, RepConv, SpikeConv, unroll


@pytest.mark.usefixtures('device')
def test_repconv_is_one_3x3_convolution():
    """In evaluation the padded BatchNorm makes the fold exact, borders included."""
    conv = RepConv(4, 6).double().eval()
    for norm in (conv.norm1, conv.norm2, conv.norm3):
        nn.init.uniform_(norm.running_mean, -1, 1)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.uniform_(norm.bias, -1, 1)
    # read the kernel off impulses, on a canvas large enough to keep clear of the border
    offset = conv(torch.zeros(1, 1, 4, 5, 5, dtype=torch.float64))[0, 0]
    impulses = torch.zeros(1, 4, 4, 5, 5, dtype=torch.float64)
    impulses[0, range(4), range(4), 2, 2] = 1
    kernel = (conv(impulses)[0] - offset)[:, :, 1:4, 1:4].flip(2, 3).transpose(0, 1)
    x = torch.randn(2, 3, 4, 5, 7, dtype=torch.float64)
    expected = nn.functional.conv2d(x.flatten(0, 1), kernel, offset[:, 2, 2], padding=1)
    torch.testing.assert_close(conv(x).flatten(0, 1), expected)


def test_repconv_border_follows_running_statistics_without_gradient():
    """In training too, the border is what the running statistics of the first BatchNorm make of zero."""
    conv = RepConv(4, 4)
    conv(torch.randn(2, 2, 4, 5, 5))
    norm = conv.norm1
    value = norm.bias - norm.running_mean * norm.weight / (norm.running_var + norm.eps).sqrt()
    border = conv.zero_border(5, 6)
    assert border.shape == (1, 4, 7, 8) and not border.requires_grad
    torch.testing.assert_close(border[0, :, 0], value.detach()[:, None].expand(4, 8))
    assert border[:, :, 1:-1, 1:-1].abs().sum() == 0

    x = torch.randn(2, 2, 4, 5, 5)
    images = norm(conv.pointwise1(x.flatten(0, 1)))
    padded = conv.zero_border(5, 5).repeat(4, 1, 1, 1)
    padded[:, :, 1:-1, 1:-1] = images
    norm.eval()  # the statistics of the line above, as the padding of the authors' code reads them
    by_hand = conv.depthwise(padded)
    direct = nn.functional.conv2d(images, conv.depthwise.weight, padding=1, groups=4) + conv.depthwise(
        conv.zero_border(5, 5)
    )
    torch.testing.assert_close(direct, by_hand)


def test_first_downsample_sees_real_values():
    first, later = Downsample(3, 8, 7, 2, None), Downsample(3, 8, 3, 2, 'official')
    x = torch.randn(2, 2, 3, 16, 16) * 0.1  # never reaches the threshold
    assert first(x).shape == later(x).shape == (2, 2, 8, 8, 8)
    assert not torch.allclose(first(x)[:, :, :, 1:, 1:].std((3, 4)), torch.zeros(()))
    assert torch.allclose(later(x).std((0, 1, 3, 4)), torch.zeros(8), atol=1e-6)


@pytest.mark.parametrize('max_value', [1, 4])
@pytest.mark.parametrize('bias', [True, False])
def test_integer_spikes_as_binary_sub_steps_give_the_same(max_value, bias):
    conv = nn.Conv2d(6, 5, 3, stride=2, padding=1, bias=bias)
    layer = SpikeConv(conv, nn.BatchNorm2d(5), dict(type='IntegerLIF', max_value=max_value)).eval()
    seen = []
    conv.register_forward_hook(lambda m, i, o: seen.append(i[0]))
    x = torch.randn(3, 2, 6, 9, 9) * 3
    integers = layer(x)
    assert seen[0].unique().tolist() == list(range(max_value + 1))
    assert layer.lif(x).sum() > 0
    torch.testing.assert_close(unroll(layer)(x), integers, rtol=1e-5, atol=1e-5)
    assert len(seen) == 1, 'the sub-steps went through the convolution as integers'
    assert unroll(layer, False)(x).equal(integers)
