"""tools/analysis/memory_limit.py: what it adds up is what torch allocates, and its limits are the limits."""

import argparse
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch.profiler import ProfilerActivity, profile

from mmsvf.analysis import memory_limit as limit
from mmsvf.analysis.models import build_model, scores
from mmsvf.engine.run_config import load_config
from tests.tools.test_train_and_test import ROOT, tool

CONFIG = 'configs/demo/svf_moving_digits.py'


def allocated(model, x, training):
    """Peak of what torch's CPU allocator handed out during a step, beside what was there."""
    model.train(training)
    scores(model, x).mean()  # kernels compile, buffers grow
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run, torch.set_grad_enabled(training):
        y = scores(model, x).mean()
        if training:
            y.backward()
    events = [e for e in run.profiler.kineto_results.events() if e.name() == '[memory]']
    now = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


@pytest.mark.parametrize('options', [{}, {'model.backbone.with_cp': True}], ids=['plain', 'with_cp'])
@pytest.mark.parametrize('training', [False, True], ids=['inference', 'training'])
def test_peak_is_what_torch_allocates(training, options):
    cfg = Config.fromfile(ROOT / CONFIG)
    cfg.merge_from_dict(options)
    init_default_scope('mmaction')
    model, _ = build_model(cfg)
    x = torch.randn(2, 3, 16, 64, 64)
    own = sum(t.untyped_storage().nbytes() for t in (x, *model.parameters(), *model.buffers()))
    expected = own + allocated(model, x, training)
    found = limit.peak(cfg, (3, 16, 64, 64), 2, training)
    # what an operation allocates for itself is workspace, here 2 to 3.2 MB
    assert expected - 3.5e6 < found <= expected * 1.001


def test_optimizer_state():
    """AdamW keeps two numbers a parameter, and a step count."""
    cfg = load_config(str(ROOT / CONFIG))
    parameters = sum(p.numel() for p in build_model(cfg)[0].parameters())
    assert limit.optimizer_state(cfg) == pytest.approx(8 * parameters, rel=0.01)


def test_limits():
    """Of costs that are as guessed, and of costs that are not."""
    assert limit.largest(lambda n: 100 + 7 * n, 1000, 8, 1) == 128
    assert limit.largest(lambda n: 100 + 7 * n * n, 1000, 2, 2) == 11
    assert limit.largest(lambda n: 100 + 7 * n + n**1.5, 1000, 8, 1) == 60
    assert limit.largest(lambda n: 100 + 7 * n, 100, 8, 1) == 0
    sizes = ('24GB', '80 GiB', '500M', '1.5kb', '7')
    assert [limit.size(text) for text in sizes] == [24 * 10**9, 80 * 2**30, 5 * 10**8, 1500, 7]
    with pytest.raises(argparse.ArgumentTypeError, match="'much' is no size; write 24GB"):
        limit.size('much')


def test_command():
    """The clip it names fits and one frame more does not; recomputing branches would make room for it."""
    log = tool('analysis/memory_limit', CONFIG, '--memory', '200MB', '--batch', '2')
    rows = re.findall(r'^\| (training|inference) \| (\d) \| ([\d.]+) GB \| (\d+) \| (\d+) \|', log, re.M)
    assert [row[:2] for row in rows] == [('training', '2'), ('inference', '1')]
    longest, inference = (int(row[3]) for row in rows)
    assert longest < inference
    cfg = load_config(str(ROOT / CONFIG))
    room = 200e6 - limit.optimizer_state(cfg)

    def peak(steps):
        return limit.peak(cfg, (3, steps, 48, 48), 2, True)

    assert peak(longest) <= room < peak(longest + 1)
    cfg.model.backbone.with_cp = True
    assert peak(2 * longest) <= room
