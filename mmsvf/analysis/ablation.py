"""Variants of a config over several seeds, trained by tools/train.py and compared in one table.

A row is a name and the options that it changes. The first row is what the others are compared with, seed by seed. A
finished run is not repeated and an interrupted one resumes.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import ProgressBar
from scipy import stats

from mmsvf.files.config_options import merge_options
from mmsvf.files.whole import whole
from mmsvf.files.work_dir import find_latest_checkpoint
from mmsvf.registry import MODELS
from mmsvf.version import __version__

from .ablation_record import Record

METRICS = {'mmaction': 'acc/top1', 'mmpretrain': 'accuracy/top1', 'mmseg': 'mIoU', 'mmpose': 'smpl/PA-MPJPE'}


def choose(path: Path, only: list[str] | None) -> dict[str, dict[str, Any]]:
    """The chosen rows of a YAML file.

    Raises:
        ValueError: no YAML, no mapping of mappings, or a row that is not in it.
    """
    try:
        rows = yaml.safe_load(path.read_text(encoding='utf-8'))
    except yaml.YAMLError as error:
        raise ValueError(f'{path} is no YAML: {error}') from error
    if not isinstance(rows, dict) or not all(isinstance(options, dict) for options in rows.values()):
        raise ValueError(f'{path}: a mapping of row names to options is expected, as in configs/ablation/table6.yml')
    unknown = [name for name in only or [] if name not in rows]
    if unknown:
        raise ValueError(f'{path} has no rows {unknown}; choose from {list(rows)}')
    return {name: rows[name] for name in only or rows}


def variant(config: Config, seed: int, *options: dict[str, Any] | None, row: str = '') -> Config:
    """A copy of the config with options merged; ``{seed}`` and ``{row}`` in a string are filled in.

    Raises:
        ValueError: an option that the config does not have, and that is nearly one that it has.
    """

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(map(filled, value))
        return value.replace('{seed}', str(seed)).replace('{row}', row) if isinstance(value, str) else value

    cfg = copy.deepcopy(config)
    for chosen in options:
        merge_options(cfg, filled(chosen or {}))
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


def fingerprint(cfg: Config) -> str:
    """Of a run's config: two that differ differ in it."""
    return hashlib.sha256(cfg.pretty_text.encode()).hexdigest()[:16]


def versions() -> str:
    """What a run's result depends on besides its options."""
    return f'mmsvf {__version__}, torch {torch.__version__}, Python {platform.python_version()}'


def run_once(
    cfg: Config, folder: Path, seed: int, metric: str, clips: int | None, threads: int, until: float, tools: Path
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
    found['config'] = fingerprint(cfg)
    if not config.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        config.write_text(text)
    if 'trained' not in found:
        call(folder, threads, until, tools / 'train.py', config, '--work-dir', work, '--seed', seed, '--resume')
        found.update(trained=True, versions=versions())
    found[metric] = last_metric(work, metric)
    if clips and f'energy of {clips}' not in found:
        checkpoint = find_latest_checkpoint(work)
        tool, report = tools / 'analysis/energy.py', folder / 'energy.json'
        call(folder, threads, until, tool, config, checkpoint, '--clips', clips, '--json', report)
        totals = json.loads(report.read_text())['totals']
        found[f'energy of {clips}'] = {name: total['mj_per_clip'] for name, total in totals.items()}
    if found != before:
        with whole(result) as part:
            part.write_text(json.dumps(found), encoding='utf-8')
    return found


def call(folder: Path, threads: int, until: float, tool: Path, *arguments: object) -> None:
    """Run a tool with its output in a log; stop it at ``until``, a time of time.monotonic."""
    log = folder / 'log.txt'
    command = [sys.executable, str(tool), *map(str, arguments)]
    env = {**os.environ, 'OMP_NUM_THREADS': str(threads)}
    left = until - time.monotonic()
    try:
        if left <= 0:
            raise subprocess.TimeoutExpired(command, 0)
        with log.open('a') as file:
            timeout = None if left == float('inf') else left
            code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=env, timeout=timeout).returncode
    except subprocess.TimeoutExpired:
        raise RuntimeError(
            f'the time is over before {tool.name} has ended; the same command goes on from there'
        ) from None
    if code in (-signal.SIGINT, 128 + signal.SIGINT):
        raise KeyboardInterrupt
    if code:
        raise RuntimeError(f'{tool.name} failed with {code}; {log} ends: {" ".join(log.read_text().splitlines()[-3:])}')


def spread(values: np.ndarray) -> str:
    """Mean and standard deviation (of a sample)."""
    return f'{values.mean():.4g} ± {values.std(ddof=1):.2g}' if len(values) > 1 else f'{values.mean():.4g}'


def differences(values: np.ndarray, base: np.ndarray) -> list[str]:
    """Paired differences to the base: mean ± s.d., and the 95 % interval of the mean by Student's t."""
    d = values - base
    if not len(d):
        return ['-', '-']
    if len(d) < 2 or not d.any():
        return [spread(d) if d.any() else '0', '-']
    half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return [spread(d), f'{d.mean() - half:.3g} to {d.mean() + half:.3g}']


def table(
    results: dict[str, dict[int, dict[str, Any]]], sizes: dict[str, int], metric: str, clips: int | None
) -> list[str]:
    """Lines of a Markdown table; differences are paired over the seeds that a row and the base both have."""
    head = ['row', 'parameters', 'seeds', metric, 'difference to the first row', '95 % interval']
    head += ['mJ per clip (paper)', 'mJ (merged)'] if clips else []
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


def ablate(
    config: Config,
    rows: dict[str, dict[str, Any]],
    seeds: Sequence[int],
    folder: Path,
    tools: Path,
    metric: str | None = None,
    clips: int | None = None,
    jobs: int = 1,
    minutes: float | None = None,
    options: dict[str, Any] | None = None,
    raw: Path | None = None,
) -> tuple[list[str], list[str]]:
    """Train, validate and compare.

    Args:
        config: What the rows change.
        rows: Options by name; the first is the base.
        seeds: Of each row.
        folder: Of the runs, as FOLDER/ROW/SEED/run.
        tools: Folder of train.py and analysis/energy.py.
        metric: Of the last validation; None is the framework's usual one.
        clips: Count the energy of so many test clips, too.
        jobs: Trainings side by side.
        minutes: Stop after so long.
        options: Of all rows, the base too.
        raw: A JSON file of what the table is made of: metric, versions, parameters, and results by row and seed. What
            it holds is not run again, and what is run is added, run by run.

    Returns:
        Lines of Markdown, and what is not done and why.

    Raises:
        ValueError: ``raw`` holds runs of another config or other options, or the folder a run of them.
    """
    metric = metric or METRICS[config.default_scope]
    if jobs < 1 or not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f'--jobs {jobs} --seeds {list(seeds)}: one job or more, one seed or more, and each seed once')
    facts = dict(config=Path(str(config.filename)).name, metric=metric, options=options or {})
    variants = {(name, seed): variant(config, seed, options, rows[name], row=name) for seed in seeds for name in rows}
    sizes = {name: parameters(variants[name, seeds[0]]) for name in rows}
    record = Record(raw, facts, rows, sizes)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    results: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in rows}
    for name in rows:
        for seed in seeds:
            run = record.run(name, seed, fingerprint(variants[name, seed]))
            if run and (not clips or f'energy of {clips}' in run):
                results[name][seed] = run
                del variants[name, seed]
    failed: list[str] = []
    until = float('inf') if minutes is None else time.monotonic() + minutes * 60
    bar = ProgressBar(len(variants))
    pool, interrupted = ThreadPoolExecutor(jobs), threading.Event()

    def one(*options: Any) -> dict[str, Any]:
        # a training ends at Ctrl-C before this process does, and its thread would take the next one
        if interrupted.is_set():
            raise KeyboardInterrupt
        try:
            return run_once(*options)
        except KeyboardInterrupt:
            interrupted.set()
            raise

    # all rows of a seed before the next seed: an early stop leaves pairs
    runs = {
        pool.submit(one, cfg, folder / name / str(seed), seed, metric, clips, threads, until, tools): (name, seed)
        for (name, seed), cfg in variants.items()
    }
    try:
        for ended in as_completed(runs):
            name, seed = runs[ended]
            try:
                results[name][seed] = ended.result()
                record.add(name, seed, results[name][seed])
            except Exception as error:
                kind = '' if isinstance(error, (ValueError, RuntimeError)) else f'{type(error).__name__}: '
                failed.append(f'{name}, seed {seed}: {kind}{error}')
                print(f'\n{failed[-1]}', file=sys.stderr, flush=True)  # all of them again in the end, hours later
            del runs[ended]
            bar.update()
    except KeyboardInterrupt:
        failed += [
            f'{name}, seed {seed}: interrupted; the same command goes on from there' for name, seed in runs.values()
        ]
    finally:
        pool.shutdown(cancel_futures=True)  # what runs has had the interrupt, too
    done = {name: dict(sorted(found.items())) for name, found in results.items() if found}
    energy = f'; energy by rates on {clips} clips of the test data, T and size of the config' * bool(clips)
    lines = table(done, sizes, metric, clips) if next(iter(rows)) in done else ['no run of the base is done']
    made = '; '.join(sorted({r['versions'] for found in done.values() for r in found.values() if 'versions' in r}))
    said = f'{metric} of the last validation, mean ± s.d. over seeds{energy}. {made}, {platform.machine()}.'
    return [said, '', *lines], failed
