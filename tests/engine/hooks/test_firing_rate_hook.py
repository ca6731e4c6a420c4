"""Rates watched and held down in real training loops."""

import json

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from spikingjelly.activation_based.functional import reset_net
from spikingjelly.activation_based.neuron import LIFNode
from torch import nn
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

import mmsvf  # noqa: F401
from mmsvf.engine.hooks.firing_rate_hook import FiringRateHook, SpikeSparsityHook
from mmsvf.spiking import LIF, IntegerLIF


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Asking for the compilers' versions takes most of a short run."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)


class Toy(BaseModel):
    def __init__(self, neuron=LIF, bias=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(8, 16)
        nn.init.constant_(self.fc.bias, bias)
        self.lif = neuron()
        self.silent = LIF()

    def forward(self, inputs, mode='tensor'):
        x = self.lif(self.fc(inputs.transpose(0, 1)))
        self.silent(0 * x)
        return {'loss_task': x.mean() * 0} if mode == 'loss' else x


def train(tmp_path, model, hook, iterations=6, lr=0.5):
    data = [dict(inputs=torch.rand(4, 8, generator=torch.Generator().manual_seed(i))) for i in range(8)]
    runner = Runner(
        model, str(tmp_path), dict(batch_size=2, sampler=dict(type='InfiniteSampler', shuffle=False), dataset=data,
                             collate_fn=dict(type='default_collate')),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=iterations),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=lr)), custom_hooks=[hook],
        visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)), experiment_name=tmp_path.name,
    )  # fmt: skip
    runner.train()
    return runner, next(tmp_path.glob('*/*.log')).read_text()


def scalars(tmp_path):
    lines = next(tmp_path.glob('*/vis_data/scalars.json')).read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_rates_are_logged(tmp_path):
    """Every third iteration, of each neuron and time step, as counted here; the silent one is named."""
    model = Toy(bias=2.0)
    seen = []
    model.lif.register_forward_hook(lambda _, args, out: seen.append(out.detach()))
    _, log = train(tmp_path, model, FiringRateHook(interval=3))
    logged = [entry for entry in scalars(tmp_path) if 'firing_rate/lif' in entry]
    assert [entry['step'] for entry in logged] == [3, 6]
    for entry, spikes in zip(logged, (seen[2], seen[5])):
        assert entry['firing_rate/lif'] == pytest.approx(spikes.mean().item())
        for t in range(4):
            assert entry[f'firing_rate/lif/t{t + 1}'] == pytest.approx(spikes[t].mean().item())
    assert log.count('1 dead: silent') == 2 and 'over 2 neurons' in log and 'saturated' not in log


def test_steps_of_all_chunks_are_logged_once(tmp_path):
    """A clip in two chunks, whose branches are computed again in the backward pass: its four steps, each once."""

    class InChunks(Toy):
        def forward(self, inputs, mode='tensor'):
            chunks = [c.requires_grad_() for c in inputs.transpose(0, 1).split(2)]
            x = torch.cat([checkpoint(lambda c: self.lif(self.fc(c)), c, use_reentrant=False) for c in chunks])
            return {'loss_task': x.mean()} if mode == 'loss' else x

    model, seen = InChunks(bias=2.0), []
    model.lif.register_forward_hook(lambda _, args, out: seen.append(out.detach()))
    with set_checkpoint_early_stop(False):
        train(tmp_path, model, FiringRateHook(interval=3), iterations=3)
    assert len(seen) == 3 * 2 * 2  # iterations, chunks, computed twice
    spikes = torch.cat(seen[8:10])  # the third iteration, before they are computed again
    (entry,) = [entry for entry in scalars(tmp_path) if 'firing_rate/lif' in entry]
    assert [entry.get(f'firing_rate/lif/t{t}') for t in range(1, 6)] == [
        *(pytest.approx(step.mean().item()) for step in spikes), None,
    ]  # fmt: skip


def test_a_call_of_a_single_step_neuron_is_a_time_step(tmp_path):
    """Spikingjelly's neurons by default: their first dimension is the batch, here of two."""

    class Looped(Toy):
        def forward(self, inputs, mode='tensor'):
            reset_net(self)
            x = torch.stack([self.lif(self.fc(step)) for step in inputs.transpose(0, 1)])
            return {'loss_task': x.mean()} if mode == 'loss' else x

    model, seen = Looped(LIFNode, bias=2.0), []
    model.lif.register_forward_hook(lambda _, args, out: seen.append(out.mean().item()))
    train(tmp_path, model, FiringRateHook(interval=1), iterations=1)
    (entry,) = [entry for entry in scalars(tmp_path) if 'firing_rate/lif' in entry]
    found = [entry.get(f'firing_rate/lif/t{t}') for t in range(1, 6)]
    assert found[:4] == pytest.approx(seen) and found[4] is None and len(set(seen)) > 1


def test_saturation_is_of_the_largest_value(tmp_path):
    _, log = train(tmp_path, Toy(lambda: IntegerLIF(max_value=2), bias=50.0), FiringRateHook(interval=6))
    assert '1 saturated: lif' in log
    (entry,) = [entry for entry in scalars(tmp_path) if 'firing_rate/lif' in entry]
    assert entry['firing_rate/lif'] == pytest.approx(1.0)


def test_sparsity_lowers_the_rate_to_its_target(tmp_path):
    ends = {}
    for name, weight, target in (('free', 0.0, 0.0), ('held', 3.0, 0.0), ('target', 3.0, 0.3)):
        model = Toy(bias=1.5)
        x = torch.rand(16, 4, 8, generator=torch.Generator().manual_seed(9))
        before = model(x).mean().item()
        _, log = train(tmp_path / name, model, SpikeSparsityHook(weight, target), iterations=40)
        ends[name] = model(x).mean().item()
        assert 'loss_sparsity' in log
    assert before > 0.3 and ends['free'] == pytest.approx(before)
    assert ends['held'] < 0.5 * before and ends['held'] < ends['target'] < before


def test_the_loss_is_what_it_says(tmp_path):
    model = Toy(bias=1.5)
    seen = []
    model.lif.register_forward_hook(lambda _, args, out: seen.append(out.detach().mean().item()))
    train(tmp_path, model, SpikeSparsityHook(2.0, 0.1), iterations=1)
    (entry,) = [entry for entry in scalars(tmp_path) if 'loss_sparsity' in entry]
    assert entry['loss_sparsity'] == pytest.approx(2.0 * max(0, seen[0] - 0.1) / 2, rel=1e-4), 'a mean over two neurons'


def test_wrong_use_is_named(tmp_path):
    with pytest.raises(ValueError, match='dead < saturated'):
        FiringRateHook(dead=0.9, saturated=0.5)
    with pytest.raises(ValueError, match='neither is negative'):
        SpikeSparsityHook(weight=-1)

    class Plain(BaseModel):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 1)

        def forward(self, inputs, mode='tensor'):
            return {'loss': inputs.sum()}

    for hook in (FiringRateHook(), SpikeSparsityHook()):
        with pytest.raises(ValueError, match='Plain has no spiking neuron'):
            train(tmp_path / type(hook).__name__, Plain(), hook)
