"""Training with less GPU memory or RAM: activations are computed again in the backward pass instead of being kept."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recomputed(layer: nn.Module, x: Tensor) -> Tensor:
    """``layer(x)``, of which training keeps only ``x``; outputs, gradients and statistics are the same, bit for bit."""
    if not (layer.training and x.requires_grad):
        return layer(x)
    statistics = _Statistics(layer)
    y = checkpoint(layer, x, use_reentrant=False, context_fn=lambda: (nullcontext(), statistics))
    statistics.keep()
    return y


class _Statistics:
    """BatchNorm statistics as a forward pass left them, put back while it is recomputed, which updates none.

    RepConv reads them in training, and later forward passes change them.
    """

    def __init__(self, layer: nn.Module) -> None:
        self.norms: list[Any] = [m for m in layer.modules() if isinstance(m, _BatchNorm) and m.training]

    def keep(self) -> None:
        """Take those of now."""
        self.others = []
        for norm in self.norms:
            mean, var = (x if x is None else x.clone() for x in (norm.running_mean, norm.running_var))
            batches = torch.zeros((), dtype=torch.long)  # SyncBatchNorm wants something to count with
            self.others.append(
                (0.0, dict(norm._buffers, running_mean=mean, running_var=var, num_batches_tracked=batches))
            )

    def exchange(self, *_: object) -> None:
        """Kept ones for those of the norms: tensors, not values, which other passes may have saved for the gradient."""
        for i, norm in enumerate(self.norms):
            here = norm.momentum, norm._buffers
            norm.momentum, norm._buffers = self.others[i]
            self.others[i] = here

    __enter__ = __exit__ = exchange
