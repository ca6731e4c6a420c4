"""Distributed and sharded training on CPU processes."""

from __future__ import annotations

import importlib
from typing import Any

import torch
import torch.distributed as dist
from mmengine.model import MMDistributedDataParallel, MMFullyShardedDataParallel, revert_sync_batchnorm
from torch import nn

from mmsvf.compat import Overlay, log_once
from mmsvf.registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(MMDistributedDataParallel):
    """MMEngine's wrapper without a device id, and with SyncBN, which is for GPUs only, turned into BN."""

    def __init__(self, module: nn.Module, device_ids: Any = None, broadcast_buffers: bool = False, **kwargs: Any):
        super().__init__(revert_sync_batchnorm(module), device_ids=None, broadcast_buffers=broadcast_buffers, **kwargs)


@MODEL_WRAPPERS.register_module()
class CPUFullyShardedDataParallel(MMFullyShardedDataParallel):
    """MMEngine's wrapper on the CPU: a number as device is a GPU to torch."""

    def __init__(self, module: nn.Module, device_id: Any = None, **kwargs: Any):
        super().__init__(module, device_id=torch.device('cpu'), **kwargs)

    @staticmethod
    def set_state_dict_type(module: nn.Module, kind: Any, state: Any = None, optimizer: Any = None) -> Any:
        """Without ``offload_to_cpu``: on the CPU that copy is the tensor itself, which torch 2.13 then frees."""
        for config in (state, optimizer):
            if config is not None:
                config.offload_to_cpu = False
        return MMFullyShardedDataParallel.set_state_dict_type(module, kind, state, optimizer)


def setup_cpu_distributed(cfg: Any) -> None:
    """Start gloo and choose the CPU wrapper for a run without a GPU by any launcher.

    Reason: MMEngine calls ``torch.cuda.set_device`` with any backend, and hands DDP and FSDP a device id.
    Delete when ``Runner`` runs on several CPU processes by itself.
    """
    if cfg.get('launcher', 'none') == 'none' or torch.cuda.is_available():
        return
    if not dist.is_initialized():
        utils: Any = importlib.import_module('mmengine.dist.utils')
        options = cfg.get('env_cfg') or {}
        # in the Runner's order: otherwise it would warn of another start method of processes
        importlib.import_module('mmengine.utils.dl_utils').set_multi_processing(
            **(options.get('mp_cfg') or {}), distributed=True
        )
        utils.torch = Overlay(torch, cuda=Overlay(torch.cuda, set_device=lambda device: None))
        try:
            utils.init_dist(cfg.launcher, **{**(options.get('dist_cfg') or {}), 'backend': 'gloo'})
        finally:
            utils.torch = torch
    cfg.setdefault('model_wrapper_cfg', dict(type='mmsvf.CPUDistributedDataParallel'))
    if 'runner_type' in cfg:  # FlexibleRunner, whose strategies choose the wrapper
        strategy = cfg.setdefault('strategy', type(cfg.model)(type='DDPStrategy'))
        kind = str(strategy.get('type')).split('.')[-1]
        wrappers = dict(DDPStrategy='CPUDistributedDataParallel', FSDPStrategy='CPUFullyShardedDataParallel')
        if kind in wrappers:
            strategy['model_wrapper'] = {'type': f'mmsvf.{wrappers[kind]}', **(strategy.get('model_wrapper') or {})}
    log_once('no GPU: several processes train on CPU over gloo')
