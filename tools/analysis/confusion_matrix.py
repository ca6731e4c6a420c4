#!/usr/bin/env python
"""What a classifier takes for what: recall of each class, the most confused pairs, and the matrix as a picture.

PREDICTIONS is a checkpoint (.pth), which is tested; what tools/test.py wrote with --dump (.pkl); or a folder of
tools/predict.py (or its sources.jsonl) with videos of the config's test data, which has their labels.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import matplotlib
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from mmsvf.analysis.confusions import counted, read_dump, read_predicted
from mmsvf.apis.predictor import class_names, test_dataset
from mmsvf.engine.launch import run
from mmsvf.engine.missing_data import check_data
from mmsvf.engine.run_config import add_common_arguments, picture_file, plain_messages, prepare, require_file

matplotlib.use('Agg')


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument('predictions', help='checkpoint, dump, or folder of predictions')
    parser.add_argument('--classes', metavar='FILE', help="names, one a line (default: the data set's)")
    parser.add_argument('--normalize', action='store_true', help='draw per cent of each true class, not samples')
    parser.add_argument('--pairs', type=int, default=10, help='confused pairs to print (default: %(default)s)')
    parser.add_argument('--out', type=picture_file, default='confusion.png', help='picture (default: %(default)s)')
    return parser.parse_args()


def labels(cfg: Config, path: str, classes: list[str]) -> tuple[list[int], list[int]]:
    """True and predicted labels of the samples."""
    if path.endswith('.jsonl'):
        init_default_scope(cfg.default_scope)
        dataset = DATASETS.build({**test_dataset(cfg), 'pipeline': []})
        videos = (dataset.get_data_info(i) for i in range(len(dataset)))
        return read_predicted(path, {video['filename']: int(video['label']) for video in videos}, classes)
    if path.endswith(('.pkl', '.pickle')):
        return read_dump(path)
    with tempfile.TemporaryDirectory() as folder:
        dump = Path(folder, 'predictions.pkl')
        cfg.load_from, cfg.test_evaluator = path, dict(type='DumpResults', out_file_path=str(dump))
        check_data(cfg, 'test_dataloader')
        run(cfg, 'test')
        return read_dump(dump)


def main() -> None:
    """Print and draw."""
    args = parse_args()
    cfg = prepare(args)
    if cfg.get('default_scope') not in ('mmaction', 'mmpretrain'):
        raise ValueError(
            f'{args.config} is a config of {cfg.get("default_scope")}; this is for mmaction and mmpretrain'
        )
    path = args.predictions
    path = str(Path(path, 'sources.jsonl')) if Path(path).is_dir() else path
    require_file(path, 'predictions ')
    init_default_scope(cfg.default_scope)
    classes, _ = class_names(cfg, {}, args.classes)
    found = counted(*labels(cfg, path, classes), classes)
    print(found.text(args.pairs))

    args.out.parent.mkdir(parents=True, exist_ok=True)
    found.picture(args.normalize).savefig(args.out, dpi=150)
    print(f'\npicture: {args.out}')


if __name__ == '__main__':
    with plain_messages():
        main()
