"""Small random models whose every layer spikes: untouched, most of their neurons never fire."""

import torch
from torch.nn.modules.batchnorm import _BatchNorm


def awake(model, *inputs):
    """Spread the membranes by the BatchNorms' weights and biases; given inputs, in evaluation with their statistics."""
    for norm in model.modules():
        if isinstance(norm, _BatchNorm):
            torch.nn.init.uniform_(norm.weight, 1.0, 3.0)
            torch.nn.init.uniform_(norm.bias, 0.0, 2.0)
            if inputs:
                norm.momentum = 1.0
    if inputs:
        with torch.no_grad():
            for _ in range(3):  # RepConv's border reads the statistics
                model.train()(*inputs)
        model.eval()
    return model
