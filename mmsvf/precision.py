"""Islands of full precision: under autocast, under TF32, and in models of half precision."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch
from torch import Tensor, nn


def full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """No autocast on the tensor's device, and matrix products of fp32 that are computed in fp32.

    TF32 and bfloat16, which torch.set_float32_matmul_precision and torch.backends allow, hold integers up to 2048 and
    256. Compiled graphs take that setting as it is: it cannot change inside of one. Nothing for shapes alone (the meta
    device), which know no autocast.
    """
    if x.is_meta:
        return nullcontext()
    autocast = torch.autocast(device_type=x.device.type, enabled=False)
    return autocast if torch.compiler.is_compiling() or not _rounds(x) else _Exact(x, autocast)


def _setting(x: Tensor) -> tuple[Any, str, str]:
    """Where torch keeps how products of fp32 are computed on the tensor's device: owner, attribute, value for exact."""
    backend = torch.backends.cuda if x.is_cuda else torch.backends.mkldnn
    if hasattr(getattr(backend, 'matmul', None), 'fp32_precision'):  # from torch 2.9 on, which forbids to mix them
        return backend.matmul, 'fp32_precision', 'ieee'
    return torch.backends.cuda.matmul, 'allow_tf32', False  # type: ignore[return-value]


def _rounds(x: Tensor) -> bool:
    owner, name, exact = _setting(x)
    return getattr(owner, name) not in (exact, 'none')


class _Exact(ExitStack):
    def __init__(self, x: Tensor, autocast: AbstractContextManager[Any]) -> None:
        super().__init__()
        self.setting, self.autocast = _setting(x), autocast

    def __enter__(self) -> _Exact:
        owner, name, exact = self.setting
        self.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, exact)
        self.enter_context(self.autocast)
        return self


class FullPrecision(nn.Module):
    """A module whose weights are fp32 when ``.half()`` or ``.bfloat16()`` turns the model around it.

    For modules whose sums half precision cannot hold; they cast their inputs and outputs themselves.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        def apply(tensor: Tensor) -> Tensor:
            applied = fn(tensor)
            halved = applied.is_floating_point() and applied.element_size() < 4 <= tensor.element_size()
            return tensor.to(applied.device, torch.float32) if halved else applied

        return super()._apply(apply, recurse)


def refuse_overflow(module: nn.Module, fn: Callable[[Tensor], Tensor]) -> None:
    """Refuse what ``module._apply(fn)`` would write where a weight leaves the range of float16.

    Raises:
        OverflowError: it does.
    """
    for name, weight in module.named_parameters():
        if fn(weight.new_empty(0)).dtype != torch.float16:  # nothing is moved to a GPU twice
            continue
        half = fn(weight)
        if not half.is_meta and not half.isfinite().all():
            raise OverflowError(
                f'{type(module).__name__}.{name} has the BatchNorm of a nearly constant channel folded into it and '
                'leaves the range of float16: use bfloat16()'
            )
