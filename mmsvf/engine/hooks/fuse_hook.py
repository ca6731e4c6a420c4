"""Testing a model in its exact inference form."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch.distributed.fsdp import FullyShardedDataParallel

from mmsvf.registry import HOOKS
from mmsvf.spiking.fusion import compile_blocks, fuse


@HOOKS.register_module()
class FuseHook(Hook):
    """Replaces the runner's model by :func:`mmsvf.fuse` of it before a test, when its weights are loaded.

    No hook of MMEngine replaces a model.

    Args:
        merge: As of :func:`mmsvf.fuse`.
        compile: Also have torch.compile turn each block into one graph, which needs a C++ compiler and a minute.
        engine: As of :func:`mmsvf.fuse`; after the test the log has what each layer measured and took.
    """

    def __init__(self, merge: bool = False, compile: bool = False, engine: str = 'dense') -> None:
        self.merge, self.compile, self.engine = merge, compile, engine

    def before_test(self, runner: Any) -> None:
        """Fuse, inside a distributed wrapper, too.

        Raises:
            ValueError: the weights are divided among processes.
        """
        if isinstance(runner.model, FullyShardedDataParallel):
            raise ValueError('a model under FSDPStrategy cannot be fused: test it without runner_type and strategy')
        wrapped = is_model_wrapper(runner.model)
        model: Any = fuse(runner.model.module if wrapped else runner.model, self.merge, self.engine)
        if self.compile:
            compile_blocks(model)
        if wrapped:
            runner.model.module = model
        else:
            runner.model = model
        runner.logger.info(f'model fused{" and compiled" if self.compile else ""}')

    def after_test(self, runner: Any) -> None:
        """Log what the engine measured."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if self.engine != 'dense':
            runner.logger.info(f'engine {self.engine}:\n{model.engine_report()}')
