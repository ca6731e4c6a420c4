"""A resumed training draws what is left, reads nothing twice, and makes up for the validation it owes."""

from contextlib import nullcontext
from typing import ClassVar

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS, PARAM_SCHEDULERS
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mmsvf.engine.exact_resume.hook import changed, plan, shared_seed
from mmsvf.engine.launch import add_training_safeguards
from mmsvf.files.checkpoints import load_checkpoint, save_checkpoint

READ: list[int] = []


class Numbers(Dataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        READ.append(index)
        return dict(inputs=torch.tensor([index + np.random.rand()]).float())  # noqa: NPY002


class Mean(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, inputs, mode='tensor'):
        out = torch.nn.functional.dropout(self.layer(torch.stack(list(inputs))), 0.5)
        return dict(loss=out.square().mean()) if mode == 'loss' else [out]


class Count(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        return dict(count=len(results))


@pytest.fixture(scope='module', autouse=True)
def registered():
    DATASETS.register_module(name='Numbers', module=Numbers, force=True)
    MODELS.register_module(name='Mean', module=Mean, force=True)
    METRICS.register_module(name='Count', module=Count, force=True)


def train(work_dir, by_epoch, until, resume=False, seed=1, name='', batch=2, optimizer=None, hook=None, **others):
    """Checkpoints and validation every 2 steps of 2 samples, or every epoch; returns the model and what was read."""
    READ.clear()
    loader = dict(batch_size=batch, num_workers=0, dataset=dict(type='Numbers'), collate_fn=dict(type='pseudo_collate'))
    sampler = dict(type='DefaultSampler' if by_epoch else 'InfiniteSampler', shuffle=True)
    loop = dict(type='EpochBasedTrainLoop', max_epochs=until, val_interval=1) if by_epoch else dict(
        type='IterBasedTrainLoop', max_iters=until, val_interval=2)  # fmt: skip
    cfg = Config(
        dict(
            model=dict(type='Mean'), work_dir=str(work_dir), train_cfg=loop, val_cfg=dict(type='ValLoop'),
            train_dataloader=dict(loader, sampler=sampler), val_evaluator=dict(type='Count'),
            val_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=False)),
            optim_wrapper=dict(optimizer=optimizer or dict(type='SGD', lr=0.1, momentum=0.9)), resume=resume,
            randomness=dict(seed=seed), experiment_name=f'{work_dir.name}{by_epoch}{until}{resume}{name}',
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=2 - by_epoch, by_epoch=by_epoch)),
        )
    )  # fmt: skip
    cfg.default_hooks.exact_resume = hook or {}
    cfg.merge_from_dict(others)
    add_training_safeguards(cfg, work_dir / 'unreadable.txt')
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


@pytest.mark.parametrize('by_epoch', [True, False])
def test_what_is_left_is_what_would_have_come(by_epoch, tmp_path):
    """Also where the first start had another seed on its command line than none."""
    whole = train(tmp_path / 'whole', by_epoch, 4)
    seen = list(READ)
    train(tmp_path / 'parts', by_epoch, 2)
    first = list(READ)
    parts = train(tmp_path / 'parts', by_epoch, 4, resume=True, seed=None)
    for one, two in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.equal(one, two)
    validation = 5  # owed after step 2: as it may have been cut short, it is done again
    assert first + READ[validation:] == seen, 'nothing is read twice'


BY_ITERATIONS = {
    'default_hooks.checkpoint': dict(by_epoch=False, interval=1, save_best='count', rule='greater'),
    'param_scheduler': [
        dict(type='MultiStepLR', milestones=[1, 2]),
        dict(type='ExponentialLR', gamma=0.9, by_epoch=False),
    ],
}


@pytest.mark.parametrize(('iteration', 'workers'), [(1, 0), (2, 0), (3, 0), (4, 0), (6, 0), (8, 0), (4, 2)])
def test_an_epoch_goes_on_where_a_checkpoint_by_iterations_lies_in_it(iteration, workers, tmp_path):
    """Three batches an epoch; those of iterations 3 and 6 are of epochs that have yet to end."""
    options = dict(BY_ITERATIONS, **{'train_dataloader.num_workers': workers})
    options['train_dataloader.persistent_workers'] = bool(workers)
    whole = train(tmp_path / 'whole', True, 3, **options)
    seen = list(READ)
    path = str(tmp_path / 'whole' / f'iter_{iteration}.pth')
    parts = train(tmp_path / 'parts', True, 3, resume=True, load_from=path, **options)
    for one, two in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.equal(one, two)
    assert (parts.iter, parts.epoch) == (9, 3) and parts.optim_wrapper.get_lr() == whole.optim_wrapper.get_lr()
    if not workers:
        epochs, batches = divmod(iteration, 3)
        validation = 0 if batches else 5  # at an epoch's end it is to come
        assert seen[epochs * 10 + batches * 2 - validation :] == READ, 'nothing is read twice'
    log = ''.join(log.read_text() for log in (tmp_path / 'parts').rglob('*.log'))
    assert 'not the uninterrupted training' not in log


@pytest.mark.parametrize('iteration', [3, 4])
def test_gradients_between_two_steps_are_in_the_checkpoint(iteration, tmp_path):
    """A step takes two batches, an epoch has three: at its end, iteration 3, one is left over."""
    options = dict(BY_ITERATIONS, **{'optim_wrapper.accumulative_counts': 2})
    whole = train(tmp_path / 'whole', True, 3, **options)
    path = tmp_path / 'whole' / f'iter_{iteration}.pth'
    assert ('gradients' in load_checkpoint(path)) == (iteration % 2 == 1)
    parts = train(tmp_path / 'parts', True, 3, resume=True, load_from=str(path), **options)
    for one, two in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(
    ('gradients', 'fit'),
    [
        (lambda g: {f'module.{name}': value for name, value in g.items()}, True),  # of one process with a wrapper
        (lambda g: {f'other.{name}': value for name, value in g.items()}, False),
        (lambda g: {name: torch.zeros(7) for name in g}, False),
        (lambda g: dict.fromkeys(g), False),
        (lambda g: 'gradients', False),
    ],
    ids=['wrapped', 'names', 'shapes', 'none', 'text'],
)
def test_gradients_of_another_model_are_refused(gradients, fit, tmp_path):
    options = {'optim_wrapper.accumulative_counts': 2, 'default_hooks.checkpoint': dict(interval=1, by_epoch=False)}
    options.update({'default_hooks.checkpoint.save_best': 'count', 'default_hooks.checkpoint.rule': 'greater'})
    train(tmp_path, False, 4, name='first', **options)
    assert 'gradients' not in load_checkpoint(next(tmp_path.glob('best*'))), 'nothing goes on from it'
    path = tmp_path / 'iter_3.pth'
    content = load_checkpoint(path)
    kept = {name: value.clone() for name, value in content['gradients'].items()}
    save_checkpoint({**content, 'gradients': gradients(content['gradients'])}, path)
    hook = dict(type=KeepGradients, priority='VERY_LOW')
    expected = nullcontext() if fit else pytest.raises(ValueError, match=r'not of this model; .*load_from=FILE')
    with expected:
        train(tmp_path / tmp_path.name, False, 4, True, load_from=str(path), custom_hooks=[hook], **options)
        assert all(torch.equal(KeepGradients.kept[name], value) for name, value in kept.items())


class KeepGradients(Hook):
    """Keeps those that a training begins with."""

    kept: ClassVar[dict[str, torch.Tensor]] = {}

    def before_train(self, runner):
        named = runner.model.named_parameters()
        KeepGradients.kept = {name: p.grad.clone() for name, p in named if p.grad is not None}


def test_a_place_in_an_epoch_that_is_not_known_is_said(tmp_path):
    train(tmp_path / 'first', True, 1, **BY_ITERATIONS)
    path = tmp_path / 'first' / 'iter_2.pth'
    for change in (None, [2, 4], [2, 3, 1], 'x', [9, 3], [-1, 3]):
        content = load_checkpoint(path)
        content['meta']['batches_of_epoch'] = change
        save_checkpoint(content, path)
        folder = tmp_path / str(change)
        train(folder, True, 1, resume=True, load_from=str(path), **BY_ITERATIONS)
        assert len(READ) == 10
        log = ''.join(log.read_text() for log in folder.rglob('*.log'))
        assert 'of iteration 2, within epoch 1, ' in log and 'Save by epochs' in log


def test_a_validation_that_is_due(tmp_path):
    done = train(tmp_path / 'run', True, 2)
    assert done.iter == 6
    again = train(tmp_path / 'run', True, 2, resume=True, name='again')
    assert again.iter == 6 and sorted(READ) == [0, 1, 2, 3, 4], 'the validation set, and nothing of the training set'
    assert again.message_hub.get_scalar('val/count').current() == 3


def test_the_seed_that_processes_share(monkeypatch):
    class Second:
        seed, cfg = 8, {'randomness': {'diff_rank_seed': True}}

    monkeypatch.setattr('mmsvf.engine.exact_resume.hook.get_rank', lambda: 1)
    assert shared_seed(Second) == 7
    Second.cfg = {'randomness': {}}
    assert shared_seed(Second) == 8


def resumed(folder, change=None, **options):
    """Resume a run of two iterations, after a change to its checkpoint or to its config."""
    train(folder, False, 2, name='first')
    path = folder / 'iter_2.pth'
    content = load_checkpoint(path)
    save_checkpoint(content if change is None else change(content) or content, path)
    return train(folder, False, 4, resume=True, name='second', **options)


PUBLISHED = r"no training state \(it lacks \['message_hub', 'optimizer'\]\); .*load_from=FILE"


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: dict(meta=c['meta'], state_dict=c['state_dict']), PUBLISHED),
        (lambda c: dict(c['state_dict']), r"lacks \['meta', 'state_dict', .*'meta\.epoch'"),
        (lambda c: [1], 'the file holds a list; a checkpoint is a dict'),
        (lambda c: c.pop('optimizer') and None, r"lacks \['optimizer'\]"),
        (lambda c: c['meta'].update(epoch=-5), r"lacks \['meta\.epoch'\]"),
        (lambda c: c['meta'].update(seed='x'), "has the seed 'x'"),
        (lambda c: c['state_dict'].pop('layer.weight') is None, r'another model: .*1 new \(layer\.weight\)'),
        (lambda c: c['state_dict'].update({'layer.bias': torch.zeros(2)}), r'layer\.bias: \(2,\) in the file'),
    ],
    ids=['published', 'bare', 'list', 'no_optimizer', 'epoch', 'seed', 'missing', 'shape'],
)
def test_what_cannot_be_resumed_says_why(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        resumed(tmp_path, change)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(optimizer=dict(type='AdamW', lr=0.1)), 'its optimizer has .*eps'),
        (
            dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.3)),
            r"its optimizer has {'weight_decay': 0}, this one {'weight_decay': 0\.3}",
        ),
        (dict(batch=1), 'it took 2 samples per step, this training takes 1'),
        (dict(param_scheduler=[dict(type='ConstantLR')]), r'it has 0 schedules \(param_scheduler\), this one 1'),
    ],
)
def test_another_optimizer_batch_or_number_of_schedules_is_refused(options, message, tmp_path):
    with pytest.raises(ValueError, match=message + r'.*exact_resume\.strict=False'):
        resumed(tmp_path, **options)


@pytest.mark.parametrize(
    ('schedule', 'longer', 'message'),
    [
        (dict(type='OneCycleLR', eta_max=0.1, total_steps=4), dict(total_steps=6), "{'total_steps': 4}, this one"),
        (dict(type='CosineAnnealingLR', T_max=4, by_epoch=False), dict(T_max=6), "{'T_max': 4}, this one"),
        (dict(type='PolyLR', by_epoch=False), {}, "{'total_iters': 3}, this one"),
        (
            dict(type='MultiStepLR', milestones=[2, 5]),
            dict(milestones=[3]),
            r"{'milestones': Counter\(.*\)}, t",
        ),
        (
            dict(type='OneCycleLR', eta_max=0.1, total_steps=6),
            dict(pct_start=0.7),
            "{'_schedule_phases': .*}, t",
        ),
        (
            dict(type='OneCycleLR', eta_max=0.1, total_steps=6),
            dict(anneal_strategy='linear'),
            "{'anneal_func': '_annealing_cos'}, this one",
        ),
    ],
    ids=lambda value: str(value.get('type')) if isinstance(value, dict) else None,
)
def test_another_schedule_is_refused(schedule, longer, message, tmp_path):
    """That of the checkpoint would go on: one of four steps, at a rate of nothing."""
    train(tmp_path, False, 4, name='first', param_scheduler=[schedule])
    expected = (
        pytest.raises(ValueError, match=f'its schedule {schedule["type"]} has {message}') if message else nullcontext()
    )
    with expected:
        train(tmp_path, False, 6, resume=True, name='second', param_scheduler=[{**schedule, **longer}])


@pytest.mark.parametrize('damage', [dict(end='x'), dict(_global_step='x'), {1: 2}, None])
def test_a_damaged_state_of_schedules_is_one_of_another(damage, tmp_path):
    schedule = [dict(type='ConstantLR', by_epoch=False)]
    train(tmp_path, False, 2, name='first', param_scheduler=schedule)
    content = load_checkpoint(tmp_path / 'iter_2.pth')
    states = content['param_schedulers']
    content['param_schedulers'] = 5 if damage is None else [{**states[0], **damage}]
    save_checkpoint(content, tmp_path / 'iter_2.pth')
    with pytest.raises(ValueError, match='its schedule ConstantLR has' if damage else 'it has 0 schedules'):
        train(tmp_path, False, 4, resume=True, name='second', param_scheduler=schedule)


@pytest.mark.parametrize(
    ('before', 'after'),
    [
        (dict(type='StepLR', step_size=2, gamma=0.5), dict(type='ExponentialLR', gamma=0.5)),
        (dict(type='ExponentialLR', gamma=0.5), dict(type='MultiStepLR', milestones=[2], gamma=0.5)),
        (dict(type='MultiStepLR', milestones=[2], gamma=0.5), dict(type='ExponentialLR', gamma=0.5)),
    ],
)
def test_a_schedule_whose_options_the_one_before_had_too_is_another(before, after):
    """With one state it would go on as the other."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    had, has = (PARAM_SCHEDULERS.build(dict(kind, optimizer=optimizer)).state_dict() for kind in (before, after))
    assert changed(plan(had), plan(has)) and not changed(plan(has), plan(has))


@pytest.mark.parametrize(
    'schedule',
    [
        dict(type='CosineAnnealingLR', T_max=9),
        dict(type='MultiStepLR', milestones=[4, 5]),
        dict(type='StepLR', step_size=2),
    ],
    ids=lambda schedule: schedule['type'],
)
def test_a_longer_training_goes_on_with_its_schedule(schedule, tmp_path):
    """MMEngine's schedules end with the training that a checkpoint is of."""
    whole = train(tmp_path / 'whole', False, 6, name='whole', param_scheduler=[dict(by_epoch=False, **schedule)])
    train(tmp_path, False, 4, name='first', param_scheduler=[dict(by_epoch=False, **schedule)])
    longer = train(tmp_path, False, 6, resume=True, name='second', param_scheduler=[dict(by_epoch=False, **schedule)])
    rates = [runner.optim_wrapper.get_lr()['lr'] for runner in (whole, longer)]
    assert rates[0] == rates[1] < [0.1]
    for one, two in zip(whole.model.parameters(), longer.model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_it_may_be_gone_on_with_regardless(tmp_path):
    assert resumed(tmp_path, batch=1, hook=dict(strict=False)).iter == 4
    log = ''.join(path.read_text() for path in tmp_path.rglob('*.log'))
    assert 'not the training that the checkpoint to resume from was written by: it took 2 samples' in log
