"""FuseHook replaces the model a runner tests, inside a distributed wrapper, too."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModel

from mmsvf.engine.hooks.fuse_hook import FuseHook
from mmsvf.models.backbones.spike_video_former import SpikeVideoFormer
from mmsvf.registry import HOOKS, MODEL_WRAPPERS


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.backbone = SpikeVideoFormer(dict(embed_dims=(8, 8, 8, 16, 16), depths=(1, 1, 1, 1, 1)))

    def forward(self, x):
        return self.backbone(x)


def norms(model):
    return sum(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())


def test_model_is_replaced():
    runner = SimpleNamespace(model=Model().eval(), logger=MMLogger.get_current_instance())
    before = runner.model
    hook = HOOKS.build(dict(type='mmsvf.FuseHook'))
    hook.before_test(runner)
    assert runner.model is not before and norms(before) and not norms(runner.model)
    with torch.no_grad():
        x = torch.randn(1, 3, 2, 32, 32)
        torch.testing.assert_close(runner.model(x), before(x), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match='fused already'):
        hook.before_test(runner)


def test_inside_a_wrapper():
    @MODEL_WRAPPERS.register_module(name='mmsvf.test.Wrapper')
    class Wrapper(torch.nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    runner = SimpleNamespace(model=Wrapper(Model()), logger=MMLogger.get_current_instance())
    FuseHook(merge=True).before_test(runner)
    assert isinstance(runner.model, Wrapper) and not norms(runner.model)
