"""Training on data of which some files are broken, as many of Kinetics' are."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmsvf.datasets.reading import UnreadableError
from mmsvf.datasets.wrapper import DatasetWrapper, sample_name
from mmsvf.registry import DATASETS

ATTEMPTS = 50


@DATASETS.register_module()
class SkipUnreadable(DatasetWrapper):
    """Another data set, of which samples that cannot be read are replaced by others drawn at random.

    MMEngine's ``BaseDataset`` draws again where a transform returns None; what a reader raises ends the training.

    Each unreadable file is logged once and listed with its error in ``report``, one line per file, whatever the number
    of workers and processes. Everything else is passed on to the data set.

    Args:
        dataset: Config of the data set, for training: a metric over replaced samples would be wrong.
        limit: How many files may be unreadable: a number, or below 1 a fraction of the data set.
        report: The list; it goes on where it is, and lies in the work-dir with ``tools/train.py``.

    Raises:
        RuntimeError: more unreadable files than the limit.
    """

    def __init__(self, dataset: dict[str, Any] | Any, limit: float = 0.01, report: str = 'unreadable.txt') -> None:
        if not limit > 0:
            raise ValueError(f'limit={limit!r}; a number of files, or below 1 a fraction of the data set')
        super().__init__(dataset, limit=limit, report=Path(report))
        if getattr(self.dataset, 'test_mode', False):
            raise ValueError(
                'SkipUnreadable is for training: a metric over replaced samples would be wrong. '
                'tools/analysis/check_videos.py writes a list without the broken files'
            )

    def __getitem__(self, index: int) -> Any:
        for attempt in range(ATTEMPTS):
            try:
                sample = self.dataset[index]
            except Exception as error:
                named = isinstance(error, UnreadableError) and error.filename
                self._note(named or sample_name(self.dataset, index), error)
                index = int(np.random.randint(len(self.dataset)))  # noqa: NPY002  (seeded with the sample's draw)
                continue
            found: Any = sample.get('data_samples') if attempt and isinstance(sample, dict) else None
            if hasattr(found, 'set_metainfo'):
                found.set_metainfo(dict(drawn_index=index))
            return sample
        raise RuntimeError(f'{ATTEMPTS} samples in a row could not be read; see {self.report}')

    def _note(self, name: str, error: Exception) -> None:
        """List a file once, over all workers and processes, and stop beyond the limit."""
        self.report.parent.mkdir(parents=True, exist_ok=True)
        reason = ' '.join(f'{type(error).__name__}: {error}'.split())
        with self.report.open('a+', encoding='utf-8') as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
            file.seek(0)
            listed = [line.split('\t')[0] for line in file]
            if name not in listed:
                file.write(f'{name}\t{reason}\n')
                listed.append(name)
                print_log(f'unreadable, skipped: {name} ({reason})', logger='current', level=logging.WARNING)
        allowed = self.limit if self.limit >= 1 else self.limit * len(self.dataset)
        if len(listed) > allowed:
            raise RuntimeError(
                f'{len(listed)} files could not be read, and {self.limit:g} of {len(self.dataset)} may be; the list is '
                f'{os.path.abspath(self.report)}; the last one: {name} ({reason}). If the data is where the config '
                'says and the decoder is right, raise the limit'
            )
