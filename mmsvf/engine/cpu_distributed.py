"""Distributed and sharded training on CPU processes."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import MMDistributedDataParallel, MMFullyShardedDataParallel, revert_sync_batchnorm
from torch import nn

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
        """Without a copy to the CPU, where torch 2.13 would free what it has copied nothing of."""
        for config in (state, optimizer):
            if config is not None:
                config.offload_to_cpu = False
        return MMFullyShardedDataParallel.set_state_dict_type(module, kind, state, optimizer)
