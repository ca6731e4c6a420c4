"""What a sample draws depends on seed, rank, epoch and position, and on nothing else."""

import copy
import pickle
from itertools import chain

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import DefaultSampler
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mmsvf.engine.exact_resume.seeded import Draw, NumberedSampler, SeededDataset, seeded


class Noise(Dataset):
    """Samples are random numbers of all three generators."""

    scale = 1

    def __init__(self):
        self.metainfo = {'classes': ('a',)}

    def __len__(self):
        return 7

    def __getitem__(self, index):
        import random

        assert type(index) is int
        return [index, random.random(), np.random.rand(), torch.rand(()).item()]  # noqa: NPY002


@pytest.fixture(scope='module', autouse=True)
def registered():
    DATASETS.register_module(name='Noise', module=Noise, force=True)


def batches(workers=0, persistent=False, epochs=2, seed=3, start=0):
    cfg = ConfigDict(
        batch_size=2, num_workers=workers, persistent_workers=persistent, dataset=dict(type='Noise'),
        sampler=dict(type='DefaultSampler', shuffle=True), collate_fn=dict(type='default_collate'),
    )  # fmt: skip
    seeded(cfg)
    loader = Runner.build_dataloader(cfg, seed=seed)
    loader.batch_sampler.sampler.start = start
    found = []
    for epoch in range(epochs):
        loader.batch_sampler.sampler.set_epoch(epoch)
        found.append([torch.stack([part.double() for part in batch]) for batch in loader])
    return found


def test_workers_make_no_difference():
    alone = batches()
    for other in (batches(2), batches(2, persistent=True), batches(1)):
        for one, two in zip(chain(*alone), chain(*other), strict=True):
            assert torch.equal(one, two)


def test_epochs_and_seeds_differ():
    first, second = batches()
    other, _ = batches(seed=4)

    def drawn(epoch):
        return {value for batch in epoch for value in batch[1:].flatten().tolist()}

    assert len(drawn(first)) == 21, 'no number is drawn twice'
    assert not drawn(first) & drawn(second) and not drawn(first) & drawn(other)


def test_a_later_start_is_the_same_sequence():
    (whole,) = batches(epochs=1)
    (rest,) = batches(epochs=1, start=4)
    assert len(rest) == 2 and all(torch.equal(a, b) for a, b in zip(whole[2:], rest, strict=True))


def test_the_wrapped_data_set_shows_through():
    dataset = SeededDataset(dict(type='Noise'))
    assert len(dataset) == 7 and dataset.metainfo == {'classes': ('a',)}
    dataset.scale = 2
    assert dataset.dataset.scale == 2 and dataset.scale == 2
    for other in (copy.deepcopy(dataset), pickle.loads(pickle.dumps(dataset))):
        assert other.scale == 2
    with pytest.raises(AttributeError):
        dataset.nothing  # noqa: B018


def test_a_draw_is_an_index_that_survives_a_pipe():
    draw = pickle.loads(pickle.dumps(Draw(4, (1, 2))))
    assert draw == 4 and [10, 11, 12, 13, 14][draw] == 14 and draw.key == (1, 2)


def test_the_sampler_passes_on_what_hooks_ask():
    sampler = NumberedSampler(Noise(), dict(type='DefaultSampler', shuffle=True), seed=1)
    assert isinstance(sampler.sampler, DefaultSampler) and len(sampler) == 7
    sampler.set_epoch(5)
    assert sampler.epoch == 5
    sampler.reseed(9)
    assert sampler.sampler.seed == 9 and next(iter(sampler)).key == (9, 0, 5, 0)


def test_a_loader_is_wrapped_once():
    loader = ConfigDict(dataset=dict(type='Noise'), sampler=dict(type='DefaultSampler'))
    seeded(loader)
    again = copy.deepcopy(loader)
    seeded(again)
    assert again == loader
