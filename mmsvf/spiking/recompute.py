"""Training with less GPU memory or RAM: activations are computed again in the backward pass instead of being kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recomputed(layer: nn.Module, x: Tensor) -> Tensor:
    """``layer(x)``, of which training keeps only ``x``; outputs, gradients and statistics are the same, bit for bit."""
    if not (layer.training and x.requires_grad):
        return layer(x)
    return checkpoint(layer, x, use_reentrant=False, context_fn=lambda: (nullcontext(), frozen_bn_statistics(layer)))


@contextmanager
def frozen_bn_statistics(module: nn.Module) -> Iterator[None]:
    """Recompute without a second update of BatchNorm statistics.

    RepConv reads them in training, so a second update would change the recomputed values.
    """
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training]
    kept = [(m.momentum, m.num_batches_tracked) for m in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, torch.zeros((), dtype=torch.long)
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, kept):
            norm.momentum, norm.num_batches_tracked = momentum, batches
