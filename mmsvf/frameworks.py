"""The OpenMMLab packages mmsvf plugs into, and what to say when one is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple


class Framework(NamedTuple):
    """One framework: its distribution and the extra of mmsvf that has its dependencies."""

    distribution: str
    extra: str


FRAMEWORKS = {
    'mmaction': Framework('mmaction2==1.2.0', 'action'),
    'mmseg': Framework('mmsegmentation==1.2.2', 'seg'),
    'mmpose': Framework('mmpose==1.3.2 mmdet==3.3.0', 'pose'),
    'mmdet': Framework('mmdet==3.3.0', 'pose'),
    'mmpretrain': Framework('mmpretrain==1.2.0', 'pretrain'),
}
OTHERS = {
    'mmengine': 'mmengine==0.10.7',
    'mmcv': 'mmcv-lite==2.1.0',
    'spikingjelly': 'spikingjelly==2.0.0',
    'torchvision': 'torchvision==0.16.2',
}


def pip_command(package: str) -> str:
    """The command that adds an import package without touching the installed torch."""
    if package in FRAMEWORKS:
        distribution, extra = FRAMEWORKS[package]
        return f'pip install --no-deps {distribution} mmcv-lite==2.1.0 && pip install "mmsvf[{extra}]"'
    return f'pip install --no-deps {OTHERS[package]}' if package in OTHERS else f'pip install {package}'


def is_installed(package: str) -> bool:
    """Whether a top-level package can be found, without importing it."""
    return find_spec(package) is not None


def mim_folder(package: str) -> Path:
    """Where an installed framework, or mmsvf, has its configs and tools, as MIM looks for them."""
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0])
    if package == 'mmsvf' and not (folder / '.mim').is_dir():
        return folder.parent  # a checkout that is not installed
    return folder / '.mim'


@contextlib.contextmanager
def find_own_configs(module: ModuleType) -> Iterator[None]:
    """Let ``_base_ = 'mmsvf::NAME.py'`` mean a config of mmsvf, in a checkout and in an installed wheel.

    Reason: MMEngine 0.10.7 takes ``PACKAGE::`` of a fixed list of packages alone, and no config outside a folder.
    """
    yield
    original = module.Config._get_cfg_path

    def _get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        scope, _, name = cfg_path.partition('::')
        if scope != 'mmsvf':
            return original(cfg_path, filename)
        return str(mim_folder('mmsvf') / 'configs' / name), None

    module.Config._get_cfg_path = staticmethod(_get_cfg_path)


def require(package: str, what: str) -> None:
    """Raise ImportError with the pip command if ``package``, which ``what`` needs, is missing."""
    if not is_installed(package):
        raise ImportError(f'{what} needs {package}, which is not installed; add it with: {pip_command(package)}')


def missing_framework(error: ImportError, what: str) -> ImportError:
    """An ImportError that says what needs the missing package and how to add it."""
    package = (error.name or '').split('.')[0]
    if not package or is_installed(package):
        return ImportError(f'{what} cannot be loaded: {error}')
    return ImportError(f'{what} needs {package}, which is not installed; add it with: {pip_command(package)}')
