#!/usr/bin/env python
"""What the memory gives on clips whose last frame is spoilt: mIoU with and without it, by seed.

Trains both stages of the embedded default for each seed (tools/dataset_converters/moving_scenes.py
writes the data) and tests stage 1 on clean frames and on clips of clean frames, then three models on the same spoilt
frames: stage 1 on the frame alone, stage 1 on the clip, stage 2 on the clip. About ten minutes a seed on one CPU core
that has nothing else to do. A training that was stopped goes on.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STAGE1, STAGE2 = 'configs/demo/svf_moving_scenes.py', 'configs/demo/svf_moving_scenes_vss.py'
WITHOUT = ['model.memory.read=False', 'model.train_memory_only=False']
CLEAN = 'test_dataloader.dataset.pipeline.2.strength=1e-3'  # of a frame of 64 x 96 this covers no pixel


def tool(name: str, *arguments: object) -> str:
    """Run a tool; returns its output."""
    command = [sys.executable, f'tools/{name}.py', *map(str, arguments)]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={'OMP_NUM_THREADS': '1', **os.environ}
    )
    if result.returncode:
        raise RuntimeError(result.stderr[-3000:])
    return result.stdout + result.stderr


def miou(config: str, checkpoint: Path, work_dir: Path, *options: str) -> float:
    log = tool('test', config, checkpoint, '--work-dir', work_dir, *(['--cfg-options', *options] if options else []))
    return float(re.findall(r'mIoU: (\d+\.\d+)', log)[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs' / 'memory')
    args = parser.parse_args()
    if not (ROOT / 'data/moving_scenes/vspw/val.txt').is_file():
        tool('dataset_converters/moving_scenes', 'data/moving_scenes')
    print('| seed | clean frames | clean clips, no memory | frame alone | clip without memory | clip with memory |')
    print('|---|---|---|---|---|---|')
    for seed in args.seeds:
        work = args.work_dir / str(seed)
        common = '--seed', seed, '--no-validate', '--resume', '--work-dir'
        tool('train', STAGE1, *common, work / 'stage1')
        first = Path((work / 'stage1' / 'last_checkpoint').read_text())
        tool('train', STAGE2, *common, work / 'stage2', '--cfg-options', f'load_from={first}')
        second = Path((work / 'stage2' / 'last_checkpoint').read_text())
        scores = (
            miou(STAGE1, first, work / 'clean'),
            miou(STAGE2, first, work / 'clean_clips', *WITHOUT, CLEAN),
            miou(STAGE2, first, work / 'alone', *WITHOUT, 'test_dataloader.dataset.offsets=[]'),
            miou(STAGE2, first, work / 'without', *WITHOUT),
            miou(STAGE2, second, work / 'with'),
        )
        print(f'| {seed} | {" | ".join(f"{score:.1f}" for score in scores)} |', flush=True)


if __name__ == '__main__':
    main()
