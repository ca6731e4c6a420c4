#!/usr/bin/env python
"""What single frames, single locations and the nearest clip tell of the label of a delayed match, in per cent.

FOLDER is what tools/dataset_converters/delayed_match.py wrote. See mmsvf.analysis.match_baselines.baselines.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mmsvf.analysis.match_baselines import baselines
from mmsvf.engine.run_config import output_file, plain_messages


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--json', type=output_file(), help='write them, too')
    args = parser.parse_args()
    found = baselines(args.folder)
    for name, value in found.items():
        print(f'{name:16s}', *(f'{100 * each:.1f}' for each in (value if isinstance(value, list) else [value])))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(found, indent=1) + '\n')


if __name__ == '__main__':
    with plain_messages():
        main()
