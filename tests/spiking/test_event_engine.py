"""Convolutions by events: the dense convolution's result, whatever the input, and the faster of the two."""

import copy
import pickle
import threading
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import mmsvf
from mmsvf.models import SpikeVideoFormer
from mmsvf.spiking import ChannelConv, ChannelMLP, SepConv, event_conv, event_engine, event_kernels
from mmsvf.spiking.event_conv import EventConv2d, Measured
from mmsvf.spiking.event_kernels import Rows
from mmsvf.spiking.layers import over_images
from mmsvf.spiking.neuron import LIF, IntegerLIF
from tests.awake import awake

TINY = dict(embed_dims=(8, 16, 24, 32, 40), depths=(1, 1, 1, 2, 1))
# in and out channels, size, kernel, stride, padding
SHAPES = [
    (37, 50, (9, 11), 3, 1, 1),
    (16, 16, (8, 8), 1, 1, 0),
    (360, 100, (7, 7), 3, 2, 1),
    (5, 130, (10, 7), 5, 2, 2),
    (20, 30, (10, 7), 3, 1, 2),
    (3, 8, (12, 12), 7, 4, 3),
    (4, 4, (1, 1), 1, 2, 0),
    (4, 4, (1, 1), 3, 1, 1),
    (6, 5, (2, 40), (1, 3), (1, 2), (0, 1)),
    (700, 64, (4, 3), 3, 1, 0),
]


@pytest.fixture(params=[16, 8, 4])
def lanes(request, monkeypatch):
    """Floats in registers of AVX-512, AVX2 and NEON: this machine's, and narrower ones, which every machine has."""
    if request.param > event_kernels.host_lanes():
        pytest.skip('registers are narrower here')
    monkeypatch.setattr(event_kernels, 'host_lanes', lambda: request.param)
    return request.param


def spikes(kind, *shape):
    x = (torch.rand(shape) < 0.2).float()
    if kind == 'integers':
        x *= torch.randint(1, 5, shape)
    if kind == 'not a number':
        x.view(-1)[0] = float('nan')
    if kind == 'infinite':
        x.view(-1)[-1] = float('inf')
    if kind == 'reals':
        x *= torch.randn(shape)
    return torch.zeros(shape) if kind == 'silent' else torch.ones(shape) if kind == 'all' else x


KINDS = 'spikes', 'integers', 'reals', 'silent', 'all', 'not a number', 'infinite'


def compare(shape):
    """By events and dense in fp64, of any input, also where a sum is not a number."""
    in_channels, out_channels, size, *geometry = shape
    conv = nn.Conv2d(in_channels, out_channels, *geometry)
    for kind in KINDS:
        x = spikes(kind, 3, in_channels, *size)
        with torch.no_grad():
            expected = copy.deepcopy(conv).double()(x.double()).float()
            found, rate = EventConv2d.of(conv).events(x)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5, equal_nan=True)
        assert found.shape == expected.shape and abs(rate - float((x != 0).float().mean())) < 0.2


@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_the_dense_convolution(shape):
    compare(shape)


def test_narrower_registers(lanes):
    """What machines without AVX-512 run."""
    for shape in SHAPES[:1] + SHAPES[-1:]:
        compare(shape)


@pytest.mark.parametrize('kind', ['spikes', 'integers'])
def test_bytes_are_floats(kind, lanes):
    """Spikes of either type give the same sums."""
    conv = EventConv2d.of(nn.Conv2d(37, 50, 3, 2, 1))
    x = spikes(kind, 3, 37, 9, 11)
    with torch.no_grad():
        assert torch.equal(conv.events(x)[0], conv.events(x.to(torch.uint8))[0])


@pytest.mark.parametrize('threads', [1, 2])
def test_strips_and_threads(threads):
    """Images of several strips, in one thread and two; every layout of the input; nothing outside is written."""
    before = torch.get_num_threads()
    conv = EventConv2d.of(nn.Conv2d(24, 40, 3, 1, 1))
    x = spikes('spikes', 5, 24, 40, 30)
    try:
        torch.set_num_threads(threads)
        with torch.no_grad():
            expected = F.conv2d(x.double(), conv.weight.double(), conv.bias.double(), padding=1).float()
            for layout in (
                x,
                x.contiguous(memory_format=torch.channels_last),
                x.transpose(2, 3).contiguous().mT,
                x.mT.mT,
            ):
                torch.testing.assert_close(conv.events(layout)[0], expected, atol=1e-5, rtol=1e-5)
    finally:
        torch.set_num_threads(before)
    out = np.full(5 * 40 * 30 * 40 + 64, 7.0, np.float32)
    rows = Rows(conv.weight.detach().numpy(), None)
    image = np.ascontiguousarray(x.permute(0, 2, 3, 1).numpy())
    rows.convolve(image, out[32:-32].reshape(5, 40, 30, 40), (3, 3, 1, 1, 1, 1))
    assert (out[:32] == 7).all() and (out[-32:] == 7).all() and not (out[32:-32] == 7).all()


def measured_as(monkeypatch, by_events):
    """Have every layer find the one faster, or the other."""
    found = Measured(0.2, 1.0, 0.5) if by_events else Measured(0.2, 0.5, 1.0)
    monkeypatch.setattr(event_conv, 'DRIFT', 1e9)
    monkeypatch.setattr(EventConv2d, '_measure', lambda self, x: found)


LAYERS = SepConv, ChannelConv, ChannelMLP
NEURONS = ['official', 'paper', dict(type='LearnableLIF'), dict(type='IntegerLIF')]


@pytest.mark.parametrize('neuron', NEURONS, ids=['official', 'paper', 'LearnableLIF', 'IntegerLIF'])
@pytest.mark.parametrize('layer', LAYERS)
def test_layers_by_events(layer, neuron, monkeypatch):
    """Where no sum lies at a threshold the layer's result is the fused one's; between its parts there are bytes."""
    x = torch.randn(4, 2, 16, 6, 5)
    fused = mmsvf.fuse(awake(layer(16, neuron=neuron), x))
    measured_as(monkeypatch, True)
    by_events = mmsvf.fuse(awake(layer(16, neuron=neuron), x), engine='events')
    by_events.load_state_dict(fused.state_dict())
    seen, events = [], EventConv2d.events

    def noted(self, x, *more):
        seen.append((x.dtype, *more))
        return events(self, x, *more)

    monkeypatch.setattr(EventConv2d, 'events', noted)
    with torch.inference_mode():
        expected = fused(x)
        by_events(x)
        seen.clear()
        found = by_events(x)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        leaky, last = not isinstance(by_events.lif2, IntegerLIF), layer is not SepConv
        kind, fires = (torch.uint8, (by_events.lif2, last)) if leaky else (torch.float32, ())
        assert seen == [(kind, *fires), (kind if last else torch.float32,)]
        spikes = []
        for part in (by_events.lif1, by_events.lif2):  # who looks at a neuron's spikes sees floats
            part.register_forward_hook(lambda module, args, out: spikes.append(out.dtype))
            assert torch.equal(by_events(x), found)
        assert spikes == [torch.float32] * 3


def test_weights_of_inference_mode_that_change():
    """They have no version that would tell."""
    with torch.inference_mode():
        conv, x = EventConv2d.of(torch.nn.Conv2d(8, 16, 3, padding=1)), (torch.rand(1, 8, 6, 6) < 0.2).float()
        assert conv.weight.is_inference()
        for tensor in (conv.weight, conv.bias):
            rows = [conv.events(x) and conv._laid_out() for _ in range(2)]
            assert rows[0] is rows[1]
            tensor.mul_(3)
            torch.testing.assert_close(conv.events(x)[0], conv.dense(x), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize('space_time', ['joint', 'factorized', 'causal'])
def test_a_network(space_time, monkeypatch):
    """Layer by layer what dense layers make of the same input; dense ones change nothing at all."""
    torch.manual_seed(1)
    x = torch.randn(1, 3, 4, 64, 64)
    model = awake(SpikeVideoFormer(TINY, attention=dict(space_time=space_time)), x)
    fused, measured = mmsvf.fuse(model), mmsvf.fuse(model, engine='events')
    with torch.inference_mode():
        measured_as(monkeypatch, False)
        assert torch.equal(measured(x), fused(x)) and all(
            layer.measured.by_events is False for layer in measured.engine_report()
        )
        measured_as(monkeypatch, True)
        measured = mmsvf.fuse(model, engine='events')
        compared = []
        whole = EventConv2d.events

        def beside(self, x, neuron=None, as_bytes=False):
            out, rate = whole(self, x, neuron, as_bytes)
            if neuron is None:
                torch.testing.assert_close(out, self.dense(x), atol=2e-5, rtol=1e-5)
            else:  # but for spikes whose membrane lies at the threshold
                assert (out != neuron(over_images(self.dense, x))).float().mean() < 1e-3
                assert 0.01 < out.float().mean() < 0.99
            compared.append((x.dtype, neuron is not None))
            return out, rate

        monkeypatch.setattr(EventConv2d, 'events', beside)
        measured(x)
        compared.clear()
        measured(x)
    convs = [m for m in measured.modules() if isinstance(m, EventConv2d)]
    assert len(compared) == len(convs) and sum(kind == torch.uint8 for kind, _ in compared) > len(convs) / 3
    assert sum(fires for _, fires in compared) == sum(isinstance(m, LAYERS) for m in model.modules())


def test_measured_and_reconsidered(monkeypatch):
    """The faster is taken; another rate has a layer measured anew, by events and dense; dense rates give no events."""
    times = dict(dense=1.0, events=2.0)
    conv = EventConv2d.of(nn.Conv2d(16, 16, 1))
    monkeypatch.setattr(event_conv, '_seconds', lambda function, x: times[function.__name__])
    monkeypatch.setattr(event_conv, 'LOOK', 3)
    sparse, dense = (torch.rand(2, 16, 8, 8) < rate for rate in (0.1, 0.3))
    sparse, dense = sparse.float(), dense.float()
    with torch.no_grad():
        conv(sparse)
        (found,) = conv.measured.values()
        assert found[1:] == (1.0, 2.0) and not found.by_events
        times.update(events=0.5)
        conv(dense)  # not looked at
        assert list(conv.measured.values()) == [found]
        conv(dense)  # the third call
        assert not conv.measured
        conv(dense)
        (found,) = conv.measured.values()
        assert found.by_events and 0.2 < found.rate < 0.4
        for _ in range(2):  # events say how many there are; the second time a call is passed over
            assert conv.measured
            conv(sparse)
        assert not conv.measured
        conv(torch.ones(2, 16, 8, 8))
        assert [tuple(found) for found in conv.measured.values()] == [(1.0, None, None)]
        conv(sparse[:1])
        assert len(conv.measured) == 2


def test_where_events_do_not_serve():
    """Gradients, other types, autocast and torch.compile have the dense convolution; so has a model of none."""
    conv = EventConv2d.of(nn.Conv2d(16, 16, 3, 1, 1))
    x = spikes('spikes', 2, 16, 8, 8)
    conv(x).sum().backward()
    assert conv.weight.grad is not None
    with torch.no_grad():
        torch.compile(conv, backend='eager', fullgraph=True)(x)
        with torch.autocast('cpu', torch.bfloat16):
            assert conv(x).dtype == torch.bfloat16
        conv(x[:0])
        with pytest.raises(RuntimeError, match='expected input'):
            conv(x[:, :8])
        assert conv.double()(x.double()).dtype == torch.float64
        assert not conv.measured
        assert conv.half()(x.half()).dtype == torch.float16 and not conv.measured
    grouped = mmsvf.fuse(awake(ChannelMLP(16), torch.randn(2, 1, 16, 4, 4)))
    with pytest.raises(ValueError, match=r"engine='event'; choose one of \('dense', 'events'\)"):
        mmsvf.fuse(ChannelMLP(16), engine='event')
    with pytest.raises(ValueError, match=r"mmsvf.fuse\(model, engine='events'\)"):
        event_engine.engine_report(grouped)


def test_the_report_is_a_table():
    """However long the names are, the columns stand below their headings."""
    found = [event_engine.LayerReport(name, (2, 3), Measured(0.5, 0.01, 0.005)) for name in ('a' * 70, 'b')]
    head, *lines, _ = str(event_engine.EngineReport(found)).splitlines()
    assert [len(line) for line in lines] == [len(head)] * 2 and lines[1].startswith('b ')


def test_new_weights_and_copies(monkeypatch):
    """Weights that are loaded, moved or copied are those of the events as well; a copy measures for itself."""
    measured_as(monkeypatch, True)
    x = torch.randn(2, 1, 16, 4, 4)
    model = mmsvf.fuse(awake(ChannelMLP(16), x), engine='events')
    other = mmsvf.fuse(awake(ChannelMLP(16), x), engine='events')
    with torch.no_grad():
        assert not torch.equal(model(x), other(x))
        model.load_state_dict(other.state_dict())
        assert torch.equal(model(x), other(x))
        kept = model(x)
        model.double().float()
        assert torch.equal(model(x), kept)
        for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(again(x), kept) and 'events' in str(again.engine_report())
            again.fc1.weight.data.mul_(0)
            assert torch.equal(model(x), kept)
    assert set(model.state_dict()) == set(mmsvf.fuse(awake(ChannelMLP(16), x)).state_dict())


def test_other_parts_than_fuse_left(monkeypatch):
    """Surrogates and neurons of one's own, subclasses, hooks, parts put in later: what the dense form gives."""
    measured_as(monkeypatch, True)
    x = torch.randn(3, 1, 16, 4, 4)

    class Signed(LIF):
        def forward(self, x):
            return 2 * super().forward(x) - 1

    class Surrogate(nn.Module):
        def forward(self, x):
            return (x >= 0).to(x)

    def hook(name, layer):
        getattr(layer, name).register_forward_hook(lambda module, args, out: out * 2)

    changes = [
        lambda m: setattr(m, 'norm1', nn.Softplus()),
        lambda m: setattr(m, 'fc1', nn.Conv2d(16, 64, 1)),
        lambda m: setattr(m, 'lif2', m.lif1),
        lambda m: setattr(m.lif2, 'v_threshold', torch.tensor(1.5)),
        lambda m: setattr(m.lif2, 'v_reset', None),
        lambda m: setattr(m.lif2, 'store_v_seq', True),
        lambda m: m.lif2.surrogate_function.set_spiking_mode(False),
        lambda m: m.fc1.weight.mul_(0.5),
        lambda m: setattr(m.fc1, 'weight', nn.Parameter(m.fc1.weight * 0.5)),
        lambda m: m.fc2.weight.fill_(float('nan')),
        *[partial(hook, name) for name in ('lif1', 'norm1', 'fc1', 'lif2')],
    ]
    for neuron in ('official', Signed, dict(type='LIF', surrogate_function=Surrogate())):
        layer = awake(ChannelMLP(16, neuron=neuron), x)
        for change in changes if neuron == 'official' else [lambda m: None]:
            models = [mmsvf.fuse(layer), mmsvf.fuse(layer, engine='events')]
            with torch.no_grad():
                torch.manual_seed(0)
                [model(x) for model in models for _ in range(2)]
                for model in models:
                    torch.manual_seed(0)
                    change(model)
                torch.testing.assert_close(*(model(x) for model in models), atol=1e-4, rtol=1e-4, equal_nan=True)


def test_who_looks_on_sees_dense_layers(monkeypatch):
    """Counters of operations, traces, graphs, transforms: as in the dense form."""
    measured_as(monkeypatch, True)
    x = torch.randn(3, 1, 16, 4, 4)
    layer = awake(ChannelMLP(16), x)
    dense, model = mmsvf.fuse(layer), mmsvf.fuse(layer, engine='events')
    with torch.no_grad():
        [model(x) for _ in range(2)]
        expected, counts = dense(x), []
        for each in (dense, model):
            with FlopCounterMode(display=False) as counter:
                each(x)
            counts.append(counter.get_total_flops())
        assert counts[0] == counts[1] > 0
        torch.testing.assert_close(torch.jit.trace(model, x, check_trace=False)(x), expected)
        torch.testing.assert_close(torch.compile(model, backend='eager', fullgraph=True)(x), expected)
        images = torch.rand(2, 3, 16, 4, 4).round()
        torch.testing.assert_close(torch.vmap(model.fc1)(images), torch.vmap(dense.fc1)(images))
        torch.testing.assert_close(model(x), expected, atol=1e-4, rtol=1e-4)
        with pytest.raises(RuntimeError, match='Kernel size'):
            EventConv2d.of(nn.Conv2d(4, 4, 3))(torch.zeros(1, 4, 2, 2))
    assert EventConv2d._broken is False


def test_threads_of_a_server(monkeypatch):
    """A model that several threads call at once."""
    measured_as(monkeypatch, True)
    x = torch.randn(2, 1, 32, 24, 24)
    model = mmsvf.fuse(awake(ChannelConv(32), x), engine='events')
    with torch.no_grad():
        expected, found = model(x), []

    def call():
        with torch.no_grad():
            found.append(model(x))

    workers = [threading.Thread(target=call) for _ in range(6)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
    assert len(found) == 6 and all(torch.equal(each, expected) for each in found)


def test_no_numba(monkeypatch):
    """Not installed, or of no use here: said, and dense."""
    layer = awake(ChannelMLP(16), torch.randn(2, 1, 16, 4, 4))
    model = mmsvf.fuse(layer, engine='events')
    monkeypatch.setattr(Rows, 'convolve', lambda *_: 1 / 0)
    monkeypatch.setattr(EventConv2d, '_broken', False)
    x = torch.randn(2, 1, 16, 4, 4)
    with torch.no_grad(), pytest.warns(UserWarning, match='numba cannot compile the kernels of events .ZeroDivision'):
        assert torch.equal(model(x), mmsvf.fuse(layer)(x))
    monkeypatch.setattr(event_engine.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match="needs numba: pip install numba, or take engine='dense'"):
        mmsvf.fuse(layer, engine='events')


def test_streams(monkeypatch):
    """Frame by frame a causal model has the bytes, too, and what it makes of all frames at once."""
    measured_as(monkeypatch, True)
    x = torch.randn(1, 3, 3, 32, 32)
    model = awake(SpikeVideoFormer(TINY, attention=dict(space_time='causal')), x)
    model = mmsvf.fuse(model, engine='events')
    with torch.no_grad():
        whole, state, frames = model(x), None, []
        whole = model(x)
        for t in range(3):
            y, state = model.step(x[:, :, t], state)
            frames.append(y)
    assert torch.equal(torch.stack(frames, 2).reshape(whole.shape), whole)
