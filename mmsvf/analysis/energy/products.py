"""Which operations of torch multiply, and how often."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

aten = torch.ops.aten


def _sdpa(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
    return sdpa_flop_count(query.shape, key.shape, value.shape)


def _matrix(matrix: Tensor, vector: Tensor, **kwargs: Any) -> int:
    return 2 * matrix.numel()


def _rnn(x: Tensor, *weights: Any, **kwargs: Any) -> int:
    """Of each step of each sequence with every matrix: CuDNN has a list of all, oneDNN those of one layer."""
    matrices = weights[0] if isinstance(weights[0], list) else weights[:2]
    return 2 * x.shape[:-1].numel() * sum(w.numel() for w in matrices if w.dim() == 2)


def _bilinear(x: Tensor, weight: Tensor, other: Tensor, *args: Any, **kwargs: Any) -> int:
    """Of one input with the weight (out, in1, in2), then with the other."""
    return 2 * x.shape[:-1].numel() * (weight.numel() + weight[:, 0].numel())


# FLOPs (two per multiply-add) by operation, and which arguments are multiplied
FLOPS: dict[Any, Callable[..., int]] = {
    **{op: flops for op, flops in flop_registry.items() if 'backward' not in str(op)},
    aten._scaled_dot_product_flash_attention_for_cpu: _sdpa,
    **dict.fromkeys((aten.mv, aten.dot), _matrix),
    aten.addmv: lambda _, *operands, **kwargs: _matrix(*operands),
    **dict.fromkeys((aten._cudnn_rnn, aten.mkldnn_rnn_layer), _rnn),
    aten._trilinear: _bilinear,
}
OPERANDS = {aten.addmm: (1, 2), aten.baddbmm: (1, 2), aten.addmv: (1, 2)}
# by the words in an operation's name: several products, behind one another or with a softmax or gates between; any
SEVERAL = frozenset(['attention', 'rnn', 'trilinear'])
PRODUCTS = SEVERAL.union(
    ['mm', 'addmm', 'bmm', 'addbmm', 'baddbmm', 'mv', 'addmv', 'dot', 'vdot', 'addr', 'linear', 'fft', 'cdist'],
    ['conv', 'conv1d', 'conv2d', 'conv3d', 'convolution'],
)


@cache
def words(packet: Any) -> frozenset[str]:
    """Words in the name of an operation."""
    return frozenset(packet.__name__.split('_'))
