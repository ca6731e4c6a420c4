"""What checkpoints and pickles may name, by stand-ins, and how these become values once a file has been read."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Sequence
from pickle import UnpicklingError
from typing import Any

from .values import (
    REFUSED,
    Array,
    Config,
    Dtype,
    Function,
    History,
    NDArray,
    Object,
    OneCycle,
    Options,
    StandIn,
    Storage,
    TensorOf,
    array_of_buffer,
    attribute,
    parameter,
    reconstruct,
    scalar,
)


def encode(text: Any, encoding: Any = None) -> bytes:
    """``_codecs.encode``: how bytes stand in pickles up to protocol 2."""
    if not isinstance(text, str) or encoding not in ('latin1', 'latin-1'):
        raise UnpicklingError(f'{REFUSED}: text in the encoding {encoding!r}')
    return text.encode('latin1')


def octets(text: Any = b'', encoding: Any = 'latin-1') -> bytearray:
    """``bytearray`` of what is in the file; a number, which would reserve as many bytes of RAM, is refused."""
    return bytearray(text if isinstance(text, bytes) else encode(text, encoding))


def members(items: Any = ()) -> Sequence:
    """Checks the argument of ``set``: a list, as pickle writes it."""
    if not isinstance(items, (list, tuple, set, frozenset)):
        raise UnpicklingError(f'{REFUSED}: a set of {type(items).__name__}')
    return list(items)


# what a checkpoint of MMEngine holds besides what torch's own loader reads
CHECKPOINT: dict[str, Any] = {
    'mmengine.logging.history_buffer.HistoryBuffer': History,
    'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler': OneCycle,
    'mmengine.config.config.ConfigDict': Config,
    'argparse.Namespace': Options,
    'builtins.getattr': Function(attribute),
    'builtins.bytes': Function(lambda: b''),  # how protocol 2 writes empty bytes
    'numpy.dtype': Dtype,
    'numpy.ndarray': NDArray,
    'numpy.core.multiarray._reconstruct': Array,
    'numpy._core.multiarray._reconstruct': Array,
    'numpy.core.multiarray.scalar': Function(scalar),
    'numpy._core.multiarray.scalar': Function(scalar),
}
# and a plain pickle
PICKLE: dict[str, Any] = {
    **CHECKPOINT,
    'builtins.object': Object,
    'builtins.set': Function(lambda items=(): set(members(items))),
    'builtins.frozenset': Function(lambda items=(): frozenset(members(items))),
    'builtins.complex': Function(complex),
    'builtins.bytearray': Function(octets),
    'builtins.slice': Function(slice),
    'builtins.range': Function(range),
    'collections.OrderedDict': Function(lambda items=(): OrderedDict(members(items))),
    'copyreg._reconstructor': Function(reconstruct),
    '_codecs.encode': Function(encode),
    'numpy.core.numeric._frombuffer': Function(array_of_buffer),
    'numpy._core.numeric._frombuffer': Function(array_of_buffer),
    'torch.storage._load_from_bytes': Storage,
    'torch._utils._rebuild_tensor_v2': TensorOf,
    'torch._utils._rebuild_parameter': Function(parameter),
}


def resolve(value: Any) -> Any:
    """What was read, with real values in the place of stand-ins; what is shared stays shared.

    Raises:
        UnpicklingError: a value that is not what it pretends to be, or nested too deeply.
    """
    done: dict[int, Any] = {}
    kept: list[Any] = []  # so that no id is given twice

    torch = sys.modules.get('torch')  # without it there is no tensor

    def walk(x: Any) -> Any:
        if torch is not None and isinstance(x, torch.Tensor):
            plain = type(x) in (torch.Tensor, torch.nn.Parameter) and x.layout is torch.strided and not x.is_nested
            if not plain or x.__dict__ or x._backward_hooks:  # sparse indices are believed by whoever makes them dense
                raise UnpicklingError(f'{REFUSED}: a tensor that is sparse, nested, of another class or has attributes')
            return x
        if not isinstance(x, (StandIn, Function, dict, list, tuple, set, frozenset)) and not isinstance(x, type):
            return x
        if id(x) in done:
            return done[id(x)]
        kept.append(x)
        if isinstance(x, StandIn):
            done[id(x)] = found = x.real(walk)
        elif isinstance(x, (Function, type)):
            if isinstance(x, Function) or issubclass(x, StandIn):
                raise UnpicklingError(f'{REFUSED}: the file holds a bare function or class')
            return x
        elif isinstance(x, dict):
            attributes = getattr(x, '__dict__', {})
            if not set(attributes) <= {'_metadata'}:  # of a state_dict
                raise UnpicklingError(f'{REFUSED}: a dict with attributes {list(attributes)}')
            done[id(x)] = found = x
            for key, item in list(dict.items(x)):
                if walk(key) is not key:
                    raise UnpicklingError(f'{REFUSED}: a dict whose keys are {type(key).__name__}')
                dict.__setitem__(x, key, walk(item))
            if attributes:
                walk(attributes)
        elif isinstance(x, list):
            done[id(x)] = found = x
            x[:] = map(walk, x)
        else:
            items = [walk(item) for item in x]
            done[id(x)] = found = x if all(a is b for a, b in zip(items, x)) else type(x)(items)
        return found

    try:
        return walk(value)
    except RecursionError:
        raise UnpicklingError(f'{REFUSED}: values nested too deeply') from None
