#!/usr/bin/env python
"""Robustness on ImageNet-C: top-1 of 15 corruptions x 5 severities, as text, CSV and a bar chart.

The numbers are accuracies averaged over the severities, as in the paper's Table 9, not errors.
DATA_ROOT has <corruption>/<severity>/<class>/*.JPEG; where it has not, --make-from makes them.
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path

import matplotlib
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DATASETS, init_default_scope

from mmsvf.datasets.imagenet_c import CORRUPTIONS, NAMES, SEVERITIES
from mmsvf.datasets.make_imagenet_c import make_imagenet_c
from mmsvf.engine.launch import run
from mmsvf.engine.run_config import add_common_arguments, plain_messages, prepare, require_file

matplotlib.use('Agg')
COLOURS = dict(zip(CORRUPTIONS, ('tab:red', 'tab:blue', 'tab:cyan', 'tab:green')))


def make_from(cfg: Config, folder: Path, root: Path, workers: int) -> None:
    """Make ImageNet-C from a validation folder in a layout that mmpretrain's ImageNet reads."""
    test = cfg.test_dataloader.dataset
    split = 'val' if (folder / 'val').is_dir() else ''
    images = DATASETS.build(
        dict(type='ImageNet', data_root=str(folder), split=split, metainfo=test.get('metainfo'), pipeline=[])
    )
    load = Compose([step for step in test.pipeline if step.type != 'PackInputs'])
    print(f'{len(images)} images x {len(NAMES)} corruptions x {len(SEVERITIES)} severities to {root}')
    infos = [images.get_data_info(i) for i in range(len(images))]
    make_imagenet_c(infos, images.img_prefix, root, load, workers)


def table(metrics: dict[str, float]) -> list[list[str]]:
    """Rows: header, a corruption each, the mean."""
    rows = [['corruption', *(f'severity {s}' for s in SEVERITIES), 'mean']]
    for name in NAMES:
        rows.append([name, *(f'{metrics[f"{name}/{s}"]:.2f}' for s in SEVERITIES), f'{metrics[name]:.2f}'])
    return [*rows, ['mean', *[''] * len(SEVERITIES), f'{metrics["mean"]:.2f}']]


def chart(metrics: dict[str, float], path: Path) -> None:
    """Bars of the corruptions' means, coloured by group."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(10, 4), layout='constrained')
    for group, names in CORRUPTIONS.items():
        axes.bar(names, [metrics[name] for name in names], color=COLOURS[group], label=group)
    axes.axhline(metrics['mean'], color='black', linestyle='--', label=f'mean {metrics["mean"]:.2f} %')
    axes.set_ylabel('top-1 (%), mean over severities')
    axes.tick_params(axis='x', rotation=45)
    axes.legend(ncols=5)
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Make what is missing, test, and write the table and the chart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('data_root', type=Path, help='folder of ImageNet-C')
    parser.add_argument(
        '--make-from', type=Path, metavar='FOLDER', help="make what DATA_ROOT lacks from ImageNet's folder or its val"
    )
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes that make images')
    parser.add_argument('--out', type=Path, help='folder for imagenet_c.{txt,csv,png} (default: the work-dir)')
    args = parser.parse_args()
    cfg = prepare(args)
    if cfg.get('default_scope') != 'mmpretrain':
        parser.error(f'{args.config}: an image classifier of mmpretrain, not of {cfg.get("default_scope")}')
    require_file(args.checkpoint)
    out = args.out or Path(cfg.work_dir)
    out.mkdir(parents=True, exist_ok=True)
    init_default_scope('mmpretrain')
    if args.make_from is not None:
        if args.launcher != 'none':
            parser.error('--make-from with --launcher: make the images first, in one process')
        if not args.make_from.is_dir():
            parser.error(f'--make-from {args.make_from}: no such folder')
        make_from(cfg, args.make_from, args.data_root, args.workers)

    # the images have the test's size already
    dataset = dict(type='mmsvf.ImageNetC', data_root=str(args.data_root))
    dataset['metainfo'] = cfg.test_dataloader.dataset.get('metainfo')
    cfg.test_dataloader.dataset = dict(**dataset, pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')])
    cfg.test_evaluator = dict(type='mmsvf.CorruptionAccuracy')
    cfg.load_from = args.checkpoint
    metrics = {key.split('/', 1)[1]: value for key, value in run(cfg, 'test').items()}
    if os.environ.get('RANK', '0') != '0':
        return

    rows = table(metrics)
    text = '\n'.join(f'{row[0]:<18}' + ''.join(f'{value:>11}' for value in row[1:]) for row in rows)
    text = f'top-1 accuracy (%) on ImageNet-C: {args.config}, {args.checkpoint}\n{text}\n'
    print(text)
    (out / 'imagenet_c.txt').write_text(text)
    with open(out / 'imagenet_c.csv', 'w', newline='') as file:
        csv.writer(file).writerows(rows)
    chart(metrics, out / 'imagenet_c.png')
    print(f'{out}/imagenet_c.txt, .csv, .png')


if __name__ == '__main__':
    with plain_messages():
        main()
