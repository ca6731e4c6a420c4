"""Distributed data parallel on CPU processes."""

from __future__ import annotations

from typing import Any

from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from torch import nn

from mmsvf.registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(MMDistributedDataParallel):
    """MMEngine's wrapper without a device id, and with SyncBN, which is for GPUs only, turned into BN."""

    def __init__(self, module: nn.Module, device_ids: Any = None, broadcast_buffers: bool = False, **kwargs: Any):
        super().__init__(revert_sync_batchnorm(module), device_ids=None, broadcast_buffers=broadcast_buffers, **kwargs)
