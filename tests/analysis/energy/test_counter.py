"""Counts against counts by hand, on toy networks."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmsvf.analysis.energy import OperationCounter
from mmsvf.analysis.energy.signals import look
from mmsvf.spiking import IntegerLIF, SpikeAttention


def spikes(*shape, rate=0.3, seed=0):
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


def count(model, *inputs, **kwargs):
    with torch.no_grad(), OperationCounter(model, **kwargs) as counter:
        model(*inputs)
    return counter.layers


@pytest.mark.parametrize('x, kind, rate', [
    (torch.tensor([0.0, 1, 1, 0]), 'binary', 0.5),
    (torch.zeros(4), 'binary', 0.0),
    (torch.ones(4), 'binary', 1.0),
    (torch.tensor([0.0, 3, 1, 0]), 'integer', 1.0),
    (torch.tensor([-1.0, 1, 1, -1]), 'sign', 1.0),
    (-torch.ones(4), 'sign', 1.0),  # 2Q - 1 of silent queries
    (torch.tensor([-1.0, 0, 1, -1]), 'signed', 1.0),
    (torch.tensor([0.0, 200, 17, 3]), 'signed', 1.0),
    (torch.tensor([0.0, 0.5, 1, 1]), 'real', 1.0),
    (torch.cat([torch.zeros(100), torch.tensor([0.5, 0.5])]), 'real', 1.0),
    (torch.cat([torch.zeros(100), torch.tensor([float('inf')])]), 'real', 1.0),
    (torch.cat([torch.zeros(100), torch.tensor([float('nan')])]), 'real', 1.0),
    (torch.tensor([True, False]), 'binary', 0.5),
    (torch.empty(0), 'real', 1.0),
])  # fmt: skip
def test_signals_are_looked_at(x, kind, rate):
    signal = look(x)
    assert (signal.kind, signal.rate) == (kind, pytest.approx(rate))


def test_rates_by_time_step():
    x = torch.cat([spikes(2, 3, 4, 4, rate=rate) for rate in (0.0, 0.4, 1.0)])
    signal = look(x, time_steps=3)
    assert signal.rates == pytest.approx([x[2 * t : 2 * t + 2].mean().item() for t in range(3)])
    assert look(x, time_steps=4).rates is None


@pytest.mark.parametrize('layer, shape, macs', [
    (nn.Conv2d(6, 8, 3, 2, 1), (2, 6, 9, 9), 2 * 25 * 8 * 6 * 9),
    (nn.Conv2d(6, 6, 7, 1, 3, groups=6), (2, 6, 9, 9), 2 * 81 * 6 * 49),
    (nn.Conv2d(6, 8, 1, groups=2), (2, 6, 9, 9), 2 * 81 * 8 * 3),
    (nn.Conv3d(3, 4, (2, 3, 3)), (1, 3, 4, 5, 5), 3 * 3 * 3 * 4 * 3 * 18),
    (nn.ConvTranspose2d(3, 4, 2, 2), (1, 3, 5, 5), 25 * 3 * 4 * 4),
    (nn.Conv1d(3, 4, 3), (2, 3, 9), 2 * 7 * 4 * 9),
    (nn.Linear(6, 8), (5, 7, 6), 5 * 7 * 6 * 8),
    (nn.Linear(6, 8, bias=False), (5, 6), 5 * 6 * 8),
])  # fmt: skip
def test_layers_with_weights(layer, shape, macs):
    """Spikes are charged as they fire, real input is not."""
    model = nn.Sequential(layer)
    x = spikes(*shape)
    (found,) = count(model, x)
    assert (found.name, found.macs, found.signal) == ('0', macs, 'binary')
    assert found.parameters == sum(p.numel() for p in layer.parameters())
    assert found.rate == pytest.approx(x.mean().item()) and found.additions == pytest.approx(macs * x.mean().item())
    (found,) = count(model, torch.randn(shape))
    assert (found.macs, found.signal, found.additions, found.rate) == (macs, 'real', None, None)


def test_integer_spikes():
    model = nn.Sequential(IntegerLIF(max_value=4), nn.Linear(6, 8))
    x = 3 * torch.rand(4, 5, 6)
    (found,) = count(model, x)
    fired = model[0](x)
    assert found.signal == 'integer' and fired.max() > 1
    assert found.additions == pytest.approx(fired.sum().item() * 8), 'a spike of n is n additions a synapse'


class Products(nn.Module):
    def forward(self, a, b, c):
        return torch.bmm(torch.bmm(a, b), c)


def test_products_of_activations():
    a, b = spikes(2, 5, 6), spikes(2, 6, 7, seed=1)
    real = torch.randn(2, 7, 3)
    one, two = count(Products(), a, b, real)
    assert (one.name, two.name) == ('[1]', '[2]')
    assert one.additions == torch.bmm(a, b).sum().item(), 'where both spike'
    assert one.macs == 2 * 5 * 6 * 7 and two.macs == 2 * 5 * 7 * 3
    assert two.signal == 'integer' and two.additions == pytest.approx(torch.bmm(a, b).sum().item() * 3)
    one, two = count(Products(), 2 * a - 1, b, real)
    assert one.signal == 'binary' and one.additions == pytest.approx(one.macs * b.mean().item())
    one, two = count(Products(), torch.randn(2, 5, 6), torch.randn(2, 6, 7), real)
    assert one.additions is None and two.additions is None


def test_softmax_attention_multiplies():
    class Attention(nn.Module):
        def forward(self, q):
            return F.scaled_dot_product_attention(q, q, q)

    layers = count(Attention(), spikes(2, 4, 10, 8))
    assert sum(layer.macs for layer in layers) == 2 * 2 * 4 * 10 * 10 * 8
    assert all(layer.additions is None for layer in layers)


@pytest.mark.parametrize('score', ['hamming', 'dot'])
@pytest.mark.parametrize('design, reads', [
    ('joint', 1), ('causal', 1), ('neuron', 1), ('spatial', 1), ('hierarchical', 2), ('factorized', 2), ('block', 1),
])  # fmt: skip
def test_attention_designs(score, design, reads):
    """Eq. 24 to 26 (D22): 2 T N D^2 / M a read; projections are 4, 8 or 7 D^2 a token, and more as RepConvs.

    A mean over the keys is a sum with another factor: nothing more is counted.
    """
    torch.manual_seed(0)
    t, b, c, h, w, heads = 8, 2, 16, 4, 4, 8
    attention = SpikeAttention(c, heads, score, design, reference_size=(4, 2, 6)).eval()
    for module in attention.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.bias, 0.5)
            nn.init.constant_(module.weight, 2.0)
    layers = count(attention, 2 * torch.randn(t, b, c, h, w), time_steps=t)
    products = [layer for layer in layers if '[' in layer.name]
    assert len(products) == 2 * reads
    tokens = t * b * h * w
    assert sum(layer.macs for layer in products) == reads * 2 * tokens * c * (c // heads)
    assert all(layer.additions is not None for layer in products), 'no multiplication in the attention'
    # key-value products are gated by spikes; the query adds or subtracts every time, or where it spikes
    first, second = products[:2]
    assert first.signal == 'binary' and 0 < first.additions < first.macs
    assert second.signal == ('sign' if score == 'hamming' else 'binary')
    if score == 'hamming':
        assert second.additions == second.macs
    squares = {'hierarchical': 8, 'factorized': 7}.get(design, 4)
    # of a RepConv C -> D: C^2 + 9 C + C D instead of C D
    pointwise = sum(layer.macs for layer in layers if layer.name.endswith('pointwise2'))
    assert pointwise == squares * tokens * c * c


def test_functional_calls_and_several_passes_belong_to_their_layer():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = nn.Linear(6, 6, bias=False)

        def forward(self, x):
            return self.part(F.linear(x, self.part.weight))

    x = spikes(5, 6)
    (layer,) = count(Twice(), x)
    assert layer.name == 'part' and layer.macs == 2 * 5 * 36 and layer.signal == 'real'
    assert [o.signal.kind for o in layer.operations] == ['binary', 'real']


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.forward = function


N, T, C = 2, 5, 8
ATTENTION = N * T * (3 * C * C + 2 * T * C + C * C)  # projections, scores and sums, projection


@pytest.mark.parametrize('model, shapes, macs', [
    (nn.MultiheadAttention(C, 2, batch_first=True), [(N, T, C)] * 3, ATTENTION),
    (nn.TransformerEncoderLayer(C, 2, 16, batch_first=True), [(N, T, C)], ATTENTION + N * T * 2 * 16 * C),
    (nn.LSTM(C, 3), [(T, N, C)], N * T * 4 * 3 * (C + 3)),
    (nn.LSTM(C, 3, num_layers=2, bidirectional=True), [(T, N, C)], N * T * 2 * 4 * 3 * (C + 3 + 6 + 3)),
    (nn.GRU(C, 3), [(T, N, C)], N * T * 3 * 3 * (C + 3)),
    (nn.Bilinear(3, C, 4), [(N, 3), (N, C)], N * 4 * (3 * C + C)),
    (Calls(torch.matmul), [(4, C), (C,)], 4 * C),
    (Calls(torch.matmul), [(C,), (C,)], C),
    (Calls(torch.addmv), [(4,), (4, C), (C,)], 4 * C),
])  # fmt: skip
def test_ordinary_modules_are_whole(model, shapes, macs, recwarn):
    """In evaluation without gradients, where torch has fast paths; spikes go through softmax and gates."""
    layers = count(model.eval(), *(spikes(*shape) for shape in shapes))
    assert sum(layer.macs for layer in layers) == macs and not recwarn.list
    if isinstance(model, nn.RNNBase):
        assert [(layer.name, layer.additions) for layer in layers] == [('', None)]
    assert torch.backends.mha.get_fastpath_enabled()


def test_what_multiplies_without_a_formula_is_named():
    model = nn.Sequential(Calls(torch.fft.rfft), Calls(lambda x: torch.cdist(x.real, x.real)))
    counter = OperationCounter(model)
    message = r"multiply and are not counted: \['aten\._cdist_forward', 'aten\._fft_r2c'\]"
    with pytest.warns(UserWarning, match=message), torch.no_grad(), counter:
        model(torch.randn(4, 8))
    assert counter.not_counted == {'aten._cdist_forward', 'aten._fft_r2c'} and not counter.layers


def test_nothing_is_left_behind():
    model = nn.Sequential(nn.Linear(3, 3))
    count(model, torch.randn(2, 3))
    with pytest.raises(RuntimeError), OperationCounter(model):
        model(torch.randn(2, 4))
    assert not model[0]._forward_hooks and not model[0]._forward_pre_hooks
    assert not model._forward_hooks and not model._forward_pre_hooks


def test_what_is_ignored_is_not_counted():
    model = nn.Sequential(nn.Linear(3, 3), nn.ModuleDict({'0': nn.Linear(3, 3)}))
    model[1].forward = lambda x: model[1]['0'](x)
    assert [layer.name for layer in count(model, torch.randn(2, 3), ignore=[nn.ModuleDict])] == ['0']
    assert [layer.name for layer in count(model, torch.randn(2, 3))] == ['0', '1.0']


@pytest.mark.parametrize('steps', [0, -1, 2.5])
def test_bad_steps(steps):
    with pytest.raises(ValueError, match=f'time_steps={steps}; at least 1'):
        OperationCounter(torch.nn.Linear(2, 2), steps)
