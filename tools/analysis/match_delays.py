#!/usr/bin/env python
"""Test runs of the delayed match on other delays than they were trained on, in a table and a picture.

RUNS is the --work-dir of an ablate.py of configs/demo/svf_delayed_match.py. The videos of each delay are written to
--data; a video has three more frames than its delay, and all of them are looked at.

    python tools/analysis/match_delays.py work_dirs/match/match --rows base neuron --plot delays.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mmsvf.analysis.match_delays import curves, find_runs, plot, table, write_videos
from mmsvf.engine.run_config import output_file, plain_messages
from mmsvf.files.config_options import OptionsAction, merge_options
from mmsvf.files.whole import whole


def main() -> None:
    """Test them, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', type=Path)
    parser.add_argument('--rows', nargs='+', default=['base'], help='default: base')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0], help='default: 0')
    parser.add_argument('--delays', type=int, nargs='+', default=[0, 2, 5, 9, 13, 29], help='default: 0 2 5 9 13 29')
    parser.add_argument('--trained', type=int, default=5, help='delay of their training (default: %(default)s)')
    parser.add_argument('--videos', type=int, default=320, help='of each delay (default: %(default)s)')
    parser.add_argument('--data', type=Path, default=Path('data/match_delays'), help='default: %(default)s')
    parser.add_argument('--json', type=output_file(), help='write the accuracies by row, seed and delay')
    parser.add_argument('--plot', type=output_file('.png', '.svg'), help='draw them')
    parser.add_argument(
        '--cfg-options', nargs='+', action=OptionsAction, default={}, metavar='KEY=VALUE', help='options of all rows'
    )
    args = parser.parse_args()
    if min(args.delays) < 0:
        parser.error(f'--delays {min(args.delays)}: 0 or more frames')
    runs, data = find_runs(args.runs, args.rows, args.seeds), args.data / str(args.videos)
    for config, _ in runs.values():
        merge_options(config, args.cfg_options)
    write_videos(data, args.delays, args.videos, Path(__file__).resolve().parents[1])
    for found in curves(runs, args.delays, data):
        if args.json:
            with whole(args.json) as part:
                part.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
    print('\n' + '\n'.join(table(found)))
    if args.plot:
        args.plot.parent.mkdir(parents=True, exist_ok=True)
        plot(args.plot, found, args.trained)


if __name__ == '__main__':
    with plain_messages():
        main()
