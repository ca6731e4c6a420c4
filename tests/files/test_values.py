import argparse
import collections
import io
import os
import pickle

import numpy as np
import pytest
import torch

from mmsvf.files import pickles
from mmsvf.files.checkpoints import load_checkpoint


class Shell:
    """A pickle that would run a command."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f'touch {self.marker}',)


def saved(tmp_path, content, **kwargs):
    path = tmp_path / 'file.pth'
    torch.save(content, path, **kwargs)
    return path


@pytest.mark.parametrize('legacy', [False, True])
def test_refuses_code_and_names_it(tmp_path, legacy):
    marker = tmp_path / 'ran'
    content = {'state_dict': {'w': torch.ones(2)}, 'x': Shell(marker)}
    path = saved(tmp_path, content, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(pickles.UnpicklingError, match=r'posix\.system'):
        load_checkpoint(path)
    assert not marker.exists()


@pytest.mark.parametrize('name', ['eval', 'exec', '__import__', 'open', 'compile'])
def test_refuses_builtins(name):
    payload = b'cbuiltins\n' + name.encode() + b"\n(S'1'\ntR."
    with pytest.raises(pickles.UnpicklingError, match=rf'builtins\.{name}'):
        pickles.load(io.BytesIO(payload))


def test_getattr_reaches_only_history_buffers():
    payload = b'cbuiltins\ngetattr\n(cbuiltins\nobject\nS"__subclasses__"\ntR.'
    with pytest.raises(pickles.UnpicklingError, match='__subclasses__'):
        pickles.load(io.BytesIO(payload))


def test_nested_checkpoints_are_checked_too(tmp_path):
    """A plain pickle holds a tensor as a checkpoint of its own (what --dump writes)."""
    assert torch.equal(pickles.load(io.BytesIO(pickle.dumps([torch.ones(2)])))[0], torch.ones(2))
    inner = io.BytesIO()
    torch.save(Shell(tmp_path / 'ran'), inner)

    class Storage:
        def __reduce__(self):
            return torch.storage._load_from_bytes, (inner.getvalue(),)

    class Outer:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (Storage(), 0, (2,), (1,), False, None)

    with pytest.raises(pickles.UnpicklingError, match=r'posix\.system'):
        pickles.load(io.BytesIO(pickle.dumps(Outer())))
    assert not (tmp_path / 'ran').exists()


def test_refuses_programs(tmp_path):
    path = tmp_path / 'program.pt'
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(str(path))
    with pytest.raises(pickles.UnpicklingError, match='TorchScript'):
        load_checkpoint(path)


def test_loads_every_parameter_scheduler(tmp_path):
    """Their states are part of a checkpoint that is resumed from; one of them holds a function."""
    from mmengine.optim import scheduler
    from mmengine.registry import PARAM_SCHEDULERS

    arguments = dict(
        OneCycleLR=dict(eta_max=1.0, total_steps=4), CosineAnnealingLR=dict(T_max=4), MultiStepLR=dict(milestones=[2]),
        CosineRestartLR=dict(periods=[4], eta_min=0.0), StepLR=dict(step_size=2), ExponentialLR=dict(gamma=0.5),
        ReduceOnPlateauLR=dict(monitor='loss'),
    )  # fmt: skip
    optimizer = torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), lr=0.1)
    names = [name for name in scheduler.__all__ if name.endswith('LR')]
    states = [PARAM_SCHEDULERS.get(name)(optimizer, **arguments.get(name, {})).state_dict() for name in names]
    loaded = load_checkpoint(saved(tmp_path, states))
    assert [state['last_step'] for state in loaded] == [state['last_step'] for state in states]
    one_cycle = loaded[names.index('OneCycleLR')]
    assert one_cycle['anneal_func'](0.0, 1.0, 0.5) == pytest.approx(0.5)


@pytest.mark.parametrize('legacy', [False, True])
def test_loads_what_checkpoints_hold(tmp_path, legacy):
    from mmengine.logging import HistoryBuffer

    history = HistoryBuffer()
    history.update(1.5)
    history.update(2.5)
    model = torch.nn.Linear(3, 2).half()
    optimizer = torch.optim.AdamW(torch.nn.Linear(3, 2).parameters())
    content = dict(
        state_dict=collections.OrderedDict(model.state_dict()),
        parameter=torch.nn.Parameter(torch.ones(2)),
        optimizer=optimizer.state_dict(),
        message_hub=dict(log_scalars={'loss': history}),
        numbers=[np.float64(1.5), np.int64(3), np.arange(6.0).reshape(2, 3), np.bool_(True)],
        args=argparse.Namespace(lr=0.1),
        kinds={1, 2},
        sizes=[torch.Size([1, 2]), torch.float16, torch.device('cpu')],
    )
    loaded = load_checkpoint(saved(tmp_path, content, _use_new_zipfile_serialization=not legacy), map_location='cpu')
    assert torch.equal(loaded['state_dict']['weight'], model.weight)
    assert loaded['message_hub']['log_scalars']['loss'].mean() == 2.0
    assert loaded['numbers'][2].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert loaded['args'].lr == 0.1 and loaded['kinds'] == {1, 2}
    assert loaded['sizes'] == content['sizes'] and torch.equal(loaded['parameter'], torch.ones(2))
