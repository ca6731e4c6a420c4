"""Data sets and transforms, imported when they are asked for: ``from mmsvf.datasets import MMHPSDDataset``."""

from mmsvf.lazy_exports import exports

__getattr__, __dir__ = exports(__name__, 'DATASETS', 'TRANSFORMS')
