"""Causal attention, and networks that go frame by frame with a state that is handed in and out."""

import gc
import re
import weakref
from concurrent.futures import ThreadPoolExecutor
from math import nan
from pickle import UnpicklingError

import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

import mmsvf
from mmsvf.models.backbones.spike_video_former import SpikeVideoFormer
from mmsvf.spiking.attention import AttentionRead
from mmsvf.spiking.causal import causal_attention, no_past
from mmsvf.spiking.continuation import Continuation
from mmsvf.spiking.neuron import build_neuron
from mmsvf.spiking.state import State

TINY = dict(embed_dims=(8, 8, 16, 24, 24), depths=(1, 1, 1, 1, 1))
NEURONS = ['official', 'paper', 'IF', dict(type='LIF', tau=3.0, v_reset=-0.5), 'LearnableLIF', 'IntegerLIF']
FORMS = {'plain': lambda m: m, 'fused': mmsvf.fuse, 'merged': lambda m: mmsvf.fuse(m, merge=True)}


def spikes(*shape, rate=0.4):
    return (torch.rand(shape) < rate).float()


def network(dtype=torch.float64, neuron='official', **attention):
    """A small backbone that spikes, in evaluation."""
    binary = 'official' if neuron == 'IntegerLIF' else neuron
    attention = dict(space_time='causal', neuron=binary, num_heads=4) | attention
    model = SpikeVideoFormer(TINY, neuron=neuron, attention=attention, out_indices=(0, 3, 4), output='tuple')
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
            torch.nn.init.uniform_(module.weight, 1.0, 2.0)
            torch.nn.init.normal_(module.bias, 0.0, 0.3)
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.randn(2, 3, 4, 32, 32))
    return model.eval().to(dtype)


@torch.no_grad()
def frame_by_frame(model, clip, state=None):
    """Feature maps BCTHW of a clip BCTHW, and the state after it."""
    found = []
    for frame in clip.unbind(2):
        maps, state = model.step(frame.clone(), state)
        found.append(maps)
    return [torch.stack(maps, 2) for maps in zip(*found)], state


def assert_equal(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b) and b.std() > 0.1


def assert_same(found, expected):
    """In fp64 no spike differs; membranes do by the order in which a convolution of another batch adds."""
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('reference', [None, 40])
@pytest.mark.parametrize('window', [None, 1, 3, 9])
@pytest.mark.parametrize('signed', [True, False])
def test_is_its_definition(signed, window, reference):
    """All at once, one by one and in chunks: the sum over the keys of the frames seen, bit for bit."""
    q, k, v = spikes(3, 7, 2, 4, 5, 6)
    expected = torch.zeros_like(q)
    for t in range(7):
        frames = slice(max(0, t + 1 - window) if window else 0, t + 1)
        k_, v_ = (x[frames].transpose(0, 1).transpose(1, 2).flatten(2, 3) for x in (k, v))
        q_, k_ = (2 * q[t] - 1, 2 * k_ - 1) if signed else (q[t], k_)
        scale = 0.3 if reference is None else 0.3 * (reference / k_.shape[-2])
        expected[t] = (q_ @ k_.transpose(-2, -1)) @ v_ * scale
    options = dict(scale=0.3, signed=signed, window=window, reference=reference)
    assert torch.equal(causal_attention(q, k, v, **options)[0], expected)
    for lengths in ([1] * 7, [2, 4, 1], [5, 2]):
        past, found = no_past(q, window), []
        for parts in zip(*(x.split(lengths) for x in (q, k, v))):
            read, past = causal_attention(*parts, **options, past=past)
            found.append(read)
        assert torch.equal(torch.cat(found), expected) and past['frames'].tolist() == [7, 7]


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize(
    'neuron, form', [*((n, f) for n in NEURONS for f in ('plain', 'fused')), ('official', 'merged')], ids=str
)
def test_frame_by_frame_is_all_at_once(neuron, form, monkeypatch):
    """24 frames of two videos. In fp32 where convolutions see the images of one time step, as they do in a stream."""
    attention = dict(window=5, score='dot') if neuron in ('paper', 'IntegerLIF') else dict(reference_size=(8, 2, 2))
    model = FORMS[form](network(torch.float64, neuron, **attention))
    clip = torch.randn(2, 3, 24, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        assert_same(frame_by_frame(model, clip[:, :, :12])[0], model(clip[:, :, :12]))
    model, clip, conv2d = model.float(), clip.float(), F.conv2d

    def by_step(x, *args, **kwargs):
        return torch.cat([conv2d(images, *args, **kwargs) for images in x.split(2)])

    monkeypatch.setattr(F, 'conv2d', by_step)
    with torch.no_grad():
        expected = model(clip)
    monkeypatch.setattr(F, 'conv2d', conv2d)
    assert_equal(frame_by_frame(model, clip)[0], expected)


@pytest.mark.parametrize('space_time', ['neuron', 'spatial', ['causal', 'neuron'], ['spatial', 'causal']], ids=str)
def test_other_designs_that_stream(space_time):
    model, clip = network(space_time=space_time), torch.randn(1, 3, 5, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        assert_same(frame_by_frame(model, clip)[0], model(clip))


class OwnAttention(torch.nn.Conv3d):
    """An attention of a user's own, which may read anything."""

    def __init__(self, channels):
        super().__init__(channels, channels, 1)

    def forward(self, x):
        return super().forward(x.movedim(0, 2)).movedim(2, 0)


class FrameAttention(OwnAttention):
    def check_causal(self):
        """No frame reads later ones."""


class SummedAttention(OwnAttention):
    """Sums the frames so far, and says how it goes on."""

    def forward(self, x):
        return super().forward(x).cumsum(0)

    def advance(self, x, past):
        first = 0 if past is None else past['sum'].unsqueeze(0)
        x = super().forward(x).cumsum(0) + first
        return x, dict(sum=x[-1])


def test_own_parts_say_whether_they_read_ahead():
    clip = torch.randn(1, 3, 4, 32, 32, dtype=torch.float64)
    ahead = SpikeVideoFormer(TINY, attention=dict(type=OwnAttention)).double().eval()
    with pytest.raises(ValueError, match=r'OwnAttention may read frames that are still to come.*check_causal'):
        ahead.step(clip[:, :, 0])
    for attention in (FrameAttention, SummedAttention):
        streams = SpikeVideoFormer(TINY, attention=dict(type=attention), out_indices=(4,), output='tuple')
        streams = streams.double().eval()
        with torch.no_grad():
            assert_same(frame_by_frame(streams, clip)[0], streams(clip))


@pytest.mark.parametrize('space_time', ['joint', 'hierarchical', 'factorized', 'temporal', 'block'])
def test_designs_that_look_ahead_are_refused(space_time):
    with pytest.raises(ValueError, match=r"reads frames .* to come: .*space_time='causal'.* loads its weights"):
        network(space_time=space_time).step(torch.randn(1, 3, 32, 32))
    if space_time == 'joint':
        network().load_state_dict(network(space_time='joint').state_dict())


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('window', [None, 3])
def test_streams_join_leave_and_restart(window):
    """Whatever its neighbours do, each stream is what it is alone."""
    model = mmsvf.fuse(network(window=window, reference_size=(4, 2, 2), neuron=dict(type='LIF', v_reset=-0.5)))
    videos = torch.randn(6, 3, 9, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        alone = model(videos)[-1]
    streams, state, draw = [[0, 0], [1, 0]], None, torch.Generator('cpu').manual_seed(0)  # video, next frame
    for _ in range(40):
        frames = torch.stack([videos[video, :, at] for video, at in streams])
        with torch.no_grad():
            maps, state = model.step(frames, state)
        for found, (video, at) in zip(maps[-1], streams):
            assert_same([found], [alone[video, :, at]])
        assert state.frames.tolist() == [at + 1 for _, at in streams]
        streams = [[video, at + 1] for video, at in streams]
        ended = [i for i, (_, at) in enumerate(streams) if at == 9]
        chance, video = (int(torch.randint(6, (), generator=draw, device='cpu')) for _ in range(2))
        if ended or chance == 0:
            again = ended or [chance % len(streams)]
            state = state.restart(again)
            streams = [[video, 0] if i in again else s for i, s in enumerate(streams)]
        elif chance == 1 and len(streams) > 1:
            stay = torch.randperm(len(streams), generator=draw, device='cpu')[1:].tolist()
            state, streams = state.select(stay), [streams[i] for i in stay]
        elif chance < 4 and len(streams) < 5:
            state, streams = State.merge([state.starting(), state]), [[video, 0], *streams]


@pytest.mark.usefixtures('device')
@pytest.mark.parametrize('score', ['hamming', 'dot'])
@pytest.mark.parametrize('window', [None, 3])
def test_what_a_read_depends_on(score, window):
    """A frame's read: on no frame after it, and on each within the window."""
    read = AttentionRead(16, 4, 'past', score, norm=False, window=window)
    read.lif = torch.nn.Identity()
    for at in range(6):
        q, k, v = spikes(3, 6, 1, 16, 4, 4)
        before = read(q, k, v)
        k[at], v[at] = 1 - k[at], 1 - v[at]
        changed = (read(q, k, v) != before).flatten(1).any(1).nonzero().flatten().tolist()
        assert changed == list(range(at, min(6, at + (window or 6))))


def test_output_depends_on_no_later_frame():
    model, clip = network(), torch.randn(1, 3, 8, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        before = model(clip)
        for at in (1, 4, 7):
            other = clip.clone()
            other[:, :, at:] = torch.randn_like(other[:, :, at:])
            for a, b in zip(before, model(other)):
                assert torch.equal(a[:, :, :at], b[:, :, :at]) and not torch.equal(a, b)


@pytest.mark.usefixtures('device')
def test_a_day_of_frames():
    """24 h at 25 frames a second: means and windows are exact, a sum says what to set before it is not."""
    day = 24 * 3600 * 25
    q, k, v = spikes(3, 1, 1, 8, 196, 45)
    past = no_past(q)
    past['sum'] += torch.randint(-196 * day, 196 * day, past['sum'].shape).double()
    past['frames'] += day
    options = dict(scale=1.0, signed=True)
    read, after = causal_attention(q, k, v, **options, reference=196, past=past)
    total = past['sum'].long() + (2 * k[0] - 1).long().transpose(-2, -1) @ v[0].long()
    assert torch.equal(after['sum'].long(), total) and after['frames'].item() == day + 1
    exact = ((2 * q[0] - 1).long() @ total).double() / (day + 1)
    torch.testing.assert_close(read[0].double(), exact, rtol=1e-6, atol=0)
    with pytest.raises(ValueError, match=rf'exactly: after {day + 1} frames; .*window=.*reference_size'):
        causal_attention(q, k, v, **options, past=past)
    windowed = no_past(q, 8)
    windowed['frames'] += day
    assert causal_attention(q, k, v, **options, window=8, past=windowed)[0].isfinite().all()
    clip = spikes(1903, 1, 1, 196, 45)
    with pytest.raises(ValueError, match=r'beyond the 16777216 .* after 1903 frames'):
        causal_attention(clip, clip, clip, **options)


def test_state_on_disk(tmp_path):
    model, clip = network(neuron=dict(type='LIF', v_reset=-0.5), window=2), torch.randn(3, 3, 6, 32, 32).double()
    _, state = frame_by_frame(model, clip[:, :, :3])
    assert 'State(3 streams of [3, 3, 3] frames' in repr(state) and 0 < state.nbytes < 2e6
    state.select(torch.tensor([True, False, True]).nonzero()).select([1, 0]).save(tmp_path / 'state.pth')
    assert (tmp_path / 'state.pth').stat().st_size < state.nbytes + 1e5
    again = State.load(tmp_path / 'state.pth', 'cpu')
    found, after = frame_by_frame(model, clip[[2, 0], :, 3:], again)
    assert_same(found, frame_by_frame(model, clip[[2, 0], :, 3:], state.clone().to('cpu').select([2, 0]))[0])
    assert after.starting().frames.tolist() == [0] and len(after.restart([1])) == 2
    two = torch.zeros(2).long()
    for frames, part, rest in (
        (two, torch.zeros(3), {}), (two, 'ab', {}), (two - 1, two, {}), (two[:0], two[:0], {}), (two, two, {'a': nan}),
    ):  # fmt: skip
        torch.save(
            dict(format='mmsvf.State 1', frames=frames, parts=dict(a=dict(b=part)), rest=rest), tmp_path / 'other.pth'
        )
        with pytest.raises(ValueError, match=r'other\.pth is no state of a stream'):
            State.load(tmp_path / 'other.pth')
    torch.save(ThreadPoolExecutor, tmp_path / 'code.pth')
    with pytest.raises(UnpicklingError, match='refused to load'):
        State.load(tmp_path / 'code.pth')


def test_a_state_of_something_else():
    model, frame = network(), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    _, state = model.step(frame)
    with pytest.raises(ValueError, match=r'frames of 1 streams, and a state of 2: State\.select'):
        model.step(frame[:1], state)
    with pytest.raises(ValueError, match=r'sees \(2, .* but a state with membranes \(2, .*state=None'):
        model.step(frame[..., :16], state)
    with pytest.raises(ValueError, match=r"no part 'stages\.\d.*of another network"):
        mmsvf.fuse(model).step(frame, state)
    with pytest.raises(ValueError, match=r'different networks or frame sizes: stages\.'):
        State.merge([state, model.step(torch.randn(1, 3, 64, 64, dtype=torch.float64))[1]])
    with pytest.raises(ValueError, match=r'streams \[2\] of 2; one or more of 0 to 1'):
        state.select([2])
    model.stages[0].blocks[0].sep_conv.lif2 = torch.nn.ReLU()  # in a neuron's place, and may remember as it likes
    with pytest.raises(ValueError, match=r'sep_conv\.lif2 is a ReLU, whose memory is its own'):
        model.step(frame)
    model = network()
    model.stages.append(torch.nn.GRU(2, 2))
    with pytest.raises(ValueError, match=r'stages\.5 is a GRU, whose memory is its own'):
        model.step(frame)


@pytest.mark.parametrize(
    'streams, said',
    [
        (torch.tensor([True, False, True]), r'\[True, False, True\]'),
        ([False, False, True], r'\[False, False, True\]'),
        ([True, 2], r'\[True, 2\]'),
        (torch.tensor([0, 1, 1]).numpy() > 0, r'\[False, True, True\]'),
        ([0.9], r'\[0\.9\]'),
        (torch.tensor([1.0]), r'\[1\.0\]'),
        (['0'], r"\['0'\]"),
        (None, r'\[None\]'),
        ([3], r'\[3\]'),
        ([-1], r'\[-1\]'),
        ([], r'\[\]'),
    ],
    ids=str,
)
def test_streams_are_integers(streams, said):
    state = State(torch.arange(3), {'lif': {'membrane': torch.arange(3.0)}})
    for method in (state.select, state.restart):
        with pytest.raises(ValueError, match=rf'streams {said} of 3; one or more of 0 to 2, integers: of a mask torch'):
            method(streams)
    for number in (0, True, 1.5, [1]):
        with pytest.raises(ValueError, match=rf'streams={re.escape(repr(number))}; at least 1, a whole number'):
            state.starting(number)


def test_integers_of_any_kind_are_streams():
    state, places = State(torch.arange(3), {}), torch.tensor([2, 0])
    for streams in ([2, 0], (2, 0), places, places.int(), places.numpy(), list(places), list(places.numpy())):
        assert state.select(streams).frames.tolist() == [2, 0] and state.restart(streams).frames.tolist() == [0, 1, 0]
    assert state.select(range(2)).frames.tolist() == [0, 1] and state.select(2).frames.tolist() == [2]


def test_what_is_called_twice():
    """It has one past. Twice as two modules it has two, and recomputed in the backward pass it is called once."""
    x, lif = 3 * torch.randn(4, 2, 5), build_neuron()
    run = Continuation(None)
    part = run.of(torch.nn.Sequential(lif))[0]
    part(x)
    with pytest.raises(ValueError, match=r'^0 is called twice for the same frames, .* a module of its own'):
        part(x)
    model, state, found = torch.nn.Sequential(lif, build_neuron(v_threshold=0.2)), None, []
    for frames in x.split(2):
        run = Continuation(state)
        found.append(run.of(model)(frames))
        state = run.state(frames[0], 2)
    assert torch.equal(torch.cat(found), model(x)) and found[0].any()
    x.requires_grad_()
    run = Continuation(state)
    y, after = checkpoint(run.of(model), x, use_reentrant=False), run.state(x[0], 4)
    kept = after.clone()
    for _ in range(2):
        y.sum().backward(retain_graph=True)
    assert x.grad.any() and all(torch.equal(after.parts[k]['membrane'], kept.parts[k]['membrane']) for k in '01')


def test_rectifiers_stream(tmp_path):
    """They remember nothing, which a state says and takes."""
    rectifier = dict(type='Rectifier')
    for form in FORMS.values():
        model, clip = form(network(neuron=rectifier, score='dot')), torch.randn(2, 3, 6, 32, 32, dtype=torch.float64)
        with torch.no_grad():
            expected = model(clip)
        found, state = frame_by_frame(model, clip[:, :, :3])
        assert_same(found, [y[:, :, :3] for y in expected])
        state.save(tmp_path / 'state.pth')
        state = State.load(tmp_path / 'state.pth')
        assert state.parts['stages.0.blocks.0.sep_conv.lif1'] == {} and 'frames' in repr(state)
        state = State.merge([state.starting(), state.restart([1])]).select([2, 1])
        found, _ = frame_by_frame(model, clip[[1, 0], :, 3:], state.to('cpu').detach())
        with torch.no_grad():
            assert_same([y[:1] for y in found], [y[:1] for y in model(clip[1:, :, 3:])])
        assert_same([y[1:] for y in found], [y[:1, :, 3:] for y in expected])


def test_nothing_stays_in_the_network():
    """Several threads with one network; a step leaves its state, and the network, as they are."""
    model = mmsvf.fuse(network(torch.float32, window=3))
    clips = torch.randn(4, 1, 3, 6, 32, 32)
    before = {name: id(module) for name, module in model.named_modules()}
    expected = [frame_by_frame(model, clip) for clip in clips]
    with ThreadPoolExecutor(4) as pool:
        for (found, _), (maps, _) in zip(pool.map(lambda clip: frame_by_frame(model, clip), clips), expected):
            assert_equal(found, maps)
    state = expected[0][1]
    kept, frame = state.clone(), torch.randn(1, 3, 32, 32)
    assert_equal(
        frame_by_frame(model, frame.unsqueeze(2), state)[0], frame_by_frame(model, frame.unsqueeze(2), kept)[0]
    )
    for name, part in state.parts.items():
        assert all(torch.equal(tensor, kept.parts[name][k]) for k, tensor in part.items())
    assert before == {name: id(module) for name, module in model.named_modules()}


@torch.no_grad()
def test_what_a_step_leaves():
    """Hooks of the network see its steps; what is forgotten is freed at once, not when Python looks for circles."""
    model, frame, seen = network(), torch.randn(1, 3, 32, 32, dtype=torch.float64), []
    model.stages[0].blocks[0].sep_conv.lif1.register_forward_hook(lambda module, *_: seen.append(type(module).__name__))
    _, state = model.step(frame)
    membrane = weakref.ref(state.parts['stages.0.blocks.0.sep_conv.lif1']['membrane'])
    gc.disable()
    try:
        for _ in range(2):
            _, state = model.step(frame, state)
        assert seen == ['LIF'] * 3 and membrane() is None
    finally:
        gc.enable()


ALL = [*NEURONS, dict(type='LIF', detach_reset=False), dict(type='LIF', decay_input=False, v_reset=None)]


@pytest.mark.parametrize('neuron', ALL, ids=str)
def test_gradients_of_a_clip_that_follows(neuron):
    """The kernel's, of the clip and of the membranes before it, are those of the explicit steps; spikes bit for bit."""
    x, v = 3 * torch.randn(4, 2, 6, 5, 5), torch.rand(2, 6, 5, 5)
    x = x.contiguous().as_strided(x.shape, (300, 150, 1, 30, 6))  # channels last
    weights = torch.randn(4, 2, 6, 5, 5), torch.randn(2, 6, 5, 5)
    node, found = build_neuron(neuron), []
    for kernel in (True, False):
        node.has_operator = kernel
        inputs = x.clone().requires_grad_(), v.clone().requires_grad_()
        spikes, past = node.advance(inputs[0], dict(membrane=inputs[1]))
        ((spikes * weights[0]).sum() + (past['membrane'] * weights[1]).sum()).backward()
        learnt = [p.grad.clone() for p in node.parameters()]
        node.zero_grad()
        found.append((spikes.detach(), past['membrane'].detach(), *[i.grad for i in inputs], *learnt))
    for one, other in zip(*found):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])
    assert found[0][0].any() and found[0][2].any() and found[0][3].any()
    if neuron == 'LearnableLIF':
        assert found[0][4].any()


@pytest.mark.parametrize('with_cp', [False, True])
def test_truncated_backpropagation_through_time(with_cp):
    """Chunks with the state carried: outputs, and the gradients of what a chunk holds, are those of the whole clip."""
    model, clip = network(), torch.randn(1, 3, 6, 32, 32, dtype=torch.float64).requires_grad_()
    for module in model.modules():
        module.training = with_cp and not isinstance(module, torch.nn.BatchNorm2d)
        if hasattr(module, 'with_cp'):
            module.with_cp = with_cp
    whole = model(clip)[-1]
    (whole[:, :, 3:].square().sum()).backward()
    _, state = model.step(clip[:, :, :3])
    chunk = clip[:, :, 3:].detach().requires_grad_()
    maps, state = model.step(chunk, state.detach())
    assert torch.equal(maps[-1], whole[:, :, 3:])
    maps[-1].square().sum().backward()
    torch.testing.assert_close(chunk.grad, clip.grad[:, :, 3:], rtol=1e-9, atol=1e-12)
    assert clip.grad[:, :, :3].any() and state.frames.tolist() == [6]


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(space_time='causal', window=0), 'window=0; at least 1'),
        (dict(space_time='joint', window=4), r"window=4 is of space_time='causal', not 'joint'"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        SpikeVideoFormer(TINY, attention=options)


def test_exact_under_autocast():
    q, k, v = spikes(3, 5, 2, 4, 300, 8)
    expected = causal_attention(q, k, v, scale=0.3, signed=True, window=3)[0]
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(causal_attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), 0.3, True, 3)[0], expected)


def test_linear_in_time():
    from torch.utils.flop_counter import FlopCounterMode

    counts = []
    for steps in (4, 16):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            causal_attention(*spikes(3, steps, 1, 4, 6, 8), scale=1.0, signed=True)
        counts.append(counter.get_total_flops())
    assert counts[1] == 4 * counts[0]
