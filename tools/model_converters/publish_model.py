#!/usr/bin/env python
"""Strip a checkpoint for publishing and put its hash into its name, as OpenMMLab does.

Keeps the weights and their meta data, drops optimizer, schedules and logs, and writes
OUT-<first eight digits of the file's SHA-256>.pth, which MMEngine checks when it downloads the file.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path

from mmsvf.engine.run_config import plain_messages
from mmsvf.files.checkpoints import load_checkpoint, save_checkpoint
from mmsvf.files.pickles import UnpicklingError


def publish(source: Path, target: Path, keep: list[str]) -> Path:
    """Write the stripped checkpoint; returns its path."""
    checkpoint = load_checkpoint(source, 'cpu')
    missing = [key for key in keep if key not in checkpoint] if isinstance(checkpoint, dict) else keep
    if missing:
        raise ValueError(f'no {missing} in it; it has {list(checkpoint)[:8]}: choose with --save-keys')
    stem = target.with_suffix('') if target.suffix == '.pth' else target
    unnamed = stem.with_name(f'.{stem.name}.unnamed.pth')
    save_checkpoint({key: checkpoint[key] for key in keep}, unnamed)
    final = stem.with_name(f'{stem.name}-{hashlib.sha256(unnamed.read_bytes()).hexdigest()[:8]}.pth')
    os.replace(unnamed, final)
    print(f'kept {keep}, dropped {[key for key in checkpoint if key not in keep]}')
    return final


def main() -> None:
    """Read the command line and publish; an error is a line and exit code 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('input', metavar='IN', type=Path, help='checkpoint of a training')
    parser.add_argument('output', metavar='OUT', type=Path, help='where to write it, without the hash')
    parser.add_argument(
        '--save-keys', nargs='+', default=['meta', 'state_dict'], help='what to keep (default: meta state_dict)'
    )
    args = parser.parse_args()
    try:
        print(publish(args.input, args.output, args.save_keys))
    except (OSError, ValueError, UnpicklingError) as error:
        parser.exit(1, f'error: {args.input}: {error}\nnothing was written\n')


if __name__ == '__main__':
    with plain_messages():
        main()
