"""MMEngine's strategies of a FlexibleRunner: what is checked before a run, and what its FSDPStrategy needs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from mmengine.config import Config

from mmsvf.compat import on_import


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
        if (cfg.get('model') or {}).get('chunk_frames') is not None:
            raise ValueError(
                f'model.chunk_frames={cfg.model.chunk_frames!r} needs the gradients of whole parameters, which '
                'FSDPStrategy divides: leave strategy and runner_type out, or set chunk_frames=None'
            )
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


@contextlib.contextmanager
def shard_with_this_torch(module: ModuleType) -> Iterator[None]:
    """FSDPStrategy resumes its optimizer, and clips by the norm of the whole gradient.

    Reason: mmengine 0.10.7 hands ``optim_state_dict_to_load`` its arguments in the order of torch 2.0, and has each
    process clip by the norm of its own part. Delete when it does neither.
    """
    yield
    strategy = module.FSDPStrategy
    build = strategy.build_optim_wrapper

    def load_optim_state_dict(self: Any, state_dict: dict) -> None:
        if any(isinstance(key, int) for key in state_dict['state']):  # FSDP writes names
            raise ValueError(
                'the checkpoint to resume from was written without FSDPStrategy, which cannot go on with its '
                'optimizer: leave strategy out, or start a new training from its weights with --cfg-options '
                'load_from=FILE'
            )
        state = module.FSDP.optim_state_dict_to_load(
            model=self.model, optim=self.optim_wrapper.optimizer, optim_state_dict=state_dict
        )
        self.optim_wrapper.load_state_dict(state)

    def build_optim_wrapper(self: Any, optim_wrapper: Any, model: Any = None) -> Any:
        import torch

        built = build(self, optim_wrapper, model)
        if getattr(built, 'clip_func', None) is torch.nn.utils.clip_grad_norm_:
            built.clip_func = lambda _, **options: model.clip_grad_norm_(**options)
        return built

    strategy.load_optim_state_dict, strategy.build_optim_wrapper = load_optim_state_dict, build_optim_wrapper


on_import('mmengine._strategy.fsdp', shard_with_this_torch)
