"""What tools/train.py and tools/test.py do, for the configs of every OpenMMLab framework."""

from __future__ import annotations

import argparse
import gc
import inspect
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.config import Config, ConfigDict
from mmengine.registry import HOOKS, METRICS, RUNNERS
from mmengine.runner import Runner

from mmsvf.engine.allocator import keep_freed_memory, return_freed_memory
from mmsvf.engine.cpu_distributed import setup_cpu_distributed
from mmsvf.engine.exact_resume.seeded import seeded
from mmsvf.engine.missing_data import check_data
from mmsvf.engine.run_config import (
    check_classes,
    check_optimizer,
    check_schedule,
    check_work_dir,
    prepare,
    require_file,
)
from mmsvf.engine.start_log import short_start
from mmsvf.engine.strategies import check_strategy
from mmsvf.files.work_dir import WorkDirLock, find_latest_checkpoint

# hooks of every training here, by their key in default_hooks
SAFEGUARDS = dict(
    load_report='LoadReportHook',
    exact_resume='ExactResumeHook',
    finite='FiniteHook',
    mask_label='MaskLabelHook',
    optimizer_report='OptimizerReportHook',
)


def run(cfg: Config, method: str) -> Any:
    """Build the runner and call its ``train`` or ``test``."""
    check_strategy(cfg)
    setup_cpu_distributed(cfg)
    if not torch.cuda.is_available():
        if method == 'test':
            keep_freed_memory()  # a tenth of a forward; in training it would cost memory
        elif cfg.model.get('backbone', {}).get('with_cp'):
            return_freed_memory()  # a third of the peak, where memory was asked for
    with short_start():
        runner = Runner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
        try:
            result = getattr(runner, method)()
        except BaseException as error:
            write_down(runner, error)
            raise
    if dist.is_available() and dist.is_initialized():  # without this a CPU run may abort at exit
        dist.barrier()
        dist.destroy_process_group()
        del runner  # its model holds the group, whose threads must have ended before the process does
        gc.collect()
    return result


def write_down(runner: Runner, error: BaseException) -> None:
    """Put what ended a run into the log of its work-dir; the console shows it anyway."""
    record = logging.LogRecord(
        runner.logger.name,
        logging.ERROR,
        __file__,
        0,
        f'the run ended with {type(error).__name__}: {error}',
        None,
        (type(error), error, error.__traceback__),
    )
    for handler in runner.logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


def train(args: argparse.Namespace) -> None:
    """Train with the flags of tools/train.py."""
    cfg = prepare(args)
    check_schedule(cfg)
    check_optimizer(cfg)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
        if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
            raise ValueError(f'--amp replaces an OptimWrapper; this config has optim_wrapper.type={kind!r}')
        if not torch.cuda.is_available():
            raise ValueError('--amp trains in half precision on a GPU, and none is visible; leave it out')
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise ValueError(
                '--auto-scale-lr needs the batch size that the learning rate was made for: set '
                'auto_scale_lr.base_batch_size in the config or with --cfg-options'
            )
        cfg.auto_scale_lr.enable = True
    if args.resume is not None:
        found = find_latest_checkpoint(cfg.work_dir) if args.resume == 'auto' else args.resume
        if found is None:
            print(f'--resume: {cfg.work_dir} has no checkpoint yet; training starts from the beginning')
        else:
            require_file(found, '--resume ')
            cfg.resume, cfg.load_from = True, found
    if cfg.get('load_from') is not None:
        start = cfg.get('default_hooks', {}).get('load_report', {}).get('start')
        advice = (
            f'{f"the paper starts this training from {start}; " if start else ""}give another file with --cfg-options '
            'load_from=FILE, or start from random weights with --cfg-options load_from=None'
        )
        require_file(cfg.load_from, 'load_from=', advice)
    randomness = cfg.setdefault('randomness', ConfigDict())
    randomness.setdefault('seed', None)  # the Runner wants it named
    if args.seed is not None:
        randomness.seed = args.seed
    randomness.update({k: True for k in ('diff_rank_seed', 'deterministic') if getattr(args, k)})
    for check in (check_data, check_classes):  # while options are those of the command line
        check(cfg, 'train_dataloader', 'val_dataloader')
    check_work_dir(cfg.work_dir)
    lock = WorkDirLock(cfg.work_dir) if os.environ.get('RANK', '0') == '0' else None  # before anything is written there
    unreadable = Path(cfg.work_dir, 'unreadable.txt')
    if args.max_unreadable is not None:
        dataset = cfg.train_dataloader.dataset
        cfg.train_dataloader.dataset = dict(type='mmsvf.SkipUnreadable', dataset=dataset, limit=args.max_unreadable)
    add_training_safeguards(cfg, unreadable)
    run(cfg, 'train')
    if lock is not None:
        lock.release()
    if unreadable.is_file() and os.environ.get('RANK', '0') == '0':
        count = len(unreadable.read_text(encoding='utf-8').splitlines())
        print(f'{count} files could not be read and were skipped; they are listed in {unreadable}')


def add_training_safeguards(cfg: Config, unreadable: Path) -> None:
    """Have a training resume exactly, stop where it diverges, and list unreadable files in the work-dir."""
    if isinstance(cfg.get('train_dataloader'), dict):
        if str(cfg.train_dataloader.dataset.get('type')).endswith('SkipUnreadable'):
            cfg.train_dataloader.dataset.setdefault('report', str(unreadable))
        seeded(cfg.train_dataloader)
    add_hooks(cfg, SAFEGUARDS)


def add_hooks(cfg: Config, keys: Iterable[str]) -> None:
    """Add those of ``SAFEGUARDS`` that a config neither has nor switches off."""
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    custom = [hook for hook in cfg.get('custom_hooks') or [] if isinstance(hook, dict)]
    present = {str(hook.get('type')).split('.')[-1] for hook in custom}
    for key in keys:
        name = SAFEGUARDS[key]
        if hooks.get(key, ()) is None:  # switched off; MMEngine takes None for its own hooks alone
            del hooks[key]
        elif name not in present:
            hooks.setdefault(key, ConfigDict()).setdefault('type', f'mmsvf.{name}')


def test(args: argparse.Namespace) -> dict[str, float]:
    """Test with the flags of tools/test.py; returns the metrics."""
    cfg = prepare(args)
    require_file(args.checkpoint)
    cfg.load_from = args.checkpoint
    evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, (list, tuple)) else [cfg.test_evaluator]
    if args.out is not None:
        write_maps(cfg, evaluators, args.out)
    if args.dump is not None:
        dump = str(args.dump)
        if not dump.endswith(('.pkl', '.pickle')):
            raise ValueError(f'--dump {dump!r}: predictions are written as a pickle; name it *.pkl')
        cfg.test_evaluator = [*evaluators, dict(type='DumpResults', out_file_path=dump)]
    if args.tta:
        if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
            raise ValueError(
                '--tta needs tta_model and tta_pipeline in the config, as those of segmentation have them; of clips '
                'and crops, which are views of the test pipeline, the mean is taken without it (docs/predict.md)'
            )
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
        cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    if args.compile and not args.fuse:
        raise ValueError('--compile goes with --fuse: it is the fused model that becomes one graph')
    if args.engine != 'dense' and (args.compile or not args.fuse):
        raise ValueError(f'--engine {args.engine} goes with --fuse and without --compile, whose graphs are dense')
    if args.fuse:
        hook = dict(type='mmsvf.FuseHook', compile=args.compile, engine=args.engine)
        hooks = [*(cfg.get('custom_hooks') or []), hook]
        cfg.custom_hooks = hooks
    if args.show or args.show_dir is not None:
        show_predictions(cfg, args)
    check_data(cfg, 'test_dataloader')
    check_classes(cfg, 'test_dataloader')
    add_hooks(cfg, ['load_report'])  # configs of the frameworks have none, and would go on with a random head
    return run(cfg, 'test')


def write_maps(cfg: Config, evaluators: Sequence[ConfigDict], folder: str) -> None:
    """Have the metrics of a segmentation that write label maps write them to a folder."""
    if cfg.get('default_scope') != 'mmseg':
        raise ValueError('--out writes label maps of a segmentation; for other predictions use --dump')
    with METRICS.switch_scope_and_registry(cfg.default_scope) as registry:
        kinds = [registry.get(one.type) if isinstance(one.type, str) else one.type for one in evaluators]
    writers = [
        evaluator
        for evaluator, kind in zip(evaluators, kinds)
        # a metric may hand its keywords on to the one that it extends
        if any('output_dir' in inspect.signature(base).parameters for base in getattr(kind, '__mro__', ())[:-1])
    ]
    if not writers:
        raise ValueError('--out needs a metric that takes output_dir in test_evaluator, such as IoUMetric')
    for evaluator in writers:
        evaluator.output_dir = folder


def show_predictions(cfg: Config, args: argparse.Namespace) -> None:
    """Switch the config's visualization hook on; its options differ between the frameworks."""
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    if cfg.get('default_scope') == 'mmaction':
        # mmaction2's own hook takes no clips in NCTHW, and most of its configs have none
        hooks.visualization = dict(type='mmsvf.VideoVisualizationHook')
        keep_names(cfg.test_dataloader.dataset.get('pipeline') or [])
    if 'visualization' not in hooks:
        raise ValueError('--show and --show-dir need default_hooks.visualization in the config (a VisualizationHook)')
    with HOOKS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
        options = inspect.signature(registry.get(hooks.visualization.type).__init__).parameters
    # hooks ask for the iteration, for which MMEngine would set up a training, with its data
    cfg.train_cfg = cfg.train_dataloader = cfg.optim_wrapper = cfg.param_scheduler = None
    values = dict(enable=True, draw=True, show=args.show, interval=args.interval, wait_time=args.wait_time)
    if args.show_dir is not None:
        values.update(out_dir=args.show_dir, test_out_dir=args.show_dir)
        if not {'out_dir', 'test_out_dir'} & set(options):  # mmsegmentation writes where its visualizer does
            cfg.visualizer.save_dir = args.show_dir
    hooks.visualization.update({k: v for k, v in values.items() if k in options})


def keep_names(pipeline: list[ConfigDict]) -> None:
    """Have samples of mmaction2 keep the names of their videos, which name the pictures."""
    for transform in pipeline:
        if transform.type == 'PackActionInputs':
            default = ('img_shape', 'img_key', 'video_id', 'timestamp')
            transform.meta_keys = (*transform.get('meta_keys', default), 'filename', 'frame_dir')
