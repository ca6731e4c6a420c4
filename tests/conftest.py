"""Shared fixtures: everything is generated; golden outputs and real clips are used where they are."""

from __future__ import annotations

import gc
import os
import runpy
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_NUM_THREADS', '1')  # two OpenMP threads on a busy machine wait for each other

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

import tests.tools.plain_configs  # noqa: F401

ROOT = Path(__file__).parent.parent
GOLDEN = Path(os.environ.get('MMSVF_GOLDEN', ROOT.parent / 'shared' / 'golden'))
REAL = ROOT.parent / 'shared' / 'real'
FRAMES = 24  # of each recording


def python_path(folder: Path) -> str:
    """PYTHONPATH of a process that looks into a folder first, and then where this one looks."""
    return os.pathsep.join(filter(None, [str(folder), os.environ.get('PYTHONPATH')]))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption('--kills', type=int, default=1, help='kills of each interrupted training (test_resume.py)')
    parser.addoption('--all-configs', action='store_true', help='run every compared config (test_as_shipped.py)')
    parser.addoption('--repeat', type=int, default=1, help='tests on two processes in a row (test_two_processes.py)')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders whose files take minutes come first, so that in the end no process waits for one that has begun late."""
    items.sort(key=lambda item: item.path.parent.name not in ('benchmarks', 'configs', 'tools'))


@pytest.fixture(scope='module', autouse=True)
def collected() -> None:
    """What is there before a file's tests is not looked through again: MMEngine's data sets call ``gc.collect``.

    With the frameworks loaded that is a third of a second each time, and these are built hundreds of times.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  (what OpenMMLab's transforms draw from)


class SameNumbers(TorchFunctionMode):
    """Random numbers are drawn on the CPU and moved: on a GPU a test has the numbers that it has on a CPU.

    What a test asks of its numbers, such as a gradient for each parameter, does not hold of all numbers.
    """

    DRAWN = 'rand', 'randn', 'randint'
    FILLED = 'uniform_', 'normal_', 'bernoulli_', 'kaiming_uniform_', 'kaiming_normal_'

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, '__name__', ''), dict(kwargs or {})
        if name in self.DRAWN:
            device, grad = kwargs.pop('device', None), kwargs.pop('requires_grad', False)
            return func(*args, **kwargs, device='cpu').to(device or self.device).requires_grad_(grad)
        if name in ('rand_like', 'randn_like'):
            return func(args[0].detach().cpu(), *args[1:], **kwargs).to(args[0].device)
        if name in self.FILLED:  # torch.nn.init's, which names its argument, and the tensor's own
            tensor, args = (args[0], args[1:]) if args else (kwargs.pop('tensor'), ())
            with torch.no_grad():
                return tensor.copy_(func(tensor.detach().cpu(), *args, **kwargs))
        return func(*args, **kwargs)


@pytest.fixture(params=['cpu', *[pytest.param('cuda', marks=pytest.mark.gpu)] * torch.cuda.is_available()])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where tensors and modules are made: a test that has this runs on the GPU as well, where there is one.

    In fp32 as it is, without TF32, with algorithms that give the same sums each time, and the CPU's random numbers.
    """
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', True)
    with torch.device(request.param), SameNumbers(request.param) if request.param != 'cpu' else nullcontext():
        yield request.param


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

    folder = tmp_path_factory.mktemp('digits')
    script = ROOT / 'tools' / 'dataset_converters' / 'moving_digits.py'
    command = [sys.executable, str(script), str(folder), '--train', '8', '--val', '4', '--frames', '10']
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope='session')
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ImageNet: crops of scikit-image's pictures, 4 classes of the 1000, in mmpretrain's layout."""
    import cv2
    import skimage

    folder = tmp_path_factory.mktemp('imagenet')
    rng = np.random.default_rng(0)
    classes = {'astronaut.png': 0, 'chelsea.png': 281, 'coffee.png': 967, 'rocket.jpg': 657}
    for split, count in (('train', 4), ('val', 2)):
        lines = []
        for i, (name, label) in enumerate(classes.items()):
            picture = cv2.imread(str(Path(skimage.__file__).parent / 'data' / name))
            (folder / split / f'n{i:08d}').mkdir(parents=True)
            for j in range(count):
                top, left = (int(rng.integers(0, side - 256)) for side in picture.shape[:2])
                file = f'n{i:08d}/{split}_{j}.JPEG'
                cv2.imwrite(str(folder / split / file), picture[top : top + 256, left : left + 280])
                lines.append(f'{file} {label}')
        (folder / 'meta').mkdir(exist_ok=True)
        (folder / 'meta' / f'{split}.txt').write_text('\n'.join(lines) + '\n')
    return folder


@pytest.fixture(scope='session')
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """MMHPSD of the embedded figure: the same recordings in layout A and in layout B."""
    folders = {}
    script = str(ROOT / 'tools' / 'dataset_converters' / 'moving_body.py')
    for layout in 'ab':
        folders[layout] = tmp_path_factory.mktemp(f'mmhpsd_{layout}')
        arguments = [script, str(folders[layout]), '--train', '2', '--test', '1', '--frames', str(FRAMES)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, 'argv', [*arguments, '--workers', '1', '--layout', layout])
            runpy.run_path(script, run_name='__main__')
    return folders
