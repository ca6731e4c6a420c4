"""Metrics, imported when they are asked for."""

from mmsvf.lazy_exports import exports

__getattr__, __dir__ = exports(__name__, 'METRICS')
