"""tools/test.py --fuse: the same predictions from the exact inference form."""

import pickle

import pytest
import torch

from .test_analysis import CHECKPOINT, CONFIG, data
from .test_train_and_test import tool


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp('moving_digits')
    tool('dataset_converters/moving_digits', folder, '--train', '2', '--val', '5')
    return folder


def test_fused_predictions_are_the_same(digits, tmp_path):
    scores = []
    for options in ([], ['--fuse'], ['--fuse', '--engine', 'events']):
        dump = tmp_path / f'{len(scores)}.pkl'
        log = tool('test', CONFIG, CHECKPOINT, '--work-dir', tmp_path, '--dump', dump, *options, *data(digits))
        assert ('model fused' in log) == bool(options) and 'acc/top1' in log
        assert ('engine events:' in log and 'layers and sizes, mean rate' in log) == ('events' in options)
        with dump.open('rb') as file:
            scores.append(torch.stack([sample['pred_score'] for sample in pickle.load(file)]))
    # a spike may flip where a membrane is within rounding of its threshold
    for found in scores[1:]:
        assert torch.equal(scores[0].argmax(1), found.argmax(1))
        assert (scores[0] - found).abs().max() < 0.05 and (scores[0] - found).abs().median() < 1e-4


def test_compile_needs_fuse(tmp_path):
    with pytest.raises(AssertionError, match='--compile goes with --fuse'):
        tool('test', CONFIG, CHECKPOINT, '--work-dir', tmp_path, '--compile')
    with pytest.raises(AssertionError, match='--engine events goes with --fuse and without --compile'):
        tool('test', CONFIG, CHECKPOINT, '--work-dir', tmp_path, '--engine', 'events')
