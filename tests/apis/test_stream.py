"""mmsvf.Stream: what whole models predict frame by frame."""

import copy
import random
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmseg.structures import SegDataSample

import mmsvf
from mmsvf.apis.stream import why_not
from mmsvf.spiking import LIF, SpikeAttention
from mmsvf.spiking.continuation import Continuation
from mmsvf.spiking.state import State, fingerprint
from tests.awake import awake

from ..conftest import ROOT

SIZES = {'demo/svf_moving_digits': 48, 'demo/svf_moving_body': 64, 'demo/svf_moving_scenes_vss': 64}
SAID = dict(zip(SIZES, (lambda s: s.pred_score, lambda s: s.pred_instances.joints_3d, lambda s: s.seg_logits.data)))
CAUSAL = dict(space_time='causal', reference_size=(8, 3, 3))


def build(name, **attention):
    """The model of a config with random weights that spikes, in fp64, where no spike depends on the batch."""
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.attention = {**(cfg.model.backbone.get('attention') or {}), **attention}
    model = awake(MODELS.build(cfg.model)).eval().double()
    for read in model.memory.reads if model.neck_of_images else ():
        torch.nn.init.uniform_(read.proj.norm3.weight, 1.0, 2.0)  # a memory that counts
    return model


def videos(name, frames=6):
    """Two videos of pictures (T, C, H, W) as the data preprocessors take them."""
    return torch.randint(0, 256, (2, frames, 3, SIZES[name], SIZES[name]), dtype=torch.uint8)


def clips(model, videos, data_samples=None):
    """What the model is given of whole videos, (B, C, T, H, W)."""
    inputs = [video.transpose(0, 1) for video in videos]
    if model.views:
        inputs = [clip[None] for clip in inputs]
    elif model.neck_of_images:  # as LoadEarlierFrames loads clips
        inputs = [video.flip(0).flatten(0, 1) for video in videos]
    found = model.data_preprocessor(dict(inputs=inputs, data_samples=data_samples), False)['inputs'].double()
    return found.reshape(2, *found.shape[-4:])


@torch.no_grad()
def test_recognizer():
    """The score so far is that of the video up to here; the recent one, of the last frames alone."""
    name = 'demo/svf_moving_digits'
    stream, pictures = mmsvf.Stream(build(name, **CAUSAL), recent=2), videos(name)
    model = stream.model
    scores = model.cls_head.frame_scores(model.backbone(clips(model, pictures)))
    for t, samples in enumerate(stream(pictures.unbind(1))):
        for i, sample in enumerate(samples):
            torch.testing.assert_close(sample.pred_score, scores[: t + 1, i].mean(0).softmax(0))
            torch.testing.assert_close(sample.recent_score, scores[max(0, t - 1) : t + 1, i].mean(0).softmax(0))
            assert sample.pred_label.item() == sample.pred_score.argmax()
    assert scores.std(0).mean() > 0.01
    whole = model.predict(clips(model, pictures).unsqueeze(1), [type(sample)() for _ in samples])
    torch.testing.assert_close(samples[1].pred_score, whole[1].pred_score)
    *_, last = stream(pictures[1].numpy())  # alone
    torch.testing.assert_close(last.pred_score, whole[1].pred_score)


@torch.no_grad()
def test_pose():
    name = 'demo/svf_moving_body'
    stream, pictures = mmsvf.Stream(build(name, **CAUSAL)), videos(name)
    model = stream.model
    whole = model.head(model.backbone(clips(model, pictures)))
    for t, samples in enumerate(stream(pictures.unbind(1))):
        for i, sample in enumerate(samples):
            torch.testing.assert_close(sample.pred_instances.joints_3d, whole['joints_3d'][i, t : t + 1])
    assert whole['joints_3d'].std(1).mean() > 1e-4


@torch.no_grad()
def test_segmentor_remembers_the_last_frames():
    """Streams of different ages in one batch; features of the whole video, then the memory of the last three frames."""
    name = 'demo/svf_moving_scenes_vss'
    model = build(name, **CAUSAL)
    stream, pictures = mmsvf.Stream(model, clip_length=3), videos(name)
    model, size = stream.model, (SIZES[name],) * 2
    data = [SegDataSample(metainfo=dict(img_shape=size, ori_shape=size)) for _ in pictures]
    maps = model.backbone(clips(model, pictures, data_samples=data))

    def expected(video, t):
        x = model.neck(model.memory(tuple(x[video : video + 1, :, max(0, t - 2) : t + 1] for x in maps)))
        return model.decode_head.predict(x, [dict(img_shape=size)], None)[0]

    _, state = stream.step([pictures[0, 0]])
    samples, state = stream.step([pictures[0, 1]], state)
    torch.testing.assert_close(samples[0].seg_logits.data, expected(0, 1))
    state = state.merge([state, state.starting()])
    for t in range(4):
        samples, state = stream.step([pictures[0, t + 2], pictures[1, t]], state)
        torch.testing.assert_close(samples[0].seg_logits.data, expected(0, t + 2))
        torch.testing.assert_close(samples[1].seg_logits.data, expected(1, t))
        assert samples[0].pred_sem_seg.data.shape == (1, *size)
    assert expected(0, 5).std() > 0.1 and not torch.equal(expected(0, 5), expected(0, 4))
    with pytest.raises(ValueError, match=r'the last 3 frames of .memory., and 4 are asked for'):
        mmsvf.Stream(model).step([pictures[0, 0]] * 2, state)


@torch.no_grad()
@pytest.mark.parametrize('name', SIZES)
def test_streams_of_a_batch_are_themselves_alone(name):
    """The block of docs/live.md: streams join, leave, restart and change places as they like, and notice nothing."""
    page = (ROOT / 'docs' / 'live.md').read_text()
    block: dict = {}
    exec(re.search(r'```python\n(def several.*?)\n\n\n', page, re.S)[1], block)
    stream, draw = mmsvf.Stream(build(name, **CAUSAL)), random.Random(0)
    pictures = torch.cat([videos(name), videos(name)])
    steps, videos_of = [], [0] * 4
    for _ in range(10):
        here = draw.sample(range(4), draw.randint(1, 4))
        for camera in range(4):
            videos_of[camera] += camera not in here or draw.random() < 0.2
        steps.append({(camera, videos_of[camera]): pictures[camera, draw.randrange(6)] for camera in here})
    alone: dict = {}
    for frames, samples in zip(steps, block['several'](stream, steps)):
        assert list(samples) == list(frames)
        for key, frame in frames.items():
            (expected,), alone[key] = stream.step([frame], alone.get(key))
            torch.testing.assert_close(SAID[name](samples[key]), SAID[name](expected))
    assert len(alone) > 8 and max(map(len, steps)) == 4
    assert max(int(state.frames) for state in alone.values()) > 3
    key = next(key for key in frames if alone[key].frames > 1)  # what they are is what they remember
    assert not torch.allclose(SAID[name](samples[key]), SAID[name](stream.step([frames[key]])[0][0]))


def test_what_cannot_stream():
    model = build('demo/svf_moving_digits')
    assert "space_time='causal'" in why_not(model) and why_not(build('demo/svf_moving_digits', **CAUSAL)) is None
    with pytest.raises(ValueError, match=r"space_time='causal'\), which has the parameters of 'joint'"):
        mmsvf.Stream(model)
    with pytest.raises(ValueError, match='Linear cannot go frame by frame; ClipRecognizer'):
        mmsvf.Stream(torch.nn.Linear(1, 1))
    causal = build('demo/svf_moving_digits', **CAUSAL)
    with pytest.raises(ValueError, match=r"has no option 'clip_length'.*recent"):
        mmsvf.Stream(causal, clip_length=3)
    with pytest.raises(ValueError, match=r'all of one size; got \[\(3, 48, 48\), \(3, 24, 24\)\]'):
        mmsvf.Stream(causal).step([torch.zeros(3, 48, 48), torch.zeros(3, 24, 24)])
    segmentor = build('demo/svf_moving_scenes_vss', space_time='spatial')
    _, state = mmsvf.Stream(segmentor).step([torch.zeros(3, 64, 96)] * 2)
    for streams in (1, 3):
        with pytest.raises(ValueError, match=f'frames of {streams} streams, and a state of 2'):
            mmsvf.Stream(segmentor).step([torch.zeros(3, 64, 96)] * streams, state)
    segmentor.test_cfg = dict(mode='slide', crop_size=(32, 32), stride=(24, 24))
    assert why_not(segmentor).startswith("test_cfg.mode='slide' looks at crops")
    causal.neck = torch.nn.Identity()
    assert why_not(causal) == 'the neck Identity joins frames of a clip: a stream has none'


class AdaptiveLIF(LIF):
    def charge(self, x, v):
        return super().charge(x, v) - 0.1 * v**2


@torch.no_grad()
@pytest.mark.parametrize('fuse', [False, True])
def test_a_neuron_of_ones_own_streams_with_its_own_equation(fuse):
    """Each step is its step, and not that of the class whose kernel there is (a state is of what computed it)."""
    x = torch.randn(6, 1, 16, 5, 5, dtype=torch.float64) * 3
    attention = awake(SpikeAttention(16, 4, space_time='causal', neuron=AdaptiveLIF)).eval().double()
    attention = mmsvf.fuse(attention) if fuse else attention
    whole, state, steps = attention(x), None, []
    for frame in x.split(1):
        run = Continuation(state)
        steps.append(run.of(attention)(frame))
        state = run.state(frame, 1)
    torch.testing.assert_close(torch.cat(steps), whole)


@torch.no_grad()
def test_a_state_is_of_one_model(tmp_path):
    """Other weights, another arch and another form are refused by name, also from a file; the same weights are not."""
    name = 'demo/svf_moving_digits'
    model, frames = build(name, **CAUSAL), videos(name)[0]
    stream = mmsvf.Stream(model)
    _, state = stream.step(frames[:1])
    state.save(tmp_path / 'state.pth')
    state = State.load(tmp_path / 'state.pth', 'cpu')
    assert state.model.startswith('ClipRecognizer ') and state.model in repr(state)
    found = mmsvf.Stream(mmsvf.fuse(model)).step(frames[1:2], state)[0][0].pred_score
    torch.testing.assert_close(found, stream.step(frames[1:2], state)[0][0].pred_score)
    wide = build(name, **CAUSAL, num_heads=4)
    wide.cls_head.fc = torch.nn.Linear(64, 9).double()
    windowed, sums, neurons = (
        build(name, **{**CAUSAL, **options})
        for options in (dict(window=3), dict(reference_size=None), dict(space_time='neuron', reference_size=None))
    )
    for other in (windowed, sums, neurons):
        other.load_state_dict(model.state_dict())
    for different in (*map(mmsvf.Stream, (wide, windowed, sums, neurons)), mmsvf.Stream(model, fuse=False)):
        with pytest.raises(ValueError, match=rf'the state is of {state.model}, and goes with no other: this is ClipR'):
            different.step(frames[1:2], state)
        with pytest.raises(ValueError, match=r'the state is of .* this is'):
            State.merge([state, different.step(frames[:1])[1]])
    assert model.backbone.step(torch.rand(1, 3, 48, 48))[1].model == ''


def test_a_state_is_of_no_address():
    """A score of one's own lies elsewhere in each process."""

    def own():
        return lambda q, k, v, scale: q @ (k.transpose(-2, -1) @ v) * scale

    torch.manual_seed(0)
    block = SpikeAttention(8, 2, space_time='spatial', score=own())
    before, read = fingerprint(block), block.units[0].read
    kept, read.score = read.score, own()
    assert read.score is not kept and fingerprint(block) == before
    read.score = 'dot'
    assert fingerprint(block) != before


@torch.no_grad()
def test_a_state_is_of_every_parameter_and_buffer():
    """One number of a BatchNorm, a neuron or the data preprocessor is enough, plain and fused."""
    model = build('demo/svf_moving_digits', **CAUSAL).float()
    before, block = fingerprint(model), model.backbone.stages[3].blocks[0]
    forms = {form: fingerprint(form(block)) for form in (copy.deepcopy, mmsvf.fuse)}
    counted = {name: t for name, t in block.state_dict().items() if t.is_floating_point() and t.dim() < 2}
    assert {name.split('.')[-1] for name in counted} == {'running_mean', 'running_var', 'weight', 'bias'}
    for name, t in [*counted.items(), ('mean', model.data_preprocessor.mean), ('fc', model.cls_head.fc.bias)]:
        value = t.flatten()[-1].clone()
        t.view(-1)[-1] += 0.01
        assert fingerprint(model) != before, name
        assert name not in counted or all(fingerprint(form(block)) != forms[form] for form in forms), name
        t.view(-1)[-1] = value
    assert fingerprint(model) == before and len(counted) > 50


@torch.no_grad()
def test_mistakes():
    name = 'demo/svf_moving_digits'
    model, frames = build(name, **CAUSAL), videos(name)[0]
    stream = mmsvf.Stream(model)
    _, state = stream.step(frames[:1])
    with pytest.raises(ValueError, match=r'\(48, 48, 3\); \(3, height, width\) expected: .*permute\(2, 0, 1\)'):
        stream.step([frames[0].permute(1, 2, 0)])
    with pytest.raises(TypeError, match='state is a dict; None before the first frame'):
        stream.step(frames[:1], {})
    with pytest.raises(ValueError, match='1 data samples for frames of 2 streams; one for each'):
        stream.step(frames[:2], data_samples=[stream.model.sample_type()])
    windowed = build(name, **CAUSAL, window=3)
    windowed.load_state_dict(model.state_dict())
    state = model.backbone.step(torch.rand(1, 3, 48, 48).double())[1]
    with pytest.raises(ValueError, match='the state has window=None, the attention window=3'):
        windowed.backbone.step(torch.rand(1, 3, 48, 48).double(), state)
