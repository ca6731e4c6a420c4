#!/usr/bin/env python
"""Train variants of a config over several seeds, and compare them in one table.

ROWS is a YAML file: a name for each variant, and the options that it changes, as --cfg-options would. The first row is
what the others are compared with, seed by seed. Every run is tools/train.py in WORK_DIR/ROW/SEED/run; a finished run is
not repeated and an interrupted one resumes, so the same command goes on after a stop, or adds rows and seeds; so do
the runs that --json has, wherever they were made. {row} and {seed} in an option, such as the file to start from, are
those of the run.

    python tools/analysis/ablate.py configs/demo/svf_moving_digits.py configs/ablation/table6.yml --only base dot
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmsvf.analysis.ablation import ablate, choose
from mmsvf.engine.run_config import load_config, output_file, plain_messages, require_file
from mmsvf.files.config_options import OptionsAction


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file that the rows change')
    parser.add_argument('rows', type=Path, help='YAML file: name: {option: value}')
    parser.add_argument('--only', nargs='+', metavar='ROW', help='of the rows, these; the first is the base')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2, 3, 4], help='default: 0 1 2 3 4')
    parser.add_argument('--metric', help="metric of the last validation (default: the framework's usual one)")
    parser.add_argument('--energy', type=int, metavar='CLIPS', help='also the energy, by rates on so many test clips')
    parser.add_argument('--jobs', type=int, default=1, help='trainings side by side (default: %(default)s)')
    parser.add_argument('--minutes', type=float, help='stop after so long, with a table of what is done')
    parser.add_argument('--work-dir', type=Path, help='folder of the runs (default: work_dirs/ablation/CONFIG)')
    parser.add_argument('--out', type=output_file(), help='write the table as Markdown')
    parser.add_argument('--json', type=output_file(), help='what it is made of, by row and seed: read and added to')
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionsAction, metavar='KEY=VALUE', help='options of all rows, the base too'
    )
    return parser.parse_args()


def main() -> None:
    """Train what is not done, print the table, and exit with what failed."""
    args = parse_args()
    require_file(str(args.rows), 'rows ', 'give a YAML file of rows, as configs/ablation/table6.yml')
    text, failed = ablate(
        load_config(args.config),
        choose(args.rows, args.only),
        args.seeds,
        args.work_dir or Path('work_dirs', 'ablation', Path(args.config).stem),
        Path(__file__).resolve().parents[1],
        args.metric,
        args.energy,
        args.jobs,
        args.minutes,
        args.cfg_options,
        args.json,
    )
    print('\n' + '\n'.join(text))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text('\n'.join(text) + '\n', encoding='utf-8')
    if failed:
        sys.exit('not done:\n' + '\n'.join(failed))


if __name__ == '__main__':
    with plain_messages():
        main()
