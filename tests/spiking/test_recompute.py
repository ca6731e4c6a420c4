"""What a backward pass computes again, it computes as the forward pass did."""

import pytest
import torch
from torch import nn

from mmsvf.spiking import SpikeTransformerBlock
from mmsvf.spiking.recompute import recomputed


@pytest.mark.parametrize('norm', ['BatchNorm', 'SyncBatchNorm', 'cumulative'])
def test_of_every_kind_of_batch_norm(norm):
    torch.manual_seed(0)
    block = SpikeTransformerBlock(8, num_heads=2)
    if norm == 'SyncBatchNorm':
        block = nn.SyncBatchNorm.convert_sync_batchnorm(block)
    for part in block.modules():
        if norm == 'cumulative' and isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    x = torch.randn(2, 2, 8, 4, 4, requires_grad=True)
    start = {name: value.clone() for name, value in block.state_dict().items()}
    found = []
    for forward in (block, lambda x: recomputed(block, x)):
        block.load_state_dict(start)
        block.zero_grad()
        gradients = torch.autograd.grad(forward(x).square().sum(), [x, *block.parameters()])
        found.append([*gradients, *(value.clone() for value in block.state_dict().values())])
    assert all(map(torch.equal, *found))
