"""Surrogate gradients of the spike: spikingjelly's, and those that the kernels know."""

from __future__ import annotations

from typing import Callable, Union

from spikingjelly.activation_based import surrogate
from torch import Tensor

Surrogate = Union[dict, Callable[[Tensor], Tensor], None]

SIGMOID, ATAN, RECT, UNKNOWN = range(4)  # never another order: compiled kernels on disk know the numbers
KERNELS = {surrogate.Sigmoid: SIGMOID, surrogate.ATan: ATAN}
if hasattr(surrogate, 'Rect'):  # not in the classic spikingjelly
    KERNELS[surrogate.Rect] = RECT


def build_surrogate(spec: Surrogate) -> Callable[[Tensor], Tensor]:
    """The surrogate gradient of the spike: a callable, or ``dict(type='ATan', alpha=2.0)``.

    ``type`` names a class of ``spikingjelly.activation_based.surrogate``. ``None`` is the
    authors' choice, a sigmoid of slope 4.
    """
    if spec is None:
        return surrogate.Sigmoid(alpha=4.0)
    if not isinstance(spec, dict):
        return spec
    arguments = dict(spec)
    name = arguments.pop('type', None)
    base = surrogate.SurrogateFunctionBase
    known = {k: v for k, v in vars(surrogate).items() if isinstance(v, type) and issubclass(v, base) and v is not base}
    if name not in known:
        raise ValueError(f'unknown surrogate type={name!r}; choose one of {sorted(known)}')
    return known[name](**arguments)
