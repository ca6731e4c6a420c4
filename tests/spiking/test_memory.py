import pytest
import torch

from mmsvf.spiking import MemoryRead, dot_attention, hamming_attention
from tests.awake import awake


def memory(channels=16, num_heads=4, score='hamming', **options):
    return awake(MemoryRead(channels, num_heads, score, **options))


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('score', ['hamming', 'dot'])
def test_starts_as_the_last_frame(score):
    module, x = MemoryRead(16, 4, score), torch.randn(4, 2, 16, 6, 5) * 4
    assert torch.equal(module(x), x[-1:])
    assert torch.equal(module.eval()(x), x[-1:])


def test_one_frame_passes_through():
    x = torch.randn(1, 2, 16, 6, 5)
    assert torch.equal(memory()(x), x)


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('score', ['hamming', 'dot'])
def test_is_cross_attention_from_the_last_frame_to_the_earlier_ones(score):
    module, x = memory(score=score).eval(), torch.randn(4, 2, 16, 6, 5) * 4
    spikes = module.lif(x)
    q, k, v = module.q(spikes[-1:]), module.k(spikes[:-1]), module.v(spikes[:-1])
    assert q.sum() > 0 and k.sum() > 0 and v.sum() > 0

    def tokens(s):  # B, M, (T N), D
        t, b, c, h, w = s.shape
        return s.view(t, b, 4, c // 4, h * w).permute(1, 2, 0, 4, 3).reshape(b, 4, t * h * w, c // 4)

    attend = hamming_attention if score == 'hamming' else dot_attention
    read = attend(*map(tokens, (q, k, v)), scale=module.read.scale, order='quadratic')
    read = read.permute(0, 1, 3, 2).reshape(2, 16, 6, 5)
    read = module.read.lif((read if module.read.norm is None else module.read.norm(read)).unsqueeze(0))
    torch.testing.assert_close(module(x), x[-1:] + module.proj(read))


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('score', ['hamming', 'dot'])
def test_every_gradient_is_there_and_every_frame_counts(score):
    module, x = memory(score=score), torch.randn(4, 2, 16, 6, 5) * 4
    x.requires_grad_()
    module(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
    assert (x.grad.abs().sum((1, 2, 3, 4)) > 0).all()


def test_the_first_step_moves_the_last_norm():
    module = memory()
    module.start_at_zero()
    module(torch.randn(4, 2, 16, 6, 5) * 4).square().sum().backward()
    assert module.proj.norm3.weight.grad.abs().sum() > 0


def test_no_tensor_grows_with_the_square_of_the_tokens():
    """Linear in time: from 8 to 16 frames the largest tensor doubles."""
    module = memory()

    def largest(frames):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            module(torch.randn(frames, 1, 16, 12, 12, requires_grad=True))
        return max(sizes), sum(sizes)

    (most8, all8), (most16, all16) = largest(8), largest(16)
    assert most16 <= 2.01 * most8 and all16 <= 2.2 * all8


def test_scale_norm_and_threshold_are_those_of_the_attention():
    """What Table 6 changes, with the authors' defaults of each score; a scale s fires as a threshold 1/s as high."""
    hamming, dot = MemoryRead(64).read, MemoryRead(64, score='dot').read
    assert (hamming.scale, hamming.lif.v_threshold, hamming.norm is None) == (1 / 128, 1.0, False)
    assert (dot.scale, dot.lif.v_threshold, dot.norm is None) == (0.125, 0.5, True)
    assert MemoryRead(64, scale='head').read.scale == 1 / 16
    scaled = memory(norm=False, scale=1 / 32).eval()
    merged = MemoryRead(16, 4, norm=False, scale=1.0, v_threshold=32.0).eval()
    merged.load_state_dict(scaled.state_dict())
    x = torch.randn(4, 2, 16, 6, 5) * 4
    assert torch.equal(scaled(x), merged(x)) and not torch.equal(scaled(x), x[-1:])


def test_at_its_reference_size_a_read_is_the_sum_and_elsewhere_a_mean():
    """Keys are the tokens of the earlier frames."""
    sums = memory().eval()
    means = MemoryRead(16, 4, reference_size=(4, 6, 5)).eval()
    means.load_state_dict(sums.state_dict())
    x = torch.randn(4, 2, 16, 6, 5) * 4
    assert torch.equal(means(x), sums(x))
    seen = []
    for module in (sums, means):
        module.read.norm.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        module(torch.cat([x, x[:3]]))
    assert seen[0].any() and torch.equal(seen[1], seen[0] / 2)
    with pytest.raises(ValueError, match=r'reference_size=\(1, 6, 5\).*T of a memory 2 or more'):
        MemoryRead(16, 4, reference_size=(1, 6, 5))


@pytest.mark.parametrize('shape', [(0, 2, 8, 4, 4), (3, 0, 8, 4, 4)])
def test_empty_clip(shape):
    with pytest.raises(ValueError, match=r'MemoryRead got an empty input'):
        MemoryRead(8)(torch.zeros(shape))


@pytest.mark.parametrize(
    'options',
    [dict(num_heads=0), dict(num_heads=-8), dict(num_heads=3), dict(neuron=None), dict(neuron='Rectifier')],
    ids=str,
)
def test_bad_options(options):
    with pytest.raises(
        ValueError,
        match=r'num_heads=(0|-8); at least 1|num_heads=3 does not divide|(neuron=None|Rectifier) cannot make',
    ):
        MemoryRead(8, **options)
