"""Accuracy of trained runs of the delayed match on delays that they were not trained on."""

from __future__ import annotations

import copy
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.runner import Runner

from mmsvf.files.work_dir import find_latest_checkpoint

Curves = dict[str, dict[str, dict[str, float]]]


def write_videos(data: Path, delays: Sequence[int], count: int, tools: Path) -> None:
    """Validation videos of each delay, in DATA/DELAY, unless they are there and newer than the script."""
    script = tools / 'dataset_converters/delayed_match.py'
    for delay in delays:
        last = data / str(delay) / 'val_cue.txt'  # written when all else is
        if not last.is_file() or last.stat().st_mtime < script.stat().st_mtime:
            options = {'--train': 0, '--val': count, '--frames': delay + 3, '--delay': delay}
            command = [sys.executable, script, last.parent, *(word for pair in options.items() for word in pair)]
            subprocess.run([*map(str, command)], check=True)


def accuracy(config: Config, checkpoint: str, videos: Path, frames: int) -> float:
    """Of a checkpoint, on the videos of a folder, each looked at as a whole of so many frames."""
    cfg = copy.deepcopy(config)
    dataset = cfg.test_dataloader.dataset
    dataset.ann_file, dataset.data_prefix = str(videos / 'val.txt'), dict(video=str(videos / 'val'))
    sample = next(step for step in dataset.pipeline if 'clip_len' in step)
    sample.update(clip_len=frames, frame_interval=1)
    # a batch has as many frames as in training's validation, so that the longest clips take no more memory
    cfg.test_dataloader.batch_size = max(1, cfg.test_dataloader.batch_size * 8 // frames)
    cfg.load_from, cfg.resume, cfg.log_level = checkpoint, False, 'ERROR'
    with tempfile.TemporaryDirectory() as cfg.work_dir:
        # by default a name of the second, and of two runs in one the later takes the folder of the earlier for its own
        cfg.experiment_name = Path(cfg.work_dir).name
        return float(Runner.from_cfg(cfg).test()['acc/top1'])


def find_runs(runs: Path, rows: Sequence[str], seeds: Sequence[int]) -> dict[tuple[str, int], tuple[Config, str]]:
    """Config and last checkpoint of runs of tools/analysis/ablate.py, by row and seed.

    Raises:
        FileNotFoundError: a row has no finished run of a seed.
    """
    found = {}
    for row in rows:
        for seed in seeds:
            folder = runs / row / str(seed)
            checkpoint = find_latest_checkpoint(folder / 'run') if (folder / 'result.json').is_file() else None
            if checkpoint is None:
                raise FileNotFoundError(f'{folder} has no finished run; train it with tools/analysis/ablate.py')
            found[row, seed] = Config.fromfile(str(folder / 'config.py')), checkpoint
    return found


def curves(found: dict[tuple[str, int], tuple[Config, str]], delays: Sequence[int], data: Path) -> Iterator[Curves]:
    """Accuracy by row, seed and delay, of the runs of :func:`find_runs` on the videos of :func:`write_videos`.

    Yields:
        What is known after each run, so that nothing is lost if a later one fails.
    """
    measured: Curves = {}
    for (row, seed), (config, checkpoint) in found.items():
        by_delay = {str(delay): accuracy(config, checkpoint, data / str(delay), delay + 3) for delay in delays}
        measured.setdefault(row, {})[str(seed)] = by_delay
        yield measured


def table(found: Curves) -> list[str]:
    """Lines of Markdown: mean over seeds in %, and the least and the greatest."""
    delays = list(next(iter(next(iter(found.values())).values())))
    lines = [f'| row | seeds | {" | ".join(delays)} |', '|' + '---|' * (len(delays) + 2)]
    for row, seeds in found.items():
        values = 100 * np.array([[by_delay[delay] for delay in delays] for by_delay in seeds.values()])
        spans = (f' ({low:.1f} to {high:.1f})' * (len(values) > 1) for low, high in zip(values.min(0), values.max(0)))
        cells = [f'{mean:.1f}{span}' for mean, span in zip(values.mean(0), spans)]
        lines.append(f'| {row} | {len(values)} | {" | ".join(cells)} |')
    return lines


def plot(path: Path, found: Curves, trained: int) -> None:
    """Mean over seeds against the delay, with the least and the greatest as a band; a line at the delay of training."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout='constrained')
    axes.axhline(25, color='0.7', linewidth=1)
    axes.axvline(trained, color='0.7', linewidth=1, linestyle=':')
    for row, seeds in found.items():
        delays = [int(delay) for delay in next(iter(seeds.values()))]
        values = 100 * np.array([list(by_delay.values()) for by_delay in seeds.values()])
        (line,) = axes.plot(delays, values.mean(0), 'o-', markersize=3, label=row)
        axes.fill_between(delays, values.min(0), values.max(0), color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set(xlabel='frames between cue and candidates', ylabel='accuracy, %', ylim=(0, 102))
    axes.set_title(f'trained at a delay of {trained} (dotted); chance is 25 %', fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc='center left', bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=150)
    plt.close(figure)
