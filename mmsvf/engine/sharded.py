"""Models whose weights are divided among the processes (FSDP), for the hooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.dist import all_reduce
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy, StateDictType


def full_state_dict(model: nn.Module) -> Mapping[str, Tensor]:
    """A model's state dict without wrappers; of a sharded one, gathered: all processes have to call it."""
    if isinstance(model, FullyShardedDataParallel):
        with FullyShardedDataParallel.state_dict_type(model, StateDictType.FULL_STATE_DICT):
            return model.state_dict()
    return unwrapped(model).state_dict()


def unwrapped(model: Any) -> nn.Module:
    """The model itself."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def total_square(model: nn.Module, square: Tensor) -> Tensor:
    """Squared norm of a whole vector from the ``square`` of each process's part of it, if the model is sharded."""
    if isinstance(model, FullyShardedDataParallel) and model.sharding_strategy is not ShardingStrategy.NO_SHARD:
        all_reduce(square, group=model.process_group)
    return square


def plain_name(name: str) -> str:
    """A tensor's name without what wrappers put into it."""
    return name.removeprefix('module.').replace('_fsdp_wrapped_module.', '')
