import math

import pytest
import torch
from spikingjelly.activation_based import functional
from spikingjelly.activation_based import neuron as sj

from mmsvf.spiking.neuron import (
    LIF,
    IntegerLIF,
    LearnableLIF,
    build_neuron,
    sum_sub_steps,
    unroll_integer_spikes,
)

SPECS = [
    'official',
    'paper',
    dict(type='LIF', v_reset=None),
    dict(type='LIF', decay_input=False),
    'IF',
    dict(type='LIF', tau=3.0, v_reset=-0.5, detach_reset=False),
    'LearnableLIF',
    dict(type='LearnableLIF', strict=True, v_reset=None),
    'IntegerLIF',
    dict(type='IntegerLIF', max_value=1),
]


def clip(steps=6):
    return torch.randn(steps, 2, 3, 4) * 2


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('spec', SPECS, ids=str)
def test_a_clip_starts_from_rest_and_leaves_nothing(spec):
    neuron, x = build_neuron(spec), clip()
    first = neuron(x)
    assert isinstance(neuron, sj.BaseNode)
    assert torch.equal(first, neuron(x))
    assert torch.equal(first, neuron.eval()(x))  # spikingjelly has another path for evaluation
    assert not any(isinstance(memory, torch.Tensor) for memory in neuron._memories.values())
    assert first.unique().tolist() == list(range(int(first.max()) + 1))


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('spec', SPECS, ids=str)
def test_step_by_step_equals_all_at_once(spec):
    neuron, x = build_neuron(spec), clip()
    at_once = neuron(x)
    neuron.step_mode = 's'
    functional.reset_net(neuron)
    assert torch.equal(torch.stack([neuron(step) for step in x]), at_once)


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('spec', SPECS[:7], ids=str)
def test_kernel_equals_explicit_loop_with_gradient(spec):
    neuron, x = build_neuron(spec), clip()
    grads = []
    for forward in (neuron, lambda x: neuron.explicit_steps(x)):
        leaf = x.clone().requires_grad_()
        spikes = forward(leaf)
        (spikes * torch.arange(spikes.numel()).view_as(spikes).sin()).sum().backward()
        grads.append((spikes, leaf.grad))
    assert torch.equal(grads[0][0], grads[1][0])
    torch.testing.assert_close(grads[0][1], grads[1][1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    'change',
    [lambda x: x[:1], lambda x: x.transpose(0, 1), lambda x: x.double(), lambda x: x.to('meta')],
    ids=['smaller', 'another shape', 'another type', 'another device'],
)
@pytest.mark.parametrize('spec', ['official', 'LearnableLIF', 'IntegerLIF'])
def test_a_membrane_of_another_step_is_an_error(spec, change):
    neuron, x = build_neuron({'type': spec, 'step_mode': 's'}), clip(1)[0]
    neuron(x)
    with pytest.raises(ValueError, match=r'a step .* but the last step left .*reset_net'):
        neuron(change(x))
    neuron(x)
    functional.reset_net(neuron)
    neuron(change(x))


def in_a_level(f, x):
    with torch.autograd.forward_ad.dual_level():
        f(torch.autograd.forward_ad.make_dual(x, x))


FORWARD_MODE = {
    'jvp': lambda f, x: torch.func.jvp(f, (x,), (x,)),
    'jacfwd': lambda f, x: torch.func.jacfwd(f)(x),
    'hessian': lambda f, x: torch.func.hessian(lambda y: f(y).sum())(x),
    'forward_ad': in_a_level,
}


@pytest.mark.parametrize('mode', FORWARD_MODE)
@pytest.mark.parametrize(
    'options', [{}, dict(store_v_seq=True), dict(step_mode='s')], ids=['kernel', 'explicit steps', 'single step']
)
@pytest.mark.parametrize('spec', ['LIF', 'paper', 'LearnableLIF', 'IntegerLIF'])
def test_forward_mode_is_refused(spec, options, mode):
    """It gave zero, or torch's own advice for the author of a function."""
    neuron, x = build_neuron({'type': spec, **options}), clip(2)
    with pytest.raises(NotImplementedError, match='in backward mode alone'):
        FORWARD_MODE[mode](neuron, x)
    assert build_neuron(spec)(x).shape == x.shape, 'outside of it nothing has changed'


def test_official_closed_form():
    """h = (v + x) / 2, a spike at h >= 1, reset to 0: at T = 1 a step at x >= 2 (protocol of the code)."""
    neuron = build_neuron('official')
    assert neuron(torch.tensor([[1.999, 2.0]])).tolist() == [[0.0, 1.0]]
    # below threshold the membrane is a geometric sum: 1.2 * (1 - 2^-t) reaches 1 at t = 3
    assert neuron(torch.full((7, 1), 1.2)).flatten().tolist() == [0, 0, 1, 0, 0, 1, 0]


def test_paper_closed_form():
    """h = v / 2 + x, a spike at h > 1, minus the threshold."""
    neuron = build_neuron('paper')
    assert neuron(torch.tensor([[1.0, 1.001]])).tolist() == [[0.0, 1.0]]
    # 0.75, then 1.125 fires and leaves 0.125, 0.8125, 1.15625 fires
    assert neuron(torch.full((4, 1), 0.75)).flatten().tolist() == [0, 1, 0, 1]


def test_reset_is_detached_in_the_gradient():
    x = torch.full((2, 1), 1.9, requires_grad=True)
    LIF(detach_reset=True)(x)[1].sum().backward()
    x2 = torch.full((2, 1), 1.9, requires_grad=True)
    LIF(detach_reset=False)(x2)[1].sum().backward()
    sigmoid = torch.sigmoid(torch.tensor(4 * (1.425 - 1)))
    slope = 4 * sigmoid * (1 - sigmoid)
    torch.testing.assert_close(x.grad.flatten(), torch.stack([slope / 4, slope / 2]))
    assert x2.grad[0] != x.grad[0]


def test_learnable_leak_gets_a_gradient():
    for strict in (False, True):
        neuron = LearnableLIF(tau=2.0, strict=strict)
        neuron(clip()).sum().backward()
        assert neuron.w.grad is not None and neuron.w.grad != 0


def test_monitors_see_the_membrane():
    neuron, x = LIF(store_v_seq=True), clip()
    neuron(x)
    assert neuron.v_seq.shape == x.shape
    strict = LIF(strict=True, store_v_seq=True)
    strict(x)
    torch.testing.assert_close(strict.v_seq, neuron.v_seq)  # no membrane of this clip meets the threshold exactly


@pytest.mark.parametrize('max_value', [1, 2, 4])
def test_integer_lif(max_value):
    neuron = IntegerLIF(max_value=max_value)
    x = torch.linspace(-2, max_value + 2, 41, requires_grad=True)
    spikes = neuron(x.unsqueeze(0))
    assert spikes.unique().tolist() == list(range(max_value + 1))
    spikes.sum().backward()
    assert torch.equal(x.grad, ((x >= 0) & (x <= max_value)).float())


def test_integer_lif_dynamics():
    """u_t = (u_{t-1} - s_{t-1}) / 4 + x_t, fired round(u)."""
    assert IntegerLIF(4)(torch.tensor([[1.4], [0.5], [9.0]])).flatten().tolist() == [1, 1, 4]


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('max_value', [1, 4])
def test_unrolled_integers_give_identical_sums(max_value):
    spikes = IntegerLIF(max_value)(torch.randn(3, 2, 8, 5, 5) * 3)
    unrolled = unroll_integer_spikes(spikes, max_value)
    assert unrolled.shape[0] == 3 * max_value and set(unrolled.unique().tolist()) <= {0.0, 1.0}
    conv = torch.nn.Conv2d(8, 6, 3, bias=False).double()
    once = conv(spikes.double().flatten(0, 1))
    sub_steps = conv(unrolled.double().flatten(0, 1)).unflatten(0, (3 * max_value, 2))
    torch.testing.assert_close(sum_sub_steps(sub_steps, max_value).flatten(0, 1), once)
    assert torch.equal(sum_sub_steps(unrolled, max_value), spikes)
    with pytest.raises(ValueError, match=r'0, 1, \.\.\., '):
        unroll_integer_spikes(spikes + 0.5, max_value)


def test_surrogate_by_name():
    neuron = build_neuron(dict(type='LIF', surrogate_function=dict(type='ATan', alpha=2.0)))
    assert type(neuron.surrogate_function).__name__ == 'ATan'


def test_surrogates_differ_in_their_gradient_alone():
    """Without a gradient the one pass over memory serves them all; with one each has its own."""
    x = clip()
    sigmoid, arctan = build_neuron('IF'), build_neuron(dict(type='IF', surrogate_function=dict(type='ATan')))
    steps = arctan.explicit_steps(x)
    assert torch.equal(arctan(x), steps) and torch.equal(sigmoid(x), steps) and steps.any()
    grads = []
    for neuron in (sigmoid, arctan):
        y = x.clone().requires_grad_()
        spikes = neuron(y)
        assert torch.equal(spikes, steps)
        (spikes * torch.arange(x.numel()).view(x.shape)).sum().backward()
        grads.append(y.grad)
    assert not torch.allclose(*grads)


def test_integrate_and_fire_adds_up():
    x = torch.full((5, 1, 1), 0.4)
    assert build_neuron('IF')(x).flatten().tolist() == [0, 0, 1, 0, 0]


def test_no_neuron_passes_values():
    x = clip()
    assert torch.equal(build_neuron(None)(x), x)


@pytest.mark.parametrize(
    'spec, message',
    [
        ('offical', r"neuron='offical'; choose .*official"),
        (dict(type='LIF', treshold=1.0), r"no option 'treshold'; did you mean 'v_threshold'"),
        (dict(type='LIF', tau=1.0), r'tau=1.0.*above 1'),
        (dict(tau='three'), r"tau='three': the membrane time constant is a number above 1"),
        (dict(type='LIF', v_threshold='high'), r"v_threshold='high': the firing threshold is a number above 0"),
        (dict(type='LIF', v_reset='zero'), r"v_reset='zero': a number, or None"),
        (dict(type='IntegerLIF', max_value='four'), r"max_value='four': an integer"),
        (dict(type='LIF', v_threshold=0.0), r'v_threshold=0.0.*above 0'),
        (dict(type='LIF', v_threshold=math.inf), r'v_threshold=inf.*above 0'),
        (dict(type='LearnableLIF', v_threshold=math.nan), r'v_threshold=nan.*above 0'),
        (dict(type='IntegerLIF', v_threshold=math.inf), r'v_threshold=inf.*above 0'),
        (dict(type='LIF', v_reset=math.nan), r'v_reset=nan: a number, or None'),
        (dict(type='LearnableLIF', v_reset=-math.inf), r'v_reset=-inf: a number, or None'),
        (dict(type='IntegerLIF', max_value=math.nan), r'max_value=nan'),
        (dict(type='IntegerLIF', max_value=0), r'max_value=0.*at least 1'),
        (dict(type='IntegerLIF', decay=2), r'decay=2'),
        (dict(type='LIF', surrogate_function=dict(type='Atan')), r"unknown surrogate type='Atan'.*ATan"),
    ],
    ids=str,
)
def test_bad_input(spec, message):
    with pytest.raises(ValueError, match=message):
        build_neuron(spec)


def test_the_rectifier_neither_fires_nor_remembers():
    x = clip()
    assert torch.equal(build_neuron('Rectifier', v_threshold=0.5)(x), x.clamp(min=0))
