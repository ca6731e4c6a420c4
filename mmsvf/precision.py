"""Islands of full precision under autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(x: Tensor) -> AbstractContextManager[None]:
    """No autocast on the tensor's device; nothing for shapes alone (the meta device), which know no autocast."""
    return nullcontext() if x.is_meta else torch.autocast(device_type=x.device.type, enabled=False)
