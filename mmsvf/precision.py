"""Islands of full precision under autocast and in models of half precision."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn


def full_precision(x: Tensor) -> AbstractContextManager[None]:
    """No autocast on the tensor's device; nothing for shapes alone (the meta device), which know no autocast."""
    return nullcontext() if x.is_meta else torch.autocast(device_type=x.device.type, enabled=False)


class FullPrecision(nn.Module):
    """A module whose weights stay as precise as they are when ``.half()`` or ``.bfloat16()`` turns the model around it.

    For what takes sums that half precision does not hold; it casts its inputs and outputs itself.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        def apply(tensor: Tensor) -> Tensor:
            applied = fn(tensor)
            halved = applied.is_floating_point() and applied.element_size() < 4 <= tensor.element_size()
            return tensor.to(applied.device) if halved else applied

        return super()._apply(apply, recurse)
