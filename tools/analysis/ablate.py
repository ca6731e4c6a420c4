#!/usr/bin/env python
"""Train variants of a config over several seeds, and compare them in one table.

ROWS is a YAML file: a name for each variant, and the options that it changes, as --cfg-options would. The first row is
what the others are compared with, seed by seed. Every run is tools/train.py in WORK_DIR/ROW/SEED/run; a finished run is
not repeated and an interrupted one resumes, so the same command goes on after a stop, or adds rows and seeds.

    python tools/analysis/ablate.py configs/demo/svf_moving_digits.py configs/ablation/table6.yml --only base dot
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmengine.utils import ProgressBar
from scipy import stats

import mmsvf
from mmsvf.engine.launch import load_config
from mmsvf.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
METRICS = {'mmaction': 'acc/top1', 'mmpretrain': 'accuracy/top1', 'mmseg': 'mIoU', 'mmpose': 'PA-MPJPE'}


def parse_args() -> argparse.Namespace:
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
    parser.add_argument('--out', type=Path, help='write the table as Markdown')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='options of all rows, the base too'
    )
    return parser.parse_args()


def choose(path: Path, only: list[str] | None) -> dict[str, dict[str, Any]]:
    """The chosen rows of a YAML file.

    Raises:
        ValueError: no mapping of mappings, or a row that is not in it.
    """
    rows = yaml.safe_load(path.read_text(encoding='utf-8'))
    if not isinstance(rows, dict) or not all(isinstance(options, dict) for options in rows.values()):
        raise ValueError(f'{path}: a mapping of row names to options is expected, as in configs/ablation/table6.yml')
    unknown = [name for name in only or [] if name not in rows]
    if unknown:
        raise ValueError(f'{path} has no rows {unknown}; choose from {list(rows)}')
    return {name: rows[name] for name in only or rows}


def variant(config: Config, *options: dict[str, Any] | None) -> Config:
    """A copy of the config with options merged."""
    cfg = copy.deepcopy(config)
    for chosen in options:
        cfg.merge_from_dict(copy.deepcopy(chosen or {}))
    return cfg


def parameters(cfg: Config) -> int:
    """Parameters of a config's model; building it finds a wrong option before hours of training do."""
    init_default_scope(cfg.default_scope)
    with torch.device('meta'):
        return sum(p.numel() for p in MODELS.build(copy.deepcopy(cfg.model)).parameters())


def last_metric(folder: Path, metric: str) -> float:
    """A metric of the last validation that a training logged.

    Raises:
        ValueError: it was not logged; the message has what was.
    """
    seen: set[str] = set()
    for path in sorted(folder.glob('*/vis_data/scalars.json'), reverse=True):
        for line in reversed(path.read_text().splitlines()):
            values = json.loads(line)
            if metric in values:
                return float(values[metric])
            seen |= set(values)
    raise ValueError(f'{folder}: no validation logged {metric!r}; --metric can be one of {sorted(seen)}')


def run_once(
    cfg: Config, folder: Path, seed: int, metric: str, clips: int | None, threads: int, until: float
) -> dict[str, Any]:
    """Train, validate and count one variant, unless its result is there.

    Raises:
        ValueError: a result of other options is there.
        RuntimeError: a command failed, or the time is over; the message has its log.
    """
    # the runner writes its own config.py, so its folder is another
    result, config, work = folder / 'result.json', folder / 'config.py', folder / 'run'
    text = cfg.pretty_text
    if config.is_file() and config.read_text() != text:
        raise ValueError(f'{folder} holds a run of another config or other options: give another --work-dir')
    found = json.loads(result.read_text()) if result.is_file() else {}
    before = dict(found)
    if not config.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        config.write_text(text)
    if 'trained' not in found:
        call(folder, threads, until, 'train.py', config, '--work-dir', work, '--seed', seed, '--resume')
        found['trained'] = True
    found[metric] = last_metric(work, metric)
    if clips and f'energy of {clips}' not in found:
        checkpoint = (work / 'last_checkpoint').read_text()
        report = folder / 'energy.json'
        call(folder, threads, until, 'analysis/energy.py', config, checkpoint, '--clips', clips, '--json', report)
        totals = json.loads(report.read_text())['totals']
        found[f'energy of {clips}'] = {name: total['mj_a_clip'] for name, total in totals.items()}
    if found != before:
        result.write_text(json.dumps(found))
    return found


def call(folder: Path, threads: int, until: float, tool: str, *arguments: object) -> None:
    """Run a tool of this repository with its output in a log, no longer than to a time of time.monotonic."""
    log = folder / 'log.txt'
    command = [sys.executable, str(ROOT / 'tools' / tool), *map(str, arguments)]
    env = {**os.environ, 'OMP_NUM_THREADS': str(threads)}
    left = until - time.monotonic()
    try:
        if left <= 0:
            raise subprocess.TimeoutExpired(command, 0)
        with log.open('a') as file:
            timeout = None if left == float('inf') else left
            code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=env, timeout=timeout).returncode
    except subprocess.TimeoutExpired:
        raise RuntimeError(f'the time is over before {tool} has ended; the same command goes on with it') from None
    if code:
        raise RuntimeError(f'{tool} failed with {code}; {log} ends: {" ".join(log.read_text().splitlines()[-3:])}')


def spread(values: np.ndarray) -> str:
    """Mean and standard deviation (of a sample)."""
    return f'{values.mean():.4g} ± {values.std(ddof=1):.2g}' if len(values) > 1 else f'{values.mean():.4g}'


def differences(values: np.ndarray, base: np.ndarray) -> list[str]:
    """Paired differences to the base: mean ± s.d., and the 95 % interval of the mean by Student's t."""
    d = values - base
    if len(d) < 2 or not d.any():
        return [spread(d) if d.any() else '0', '-']
    half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return [spread(d), f'{d.mean() - half:.3g} to {d.mean() + half:.3g}']


def table(
    results: dict[str, dict[int, dict[str, Any]]], sizes: dict[str, int], metric: str, clips: int | None
) -> list[str]:
    """Lines of a Markdown table; differences are paired over the seeds that a row and the base both have."""
    head = ['row', 'parameters', 'seeds', metric, 'difference to the first row', '95 % interval']
    head += ['mJ a clip (paper)', 'mJ (merged)'] if clips else []
    lines = [f'| {" | ".join(head)} |', '|' + '---|' * len(head)]
    base = next(iter(results.values()))
    for name, runs in results.items():
        seeds = [seed for seed in runs if seed in base]
        values = np.array([run[metric] for run in runs.values()])
        paired = (np.array([found[seed][metric] for seed in seeds]) for found in (runs, base))
        cells = [name, f'{sizes[name]:,}', str(len(runs)), spread(values), *differences(*paired)]
        for convention in ('paper', 'merged') if clips else ():
            cells.append(spread(np.array([run[f'energy of {clips}'][convention] for run in runs.values()])))
        lines.append(f'| {" | ".join(cells)} |')
    return lines


def main() -> None:
    args = parse_args()
    config = load_config(args.config)
    rows = choose(args.rows, args.only)
    metric = args.metric or METRICS[config.default_scope]
    folder = args.work_dir or Path('work_dirs', 'ablation', Path(args.config).stem)
    variants = {name: variant(config, args.cfg_options, options) for name, options in rows.items()}
    sizes = {name: parameters(cfg) for name, cfg in variants.items()}
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    results: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in rows}
    failed: list[str] = []
    until = float('inf') if args.minutes is None else time.monotonic() + args.minutes * 60
    bar = ProgressBar(len(rows) * len(args.seeds))
    with ThreadPoolExecutor(args.jobs) as pool:
        # all rows of a seed before the next seed: an early stop leaves pairs
        jobs = {
            pool.submit(run_once, cfg, folder / name / str(seed), seed, metric, args.energy, threads, until): (
                name,
                seed,
            )
            for seed in args.seeds
            for name, cfg in variants.items()
        }
        for job in as_completed(jobs):
            name, seed = jobs[job]
            try:
                results[name][seed] = job.result()
            except (ValueError, RuntimeError) as error:
                failed.append(f'{name}, seed {seed}: {error}')
            bar.update()
    print()
    done = {name: dict(sorted(runs.items())) for name, runs in results.items() if runs}
    versions = f'mmsvf {mmsvf.__version__}, torch {torch.__version__}, Python {platform.python_version()}'
    energy = f'; energy by rates on {args.energy} clips of the test data, T and size of the config' * bool(args.energy)
    text = [
        f'{metric} of the last validation, mean ± s.d. over seeds{energy}. {versions}, {platform.machine()}.',
        '',
        *(table(done, sizes, metric, args.energy) if next(iter(rows)) in done else ['no run of the base is done']),
    ]
    print('\n'.join(text))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text('\n'.join(text) + '\n', encoding='utf-8')
    if failed:
        sys.exit('not done:\n' + '\n'.join(failed))


if __name__ == '__main__':
    main()
