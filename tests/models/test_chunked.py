"""Training on chunks of a clip: the gradients within a chunk, those of the clip if it is one, in constant memory."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, init_default_scope

from mmsvf.analysis.memory_limit import LiveMemory
from mmsvf.body import embedded_body
from mmsvf.engine.hooks.firing_rate_hook import SpikeSparsityHook
from mmsvf.engine.strategies import check_strategy
from mmsvf.models.chunked import ChunkedTraining

from ..apis.test_stream import CAUSAL, build
from ..conftest import ROOT

TASKS = {'action': 'demo/svf_moving_digits', 'pose': 'demo/svf_moving_body'}


def model_of(task, chunk_frames=None, dtype=torch.float64, **attention):
    torch.manual_seed(0)
    model = build(TASKS[task], **CAUSAL, **attention).to(dtype).train()
    if task == 'pose':
        model.head.body = embedded_body().to(dtype)
        torch.nn.init.normal_(model.head.pose.weight, std=0.1)
    model.chunk_frames = chunk_frames
    return model


def data(task, frames, dtype=torch.float64):
    """Two clips as the model's ``loss`` takes them, and their labels."""
    torch.manual_seed(1)
    clips = torch.rand(2, 3, frames, 32, 32, dtype=dtype)
    if task == 'action':
        from mmaction.structures import ActionDataSample

        return clips[:, None], [ActionDataSample().set_gt_label(label) for label in (1, 5)]
    from mmengine.structures import InstanceData
    from mmpose.structures import PoseDataSample

    shapes = dict(pose=(24, 3), shape=(10,), translation=(3,), joints_3d=(24, 3), joints_2d=(24, 2))
    labels = [InstanceData(**{k: torch.rand(frames, *s, dtype=dtype) for k, s in shapes.items()}) for _ in clips]
    return clips, [PoseDataSample(gt_instance_labels=label) for label in labels]


def gradients(model, losses):
    total = model.parse_losses(losses)[0] if isinstance(losses, dict) else losses
    model.zero_grad()
    total.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return total.detach(), found


@pytest.mark.parametrize('task', TASKS)
def test_a_chunk_that_is_the_clip_is_ordinary_training(task):
    """Losses, gradients of all parameters and statistics of all norms, in fp64."""
    clips, samples = data(task, 4)
    plain, chunked = model_of(task), model_of(task, 4)
    expected, found = plain.loss(clips, samples), chunked.loss(clips, samples)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    (_, expected), (_, found) = gradients(plain, expected), gradients(chunked, found)
    assert expected.keys() == found.keys() and sum(bool(g.any()) for g in found.values()) > 50
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-7, atol=1e-11)
    for one, other in zip(plain.buffers(), chunked.buffers(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize('window', [None, 3])
@pytest.mark.parametrize('task', TASKS)
def test_gradients_are_those_within_each_chunk(task, window):
    """Autograd's of the chunks one by one, each from a state that is cut off, written out with the parts' own steps."""
    clips, samples = data(task, 7)
    model = model_of(task, 3, window=window).eval()  # with statistics that stay, whole clips can be compared with
    (loss, found), frames = (
        gradients(model, model.loss(clips, samples)),
        clips.flatten(0, 1) if task == 'action' else clips,
    )
    states, head, total, scores, at = None, None, 0, [], 0
    model.zero_grad()
    for chunk in frames.split(3, 2):
        maps, states = model.backbone.step(chunk, states and states.detach())
        if task == 'action':
            x = maps.mean((3, 4)).permute(2, 0, 1)
            spikes, head = model.cls_head.lif.advance(x, head)
            scores = [*(score.detach() for score in scores), *model.cls_head.fc(spikes)]
            part = torch.nn.functional.cross_entropy(torch.stack(scores).mean(0), torch.tensor([1, 5]))
        else:
            spikes, head = model.head.lif.advance(maps[-1].permute(2, 0, 1, 3, 4), head)
            read = model.head.lif
            model.head.lif = torch.nn.Identity()  # its spikes are there
            labels = [type(s)(gt_instance_labels=s.gt_instance_labels[at : at + chunk.shape[2]]) for s in samples]
            part = model.parse_losses(model.head.loss((spikes.permute(1, 2, 0, 3, 4),), labels))[0]
            model.head.lif = read
        head = {name: value.detach() for name, value in head.items()}
        (part * chunk.shape[2] / 7).backward()
        total, at = total + part.detach() * chunk.shape[2] / 7, at + chunk.shape[2]
    torch.testing.assert_close(loss, total)
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (name not in found)
        if parameter.grad is not None:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-7, atol=1e-11)
    model.chunk_frames = None
    whole, gradient = gradients(model, model.loss(clips, samples))
    name = next(iter(gradient))
    assert (gradient[name] - found[name]).abs().max() > 1e-6, 'it goes back further'
    if task == 'pose':  # the mean over all frames, whatever the chunks
        torch.testing.assert_close(loss, whole)


def test_memory_does_not_grow_with_the_clip():
    """All live tensors at their peak, the clip itself apart: of 12 and of 36 frames the same."""
    peaks = {}
    for chunk in (6, None):
        for frames in (12, 36):
            (clips, samples), model = data('action', frames, torch.float32), model_of('action', chunk, torch.float32)
            memory = LiveMemory()
            with memory:
                model.parse_losses(model.loss(clips, samples))[0].backward()
            peaks[chunk, frames] = memory.peak - clips.nbytes
    assert peaks[6, 36] < 1.001 * peaks[6, 12] < peaks[None, 36] / 2 and peaks[None, 36] > 2 * peaks[None, 12]


class Summed(ChunkedTraining, torch.nn.Module):
    """Two parameters that are summed: autograd gives both the same tensor as their gradient."""

    def __init__(self, **options):
        super().__init__(**options)
        self.a, self.b = (torch.nn.Parameter(torch.zeros(3)) for _ in range(2))

    def check_streams(self):
        pass

    def features(self, run, inputs):
        return inputs

    def parse_losses(self, losses):
        return losses['loss_x'], dict(loss=0.0, **losses)

    def chunk_losses(self, run, maps, data_samples, first):
        return dict(loss_x=((self.a + self.b) * maps.mean((0, 2, 3, 4))).sum())


def test_parameters_that_share_a_gradient():
    clip, found = torch.randn(2, 3, 6, 2, 2), []
    for chunk_frames in (6, 2):
        model = Summed(chunk_frames=chunk_frames)
        model.losses_in_chunks(clip, [])['loss_x'].backward()
        found.append(torch.stack([model.a.grad, model.b.grad]))
    torch.testing.assert_close(*found)


def test_in_a_training_step():
    """Accumulation, bfloat16 and recomputation, and the same step twice is the same: nothing is kept."""
    clips, samples = data('action', 6, torch.float32)
    model = model_of('action', 2, torch.float32)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    expected = gradients(model, model.loss(clips, samples))[1]
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), 1.0), accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 4)
    model.zero_grad()
    for turn in range(2):
        model.load_state_dict(weights)
        log = model.train_step(dict(inputs=list(clips * 255), data_samples=samples), wrapper)
        assert (
            log['loss'].isfinite()
            and log.keys() == {'loss', 'loss_cls', 'top1_acc'}
            and wrapper._inner_count == turn + 1
        )
    assert any((model.state_dict()[name] != value).any() for name, value in weights.items())
    model.load_state_dict(weights)
    again = gradients(model, model.loss(clips, samples))[1]
    assert all(torch.equal(again[name], gradient) for name, gradient in expected.items())
    model.load_state_dict(weights)
    for part in model.modules():
        if hasattr(part, 'with_cp'):
            part.with_cp = True
    recomputed = gradients(model, model.loss(clips, samples))[1]
    assert all(torch.equal(recomputed[name], gradient) for name, gradient in expected.items())
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(clips, samples)
    assert all(gradient.isfinite().all() for gradient in gradients(model, losses)[1].values())
    with torch.autocast('cpu', torch.float16), pytest.raises(ValueError, match=r"dtype='bfloat16'"):
        model.loss(clips, samples)
    with torch.no_grad():
        assert not model.loss(clips, samples)['loss_cls'].requires_grad


def test_sparsity_is_a_loss_of_the_chunks():
    """What a backward pass computes again (``with_cp``) is counted once."""
    clips, samples = data('action', 4)
    found = []
    for chunk, recomputes in ((4, False), (None, False), (2, False), (2, True)):
        model = model_of('action', chunk)
        for part in model.modules():
            if hasattr(part, 'with_cp'):
                part.with_cp = recomputes
        hook = SpikeSparsityHook(weight=3.0)
        hook.before_train(type('Runner', (), dict(model=model)))
        losses = model.loss(clips, samples)
        total, log = model.parse_losses(losses)
        found.append((total, log['loss_sparsity'], gradients(model, total)[1]))
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[2], found[3])


def test_mistakes():
    cfg = Config.fromfile(ROOT / 'configs' / f'{TASKS["action"]}.py').model
    init_default_scope('mmaction')
    with pytest.raises(ValueError, match=r"reads frames .* to come: .*space_time='causal'"):
        MODELS.build(dict(cfg, chunk_frames=4))
    cfg.backbone.attention = CAUSAL
    with pytest.raises(ValueError, match='chunk_frames=0; at least 1, a whole number, or None'):
        MODELS.build(dict(cfg, chunk_frames=0))
    sharded = dict(runner_type='FlexibleRunner', strategy=dict(type='FSDPStrategy'), launcher='pytorch')
    with pytest.raises(ValueError, match='chunk_frames=4 needs the gradients of whole parameters'):
        check_strategy(Config(dict(sharded, model=dict(chunk_frames=4))))
