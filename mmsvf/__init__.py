"""SpikeVideoFormer for OpenMMLab.

Importing mmsvf is quick and imports no OpenMMLab package: its registry entries and its bridges
over broken upstream releases are put in place at the moment the package they concern is imported.
"""

from . import compat
from .version import __version__

__all__ = ['__version__']

compat.install()
