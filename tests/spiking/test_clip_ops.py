"""The one-pass neurons: equal to the explicit steps in every layout and number of threads, and true torch operators."""

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import surrogate

from mmsvf.spiking import clip_ops, surrogates
from mmsvf.spiking.fusion import overwrite
from mmsvf.spiking.neuron import build_neuron

SPECS = [
    'official',
    'paper',
    dict(type='LIF', tau=3.0, v_reset=-0.5, detach_reset=False),
    dict(type='LIF', tau=1.5, v_reset=None, detach_reset=False, decay_input=False),
    dict(type='LIF', surrogate_function=dict(type='ATan', alpha=3.0)),
    'LearnableLIF',
    dict(type='LearnableLIF', strict=True, decay_input=False, v_reset=0.25, detach_reset=False),
    'IntegerLIF',
    dict(type='IntegerLIF', max_value=2, decay=0.7, v_threshold=0.8),
]
if hasattr(surrogate, 'Rect'):  # not in the classic spikingjelly
    SPECS.append(dict(type='LIF', detach_reset=False, surrogate_function=dict(type='Rect', alpha=0.5)))
# more neurons than a block holds and than start threads, not a multiple of either
SHAPE = (6, 3, 5, 67, 71)
ARGUMENTS = (True, 1.0, 0.0, True, False, surrogates.SIGMOID, 4.0)  # behind the leak


def results(forward, neuron, x):
    leaf = x.detach().requires_grad_()
    neuron.zero_grad()
    spikes = forward(leaf)
    (spikes * torch.arange(spikes.shape[2]).add(0.5).cos().view(-1, 1, 1)).sum().backward()
    return spikes.detach(), leaf.grad, [p.grad for p in neuron.parameters()]


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('threads', [1, 2])
@pytest.mark.parametrize('spec', SPECS, ids=str)
def test_equals_the_steps(spec, threads):
    """Spikes bit for bit; gradients to the rounding of an exponential."""
    x, neuron, before = torch.randn(SHAPE) * 2, build_neuron(spec), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        expected = results(lambda leaf: neuron.explicit_steps(leaf), neuron, x)
        found = results(neuron, neuron, x)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], expected[0]) and 0.02 < found[0].mean() < 2
    torch.testing.assert_close(found[1], expected[1], rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(found[2], expected[2]):  # a sum over 430,000 terms
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-2)


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('spec', ['official', 'IntegerLIF'])
def test_layouts(spec):
    """Channels-last clips keep their layout; others, strided, expanded and empty ones, too, are right."""
    neuron, x = build_neuron(spec), torch.randn(4, 2, 8, 6, 5) * 2
    expected = neuron(x)
    last = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (4, 2))
    assert torch.equal(neuron(last), expected) and neuron(last).stride() == last.stride()
    for other in (
        x.transpose(0, 1).contiguous().transpose(0, 1),
        torch.cat([x, x], -1)[..., :5],
        x[:, :1].expand(x.shape),
    ):
        spikes = neuron(other)
        steps = neuron.explicit_steps(other)
        assert torch.equal(spikes, steps)
        leaf, twin = other.detach().clone().requires_grad_(), other.detach().clone().requires_grad_()
        grad = torch.randn(5, 6, 8, 2, 4).permute(4, 3, 2, 1, 0)
        neuron(leaf).backward(grad)
        neuron.explicit_steps(twin).backward(grad)
        torch.testing.assert_close(leaf.grad, twin.grad, rtol=1e-5, atol=1e-6)
    assert neuron(torch.zeros(4, 0, 3)).shape == (4, 0, 3)


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('dtype', clip_ops.HALF, ids=str)
@pytest.mark.parametrize('spec', ['official', 'LearnableLIF', 'IntegerLIF'])
def test_half_precision(spec, dtype):
    """The spikes of a clip in half precision are those of the same clip in fp32: membranes are fp32 either way.

    One pass, explicit steps and single steps agree; gradients are of the clip's type.
    """
    neuron, half = build_neuron(spec), (torch.randn(5, 2, 3, 7, 9) * 2).to(dtype)
    spikes, grad, of_neuron = results(neuron, neuron, half.float())
    for forward in (neuron, lambda x: neuron.explicit_steps(x)):
        found = results(forward, neuron, half)
        assert found[0].dtype == found[1].dtype == dtype and torch.equal(found[0].float(), spikes)
        torch.testing.assert_close(found[1].float(), grad, rtol=2e-2, atol=1e-2)
        for mine, theirs in zip(found[2], of_neuron):
            torch.testing.assert_close(mine, theirs, rtol=2e-2, atol=0.1)
    neuron.step_mode = 's'
    with torch.no_grad():
        assert torch.equal(torch.stack([neuron(x) for x in half]).float(), spikes)


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('spec', ['official', 'paper', 'IntegerLIF'])
def test_in_place_without_a_gradient_only(spec):
    neuron, x = build_neuron(spec), torch.randn(SHAPE) * 2
    expected = neuron(x)
    overwrite(neuron)
    assert torch.equal(neuron(x.clone().requires_grad_()), expected), 'with a gradient the input is kept'
    with torch.no_grad():
        for layout in (
            x.clone(),
            x.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, SHAPE[:2]),
        ):
            spikes = neuron(layout)
            assert torch.equal(spikes, expected) and spikes.data_ptr() == layout.data_ptr()
        gaps = torch.cat([x, x], -1)[..., : SHAPE[-1]]
        assert neuron(gaps) is gaps and torch.equal(gaps, expected)


@pytest.mark.usefixtures('device')
def test_they_are_torch_operators():
    """torch's own checks: schema, fake tensors, gradient, tracing."""
    x = (torch.randn(3, 2, 4, 5, 5) * 2).requires_grad_()
    torch.library.opcheck(clip_ops.lif, (x, torch.tensor(0.5), *ARGUMENTS))
    torch.library.opcheck(clip_ops.lif, (x, torch.tensor(0.4, requires_grad=True), *ARGUMENTS))
    torch.library.opcheck(clip_ops.lif_, (x.detach().clone(), torch.tensor(0.5), *ARGUMENTS))
    torch.library.opcheck(clip_ops.integer_lif, (x, 0.25, 1.0, 4))
    torch.library.opcheck(clip_ops.integer_lif_, (x.detach().clone(), 0.25, 1.0, 4))


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('spec', ['official', 'paper'])
def test_extreme_inputs(spec):
    """Huge, tiny and non-finite inputs give what the steps give, and a gradient where they give one; NaN is silent."""
    x = torch.tensor([1e30, -1e30, 1e-40, 0.0, -0.0, 2.0, float('inf'), float('nan')]).repeat(5, 1)
    neuron = build_neuron(spec)
    spikes = neuron(x)
    for clip in (x, x.double()):
        for found in (neuron(clip), neuron.explicit_steps(clip), neuron.advance(clip, None)[0]):
            assert torch.equal(found.float(), spikes)
    assert not spikes[:, -1].any()
    leaf = x[:, :6].clone().requires_grad_()
    neuron(leaf).sum().backward()
    assert leaf.grad.isfinite().all()


@pytest.mark.usefixtures('device')
def test_what_has_no_kernel_takes_the_steps(monkeypatch):
    """Another surrogate, another type, stored membranes, no numba: the same spikes."""
    x = torch.randn(5, 2, 7) * 2
    expected = build_neuron('official')(x)

    def refuse(*_):
        raise AssertionError('the operator was called')

    monkeypatch.setattr(clip_ops, 'lif', refuse)
    with pytest.raises(AssertionError):
        build_neuron('official')(x)
    for spec, clip in (
        (dict(type='LIF', surrogate_function=dict(type='SoftSign')), x.clone().requires_grad_()),
        (dict(type='LIF', store_v_seq=True), x),
        ('official', x.double()),
    ):
        assert torch.equal(build_neuron(spec)(clip).float(), expected)
    monkeypatch.setattr(clip_ops, 'NUMBA', False)
    monkeypatch.setattr(clip_ops, 'TRITON', False)
    assert torch.equal(build_neuron('official')(x), expected)


def test_exponential():
    """Relative error of exp(-x) over its whole range."""
    from mmsvf.spiking.numba_kernels import _exp_minus

    x = np.linspace(0, 87, 5001, dtype=np.float32)
    found = np.array([_exp_minus(value) for value in x], np.float64)
    assert np.abs(found / np.exp(-x.astype(np.float64)) - 1).max() < 4e-7
    assert _exp_minus(np.float32(1e9)) < 1e-37
