"""What tools/train.py and tools/test.py do, for the configs of every OpenMMLab framework."""

from __future__ import annotations

import argparse
import difflib
import gc
import inspect
import logging
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.registry import HOOKS, RUNNERS
from mmengine.runner import Runner

from mmsvf.compat import check_environment, setup_cpu_distributed
from mmsvf.engine.allocator import keep_freed_memory, return_freed_memory
from mmsvf.engine.exact_resume.seeded import seeded
from mmsvf.files.work_dir import WorkDirLock, find_latest_checkpoint
from mmsvf.frameworks import FRAMEWORKS, require

# hooks of every training here, by their key in default_hooks
SAFEGUARDS = dict(load_report='LoadReportHook', exact_resume='ExactResumeHook', finite='FiniteHook')
# what launchers other than torchrun call RANK and LOCAL_RANK, and what starts their processes
RANKS = dict(
    slurm=('SLURM_PROCID', 'SLURM_LOCALID', 'srun, as in tools/slurm_train.sh'),
    mpi=('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_LOCAL_RANK', 'mpirun of Open MPI'),
)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that training and testing share."""
    parser.add_argument('config', help='config file, or one of an installed framework, as mmaction::recognition/...py')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (default: work_dirs/CONFIG)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override config values, as model.backbone.arch=small optim_wrapper.optimizer.lr=1e-4 or key="[a,b]"',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    # torch.distributed.launch hands over --local_rank, --local-rank from torch 2.0 on
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def config_path(name: str) -> Path:
    """The file of a config; ``mmaction::recognition/...`` is looked up in the installed framework.

    Raises:
        FileNotFoundError: no such file; the message has the nearest names.
        ImportError: the framework is not installed; the message has the pip command.
        ValueError: an unknown framework before ``::``.
    """
    folder, file = Path(), name
    if '::' in name:
        scope, file = name.split('::', 1)
        if scope not in FRAMEWORKS:
            raise ValueError(f'config {name!r}: unknown framework {scope!r}; choose one of {sorted(FRAMEWORKS)}')
        require(scope, f'config {name!r}')
        spec = find_spec(scope)
        assert spec is not None and spec.submodule_search_locations is not None
        folder = Path(spec.submodule_search_locations[0]) / '.mim' / 'configs'
    path = folder / file
    if not path.is_file():
        known = [p.relative_to(folder).as_posix() for p in (folder if '::' in name else path.parent).rglob('*.py')]
        near = difflib.get_close_matches(file, known, 3)
        raise FileNotFoundError(f'config {name!r} does not exist{f"; did you mean {near}?" if near else ""}')
    return path


def load_config(name: str) -> Config:
    """Read a config and check that the frameworks it names are installed.

    Raises:
        FileNotFoundError, ImportError, ValueError: as :func:`config_path`.
    """
    path = config_path(name)
    text = path.read_text(encoding='utf-8')
    for scope in FRAMEWORKS:
        if f'{scope}::' in text:
            require(scope, f'config {name!r}')
    cfg = Config.fromfile(path)
    scope = cfg.get('default_scope')
    if scope in FRAMEWORKS:
        require(scope, f'config {name!r} (default_scope={scope!r})')
    return cfg


def name_ranks(launcher: str) -> None:
    """Set RANK and LOCAL_RANK as torchrun does: MMEngine does so too late (slurm), or not at all (mpi).

    Raises:
        ValueError: the launcher's variables are missing, or the first machine cannot be found out.
    """
    if launcher not in RANKS:
        return
    *names, starter = RANKS[launcher]
    for name, own in zip(('RANK', 'LOCAL_RANK'), names, strict=True):
        if own not in os.environ:
            raise ValueError(f'--launcher {launcher}: {own} is not set; start the processes with {starter}')
        os.environ[name] = os.environ[own]
    if launcher == 'slurm' and 'MASTER_ADDR' not in os.environ and shutil.which('scontrol') is None:
        raise ValueError(
            '--launcher slurm asks scontrol for the name of the first machine, and there is no scontrol here (is this '
            'a container?); set MASTER_ADDR to that name, as MASTER_ADDR=$(scontrol show hostname '
            '"$SLURM_JOB_NODELIST" | head -n1) in the batch script'
        )


def prepare(args: argparse.Namespace) -> Config:
    """Config with the common flags merged."""
    check_environment()
    name_ranks(args.launcher)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or os.path.join('work_dirs', Path(args.config).stem)
    return cfg


def check_schedule(cfg: Config) -> None:
    """Compare the training's length with that of schedules which cannot go on beyond theirs.

    Raises:
        ValueError: a one-cycle schedule ends before the training does.
    """
    schedules, loop = cfg.get('param_scheduler') or [], cfg.get('train_cfg') or {}
    listed = isinstance(schedules, (list, tuple))
    for i, schedule in enumerate(schedules if listed else [schedules]):
        unit = 'max_epochs' if schedule.get('by_epoch', True) else 'max_iters'
        steps, length = schedule.get('total_steps'), loop.get(unit)
        if steps is not None and length is not None and schedule.get('begin', 0) + steps < length:
            key = f'param_scheduler.{i}.total_steps' if listed else 'param_scheduler.total_steps'
            raise ValueError(
                f'train_cfg.{unit}={length}, but {key}={steps}: the schedule of the learning rate ends before the '
                f'training; set both, as --cfg-options train_cfg.{unit}={length} '
                f'{key}={length - schedule.get("begin", 0)}'
            )


def check_strategy(cfg: Config) -> None:
    """Look at MMEngine's strategy of a FlexibleRunner; FSDP writes whole checkpoints, as every other training.

    Raises:
        ValueError: a strategy that nothing would use, that has no process group, or that writes checkpoints in parts.
    """
    if 'runner_type' in cfg and cfg.get('sync_bn') is not None:
        raise ValueError(
            f'sync_bn={cfg.sync_bn!r} is not looked at by runner_type={cfg.runner_type!r}: give it as strategy.sync_bn '
            'to a DDPStrategy; FSDPStrategy has none'
        )
    strategy = cfg.get('strategy')
    if not isinstance(strategy, dict):
        return
    kind = str(strategy.get('type')).split('.')[-1]
    if 'runner_type' not in cfg:
        raise ValueError(f"strategy.type={kind!r} is for MMEngine's other runner: set runner_type=FlexibleRunner, too")
    if kind in ('DDPStrategy', 'FSDPStrategy') and cfg.launcher == 'none':
        raise ValueError(
            f'strategy.type={kind!r} divides work among processes: start it with tools/dist_train.sh CONFIG GPUS '
            '(one GPU will do), or on SLURM with tools/slurm_train.sh'
        )
    if kind == 'FSDPStrategy':
        if strategy.get('sync_bn') is not None:
            raise ValueError(
                'strategy.sync_bn: FSDPStrategy does not look at it; DDPStrategy turns BatchNorm into SyncBN'
            )
        form = strategy.setdefault('state_dict_cfg', 'full')
        form = form.get('state_dict_type') if isinstance(form, dict) else form
        if str(form).split('.')[-1] not in ('full', 'FULL_STATE_DICT'):
            raise ValueError(
                f'strategy.state_dict_cfg={strategy["state_dict_cfg"]!r} writes a checkpoint in parts, which neither '
                "tests nor another number of processes could read: leave it at 'full'"
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
    check_work_dir(cfg.work_dir)
    lock = WorkDirLock(cfg.work_dir) if os.environ.get('RANK', '0') == '0' else None  # before anything is written there
    unreadable = Path(cfg.work_dir, 'unreadable.txt')
    if args.max_unreadable is not None:
        dataset = cfg.train_dataloader.dataset
        cfg.train_dataloader.dataset = dict(type='mmsvf.SkipUnreadable', dataset=dataset, limit=args.max_unreadable)
    lose_nothing(cfg, unreadable)
    run(cfg, 'train')
    if lock is not None:
        lock.release()
    if unreadable.is_file() and os.environ.get('RANK', '0') == '0':
        count = len(unreadable.read_text(encoding='utf-8').splitlines())
        print(f'{count} files could not be read and were skipped; they are listed in {unreadable}')


def lose_nothing(cfg: Config, unreadable: Path) -> None:
    """Have a training resume exactly, stop where it diverges, and list unreadable files in the work-dir."""
    if isinstance(cfg.get('train_dataloader'), dict):
        if str(cfg.train_dataloader.dataset.get('type')).endswith('SkipUnreadable'):
            cfg.train_dataloader.dataset.setdefault('report', str(unreadable))
        seeded(cfg.train_dataloader)
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    custom = [hook for hook in cfg.get('custom_hooks') or [] if isinstance(hook, dict)]
    present = {str(hook.get('type')).split('.')[-1] for hook in custom}
    for key, name in SAFEGUARDS.items():
        if hooks.get(key, ()) is None:  # switched off; MMEngine takes None for its own hooks alone
            del hooks[key]
        elif name not in present:
            hooks.setdefault(key, ConfigDict()).setdefault('type', f'mmsvf.{name}')


def test(args: argparse.Namespace) -> dict[str, float]:
    """Test with the flags of tools/test.py; returns the metrics."""
    cfg = prepare(args)
    require_file(args.checkpoint)
    cfg.load_from = args.checkpoint
    if args.dump is not None:
        if not args.dump.endswith(('.pkl', '.pickle')):
            raise ValueError(f'--dump {args.dump!r}: predictions are written as a pickle; name it *.pkl')
        evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, (list, tuple)) else [cfg.test_evaluator]
        cfg.test_evaluator = [*evaluators, dict(type='DumpResults', out_file_path=args.dump)]
    if args.out is not None:
        if cfg.get('default_scope') != 'mmseg':
            raise ValueError('--out writes label maps of a segmentation; for other predictions use --dump')
        evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, (list, tuple)) else [cfg.test_evaluator]
        for evaluator in evaluators:
            evaluator.output_dir = args.out
    if args.tta:
        if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
            raise ValueError('--tta needs tta_model and tta_pipeline in the config')
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
        cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    if args.compile and not args.fuse:
        raise ValueError('--compile goes with --fuse: it is the fused model that becomes one graph')
    if args.fuse:
        hooks = [*(cfg.get('custom_hooks') or []), dict(type='mmsvf.FuseHook', compile=args.compile)]
        cfg.custom_hooks = hooks
    if args.show or args.show_dir is not None:
        show_predictions(cfg, args)
    return run(cfg, 'test')


def check_work_dir(folder: str) -> None:
    """Write and remove a file, before hours of training that could not be kept.

    Raises:
        OSError: nothing can be written there.
    """
    probe = Path(folder, f'.writable-{os.getpid()}')
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b'1')
        probe.unlink(missing_ok=True)  # a process on another machine may have the same number
    except OSError as error:
        raise OSError(
            f'nothing can be written to the work-dir {folder!r} ({error}); give another --work-dir'
        ) from error


def require_file(
    checkpoint: str, name: str = 'checkpoint ', advice: str = 'training writes them in its --work-dir'
) -> None:
    """Check that a checkpoint exists, unless it is a URL.

    Raises:
        FileNotFoundError: no such file; the message has its ``name`` and the ``advice``.
    """
    if '://' not in checkpoint and not os.path.exists(checkpoint):
        raise FileNotFoundError(f'{name}{checkpoint!r} does not exist; {advice}')


def show_predictions(cfg: Config, args: argparse.Namespace) -> None:
    """Switch the config's visualization hook on; its options differ between the frameworks."""
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    if cfg.get('default_scope') == 'mmaction':
        # mmaction2's own hook takes no clips in NCTHW, and most of its configs have none
        hooks.visualization = dict(type='mmsvf.VideoVisualizationHook')
    if 'visualization' not in hooks:
        raise ValueError('--show and --show-dir need default_hooks.visualization in the config (a VisualizationHook)')
    with HOOKS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
        options = inspect.signature(registry.get(hooks.visualization.type).__init__).parameters
    values = dict(enable=True, draw=True, show=args.show, interval=args.interval, wait_time=args.wait_time)
    if args.show_dir is not None:
        values.update(out_dir=args.show_dir, test_out_dir=args.show_dir)
        if not {'out_dir', 'test_out_dir'} & set(options):  # mmsegmentation writes where its visualizer does
            cfg.visualizer.save_dir = args.show_dir
    hooks.visualization.update({k: v for k, v in values.items() if k in options})
