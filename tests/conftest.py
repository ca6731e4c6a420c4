"""Shared fixtures: everything is generated; golden outputs and real clips are used where they are."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')  # two OpenMP threads on a busy machine wait for each other

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT.parent / 'shared' / 'golden'
REAL = ROOT.parent / 'shared' / 'real'


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  (what OpenMMLab's transforms draw from)


@pytest.fixture(scope='session')
def real_clips() -> Path:
    """Folder of real video files."""
    if not REAL.is_dir():
        pytest.skip(f'no real clips at {REAL}')
    return REAL


@pytest.fixture(scope='session')
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few videos of the embedded default, in its on-disk format."""
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp('digits')
    script = ROOT / 'tools' / 'dataset_converters' / 'moving_digits.py'
    command = [sys.executable, str(script), str(folder), '--train', '8', '--val', '4', '--frames', '10']
    subprocess.run(command, check=True, capture_output=True)
    return folder
