#!/usr/bin/env python
"""Write docs/compared_systems.md: the systems that the papers compare, their configs, and what they cost.

    python tools/misc/make_compared.py            # some ten minutes on two cores

Rows and the papers' figures are in configs/compared/rows.yml, the text above the tables in configs/compared/about.md.
Each model is built and run once on random input of the row's size. No trained weights of these systems exist here, so
spiking rates are not measured: energies are those at one assumed rate of every layer's input spikes, and beside them
stands the rate at which the paper's figure would hold. tools/analysis/energy.py measures, given a checkpoint.
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

import torch
import yaml
from mmengine.utils import track_iter_progress

from mmsvf import __version__
from mmsvf.analysis.compared_systems import RATE, check, header, row

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs'
FOLDER = CONFIGS / 'compared'
PAGE = ROOT / 'docs' / 'compared_systems.md'


def main() -> None:
    """Check the parameters, then write the page or print rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='+', metavar='CONFIG', help='print the rows of these configs, write nothing')
    args = parser.parse_args()
    tables = yaml.safe_load((FOLDER / 'rows.yml').read_text(encoding='utf-8'))['tables']
    todo = [(table, facts) for table in tables for facts in table['rows']]
    for _, facts in todo:
        check(facts, CONFIGS)
    if args.only:
        for table, facts in todo:
            if Path(facts['config']).name in args.only:
                print(row(facts, table, CONFIGS))
        return
    lines = {id(facts): row(facts, table, CONFIGS) for table, facts in track_iter_progress(todo)}
    text = [(FOLDER / 'about.md').read_text(encoding='utf-8').rstrip()]
    text.append(
        f"Energies are those at a rate of {RATE} of every layer's input spikes, 4.6 pJ per multiply-accumulate and 0.9 "
        f'pJ per accumulate; counted with mmsvf {__version__}, torch {torch.__version__}, '
        f'Python {platform.python_version()}.'
    )
    for table in tables:
        text += [f'\n## {table["title"]}', *header(table), *(lines[id(facts)] for facts in table['rows'])]
    PAGE.write_text('\n'.join(text) + '\n', encoding='utf-8')
    print(f'\n{PAGE.relative_to(ROOT)}')


if __name__ == '__main__':
    main()
