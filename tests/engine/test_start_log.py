"""The first lines of a run: short on the console, whole in the log file, each parameter in a table."""

import csv
import logging
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.config import config as mmengine_config
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.runner.checkpoint import load_state_dict

from mmsvf.engine.start_log import short_start


@pytest.fixture(autouse=True)
def scope():
    """A Runner without a scope would leave MMEngine's to the tests after it, which look for other frameworks' parts."""
    yield
    init_default_scope('mmaction')


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = torch.nn.Linear(2, 3), torch.nn.Linear(3, 1)
        self.frozen = torch.nn.Parameter(torch.zeros(4), requires_grad=False)

    def forward(self, inputs, mode='loss'):
        return dict(loss=self.head(self.backbone(inputs)).sum())


CONFIG = dict(
    train_dataloader=dict(
        batch_size=1,
        dataset=[dict(inputs=torch.zeros(2))],
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    ),
    train_cfg=dict(by_epoch=True, max_epochs=1),
    optim_wrapper=dict(
        optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.02),
        paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=10)), bias_decay_mult=0.0),
    ),
    custom_hooks=[dict(type='mmsvf.OptimizerReportHook')],
    randomness=dict(seed=7),
)


def started(tmp_path, capsys, **options):
    """Console and log file of a training of one step, how often its config was formatted, and its runner."""
    calls, format_code = [], mmengine_config.FormatCode

    def counted(text, **options):
        calls.append(text)
        return format_code(text, **options)

    cfg = {**CONFIG, 'experiment_name': tmp_path.name, **options}  # runs of one second would share a logger
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine_config, 'FormatCode', counted)
        with short_start():
            runner = Runner(Model(), str(tmp_path), cfg=Config({'note': 'in the file'}), **cfg)
            runner.train()
    file = next(handler for handler in runner.logger.handlers if isinstance(handler, logging.FileHandler))
    with open(file.baseFilename, encoding='utf-8') as log:
        return capsys.readouterr().out, log.read(), calls, runner


def test_a_screen_on_the_console_and_all_in_the_file(tmp_path, capsys):
    console, file, calls, runner = started(tmp_path, capsys)
    before = console.split('Epoch(train)')[0]
    assert len(before.splitlines()) < 12, before
    assert 'process on CPU, seed 7; environment, config and hooks are in ' in before
    for said in ('System environment:\n', "note = 'in the file'", 'before_train_iter:', '"FileClient" will be'):
        assert said in file and said not in console
    assert 'paramwise_options' not in console + file
    line = 'optimizer: AdamW; 2 tensors with lr 0.01, weight decay 0.02; 1 tensors with lr 0.001, weight decay 0.02; '
    assert line in console and line in file and 'requires_grad' not in console + file
    assert '1 tensors of the model are frozen; each is in' in console
    assert len(calls) == 1, 'formatted once'
    with open(f'{runner.log_dir}/vis_data/optimizer.csv', encoding='utf-8') as table:
        rows = {row['parameter']: row for row in csv.DictReader(table)}
    assert list(rows) == ['backbone.weight', 'backbone.bias', 'head.weight', 'head.bias', 'frozen']
    assert rows['head.weight'] == dict(
        optimizer='', parameter='head.weight', shape='1x3', lr='0.01', weight_decay='0.02'
    )
    assert rows['backbone.bias']['weight_decay'] == '0.0' and rows['frozen']['lr'] == 'frozen'


def test_what_a_checkpoint_lacks_is_cut_on_the_console(tmp_path, capsys):
    with short_start():
        runner = Runner(Model(), str(tmp_path), experiment_name=tmp_path.name)
        capsys.readouterr()
        load_state_dict(torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in range(200)), {})
        load_state_dict(torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in range(2)), {})
    cut, whole = capsys.readouterr().out.split('do not match exactly')[1:]
    assert 'missing keys in source state_dict: 0.weight, 0.bias' in cut and '199.bias' not in cut and len(cut) < 700
    assert 'all of it is in ' in cut and '1.weight, 1.bias' in whole and 'all of it' not in whole
    file = next(handler for handler in runner.logger.handlers if isinstance(handler, logging.FileHandler))
    assert '199.bias' in Path(file.baseFilename).read_text(encoding='utf-8')


def test_everything_everywhere_at_debug_level(tmp_path, capsys):
    console, file, *_ = started(tmp_path, capsys, log_level='DEBUG')
    for text in (console, file):
        assert 'System environment:\n' in text and "note = 'in the file'" in text and 'paramwise_options -- ' in text


def test_it_ends_with_the_block(tmp_path):
    original = MMLogger.__init__, mmengine_config.FormatCode
    with pytest.raises(ZeroDivisionError), short_start():
        raise ZeroDivisionError
    assert (MMLogger.__init__, mmengine_config.FormatCode) == original
