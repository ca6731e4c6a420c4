"""SpikeVideoFormer for OpenMMLab.

Importing mmsvf is quick and imports no OpenMMLab package: its registry entries and its bridges
over broken upstream releases are put in place at the moment the package they concern is imported.
"""

from typing import Any

from . import compat
from .version import __version__

__all__ = ['__version__', 'fuse']

compat.install()


def __getattr__(name: str) -> Any:
    if name == 'fuse':  # torch and spikingjelly are imported when it is asked for
        from .spiking.fusion import fuse

        return fuse
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
