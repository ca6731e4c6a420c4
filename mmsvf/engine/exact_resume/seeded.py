"""Random transforms seeded for each sample, so that a resumed training has the random numbers it would have had.

MMEngine seeds the loader's processes once: what a sample draws then depends on the number of workers, on what the same
worker did before, and, without persistent workers, is the same in every epoch. Here each sample's generators are seeded
by (seed, rank, epoch, position in the epoch).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.registry import DATA_SAMPLERS as ROOT_SAMPLERS
from torch.utils.data import Sampler

from mmsvf.datasets.wrapper import DatasetWrapper
from mmsvf.registry import DATA_SAMPLERS, DATASETS


class Draw(int):
    """Index of a sample, with the numbers that its random transforms are seeded by: a sampler gives an index alone."""

    key: tuple[int, ...]

    def __new__(cls, index: int, key: tuple[int, ...] = ()) -> Draw:
        """An index whose transforms are seeded by ``key``."""
        self = super().__new__(cls, index)
        self.key = key
        return self


def seed_generators(*key: int) -> None:
    """Seed Python's, numpy's and torch's CPU generator by a few numbers."""
    state = np.random.SeedSequence(key).generate_state(3)
    random.seed(int(state[0]))
    np.random.seed(state[1])  # noqa: NPY002  (what OpenMMLab's transforms draw from)
    torch.default_generator.manual_seed(int(state[2]))


@DATA_SAMPLERS.register_module()
class NumberedSampler(Sampler):
    """Another sampler, whose indices carry (seed, rank, epoch, position in the epoch).

    MMEngine seeds a worker process once: what it draws depends on the number of workers and on where a training began.

    Args:
        dataset, seed: Handed over by the Runner.
        sampler: Config of the sampler that chooses the indices.
    """

    def __init__(self, dataset: Any, sampler: dict[str, Any], seed: int | None = None) -> None:
        self.sampler: Any = ROOT_SAMPLERS.build(dict(sampler), default_args=dict(dataset=dataset, seed=seed))
        self.seed = getattr(self.sampler, 'seed', 0) if seed is None else seed
        self.start = 0  # of an iteration-based training that resumes: so many indices are skipped

    def __iter__(self) -> Iterator[Any]:
        epoch, rank = int(getattr(self.sampler, 'epoch', 0)), get_rank()
        drawn = enumerate(self.sampler)
        for position, index in itertools.islice(drawn, self.start, None):
            key = int(self.seed or 0), rank, epoch, position
            yield Draw(index, key) if isinstance(index, int) else index  # samplers of tracking draw pairs

    def __len__(self) -> int:
        return len(self.sampler)

    def __getattr__(self, name: str) -> Any:
        if name == 'sampler':
            raise AttributeError(name)
        return getattr(self.sampler, name)

    def reseed(self, seed: int) -> None:
        """Take the seed of the training that is resumed."""
        self.seed = self.sampler.seed = seed


@DATASETS.register_module()
class SeededDataset(DatasetWrapper):
    """Another data set, whose random transforms are seeded by what the sampler's index carries; the rest is its own.

    Reason: :class:`NumberedSampler`.
    """

    def __init__(self, dataset: dict[str, Any] | Any) -> None:
        super().__init__(dataset)

    def __getitem__(self, index: int) -> Any:
        if not isinstance(index, Draw):
            return self.dataset[index]
        seed_generators(*index.key)
        sample = self.dataset[int(index)]
        found: Any = sample.get('data_samples') if isinstance(sample, dict) else None
        if hasattr(found, 'set_metainfo') and 'drawn_index' not in found:
            found.set_metainfo(dict(drawn_index=int(index)))  # by which an error can name the sample's file
        return sample


def seeded(loader: dict[str, Any]) -> None:
    """Put :class:`NumberedSampler` and :class:`SeededDataset` into the config of a training loader, in place."""
    sampler, dataset = loader.get('sampler'), loader.get('dataset')
    if isinstance(sampler, dict) and isinstance(dataset, dict) and 'NumberedSampler' not in str(sampler.get('type')):
        loader['sampler'] = dict(type='mmsvf.NumberedSampler', sampler=sampler)
        loader['dataset'] = dict(type='mmsvf.SeededDataset', dataset=dataset)
