"""SpikeVideoFormer for OpenMMLab.

Importing mmsvf is quick and imports no OpenMMLab package: its registry entries, the stand-ins that let broken releases
import, and the way files are read and written are put in place when the package they concern is imported. With
``MMSVF_STOCK_FILES=1`` in the environment MMEngine reads and writes files as it does without mmsvf.
"""

import contextlib
import os
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from . import compat, frameworks
from .files import bridges
from .version import __version__

__all__ = ['Stream', '__version__', 'fuse']


@contextlib.contextmanager
def _register(module: ModuleType) -> Iterator[None]:
    """Our entries join MMEngine's registries once these exist."""
    yield
    from . import registry  # noqa: F401


def _translate(checkpoint: Any) -> Any:
    from .models.official import translate

    return translate(checkpoint)


compat.install()
compat.stand_in('moviepy.editor', 'mmsvf.visualization.moviepy_editor')
compat.on_import('mmengine.registry', _register)
compat.on_import('mmengine.config.config', frameworks.find_own_configs)
if os.environ.get('MMSVF_STOCK_FILES') != '1':
    bridges.install(_translate)


def __getattr__(name: str) -> Any:
    if name == 'fuse':  # torch and spikingjelly are imported when it is asked for
        from .spiking.fusion import fuse

        return fuse
    if name == 'Stream':
        from .apis.stream import Stream

        return Stream
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
