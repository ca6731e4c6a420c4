#!/usr/bin/env python
"""Write configs/**/metafile.yml, model-index.yml and the table of docs/zoo.md from the configs and configs/results.yml.

Parameters and FLOPs are counted on the built models; FLOPs are multiply-adds of one view, as
OpenMMLab counts them, with every layer taken as dense: a spiking layer does a fraction of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmsvf.analysis.model_zoo import make

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Write the files."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for path, text in make(ROOT).items():
        (ROOT / path).write_text(text)
        print(path)


if __name__ == '__main__':
    main()
