"""The values a pickle or a checkpoint may hold besides Python's own, and nothing else.

A pickle names functions and classes, has them called and sets attributes on whatever they return. So what it may name
here are *stand-ins*: they record what was asked for and check it, and only when the whole file has been read
:func:`resolve` turns them into arrays, tensors and history buffers. Nothing that the file can reach while it is read
has a state that outlives it; no attribute is looked up by a name from the file.
"""

from __future__ import annotations

import argparse
import io
import math
import re
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pickle import UnpicklingError
from typing import Any

import numpy as np

REFUSED = 'refused to load'  # how each message about what a file may not hold begins


class StandIn:
    """A value that becomes another one, ``real(resolve)``, once the file has been read.

    Each has ``__setstate__``: without it pickle sets attributes as the file says.
    """

    def __setstate__(self, state: Any) -> None:
        raise UnpicklingError(f'{REFUSED}: the file sets the state of a {type(self).__name__}')

    def real(self, resolve: Callable[[Any], Any]) -> Any:
        raise UnpicklingError(f'{REFUSED}: the file holds a bare {type(self).__name__}')


class Function:
    """A function that a file may call, and neither change nor derive from."""

    __slots__ = ('_call',)
    _call: Callable[..., Any]

    def __init__(self, call: Callable[..., Any]) -> None:
        object.__setattr__(self, '_call', call)

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise UnpicklingError(f'{REFUSED}: the file sets the state of a function')

    def __setattr__(self, name: str, value: Any) -> None:
        raise UnpicklingError(f'{REFUSED}: the file sets {name!r} of a function')


class NDArray(StandIn):
    """``numpy.ndarray`` as an argument: the kind of an array."""


class Object(StandIn):
    """``object`` as an argument: the base of an instance in pickles of protocol 0 and 1."""


class Dtype(StandIn):
    """``numpy.dtype`` of numbers, booleans, strings or (in arrays) Python values; no fields."""

    def __init__(self, code: Any, align: bool = False, copy: bool = True) -> None:
        text = code.decode('ascii', 'replace') if isinstance(code, bytes) else code
        if not isinstance(text, str) or not re.fullmatch(r'[<>=|]?([biufc]\d{1,2}|[SU]\d{1,7}|O8?)', text):
            raise UnpicklingError(f'{REFUSED}: arrays of dtype {code!r}; numbers, booleans and strings are read')
        try:
            self.dtype = np.dtype(text)
        except TypeError as error:
            raise UnpicklingError(f'{REFUSED}: arrays of dtype {code!r} ({error})') from error

    def __setstate__(self, state: Any) -> None:
        try:
            _version, order, subarray, names, fields, *_ = state
        except (TypeError, ValueError):
            raise UnpicklingError(f'{REFUSED}: a dtype with state {state!r}') from None
        order = order.decode('ascii', 'replace') if isinstance(order, bytes) else order
        if subarray is not None or names or fields or order not in ('<', '>', '=', '|'):
            raise UnpicklingError(f'{REFUSED}: arrays with fields or subarrays ({names!r})')
        if order in '<>':
            self.dtype = self.dtype.newbyteorder('<' if order == '<' else '>')

    def real(self, resolve: Callable[[Any], Any]) -> np.dtype:
        return self.dtype


class Array(StandIn):
    """An array of numpy: ``numpy.core.multiarray._reconstruct`` and the state that follows it."""

    value: np.ndarray | None = None

    def __init__(self, kind: Any, shape: Any, code: Any) -> None:
        if kind is not NDArray:
            raise UnpicklingError(f'{REFUSED}: an array of the kind {kind!r}')

    def __setstate__(self, state: Any) -> None:
        try:
            _version, shape, dtype, fortran, content = state
            shape = tuple(int(n) for n in shape)
            assert isinstance(dtype, Dtype) and all(n >= 0 for n in shape)
        except (TypeError, ValueError, AssertionError):
            raise UnpicklingError(f'{REFUSED}: an array with a state that is none') from None
        self.value, self.items = _array(dtype, shape, bool(fortran), content)

    def real(self, resolve: Callable[[Any], Any]) -> np.ndarray:
        if self.value is None:
            raise UnpicklingError(f'{REFUSED}: an array without content')
        if self.items is not None:
            for index, item in enumerate(self.items):
                self.value.flat[index] = resolve(item)
        return self.value


def _array(dtype: Dtype, shape: tuple[int, ...], fortran: bool, content: Any) -> tuple[np.ndarray, list | None]:
    """An array from its bytes; one of Python values is empty, and comes with these."""
    count, order = math.prod(shape), 'F' if fortran else 'C'
    if dtype.dtype.hasobject:
        if not isinstance(content, list) or len(content) != count:
            raise UnpicklingError(f'{REFUSED}: an array of {shape} Python values with content of another length')
        return np.empty(shape, object), content
    raw = content.encode('latin1') if isinstance(content, str) else content
    if not isinstance(raw, (bytes, bytearray)) or len(raw) != count * dtype.dtype.itemsize:
        raise UnpicklingError(f'{REFUSED}: an array of {shape} {dtype.dtype} with content of another length')
    return np.frombuffer(raw, dtype.dtype, count).reshape(shape, order=order).copy(order=order), None  # type: ignore[call-overload]


def array_of_buffer(buffer: Any, dtype: Any, shape: Any, order: Any = 'C') -> Array:
    """``numpy.core.numeric._frombuffer``: an array in pickles of protocol 5."""
    array = Array(NDArray, (0,), b'b')
    array.__setstate__((1, shape, dtype, order == 'F', buffer))
    return array


def scalar(dtype: Any, content: Any = b'') -> Any:
    """``numpy.core.multiarray.scalar``."""
    if not isinstance(dtype, Dtype) or dtype.dtype.hasobject:
        raise UnpicklingError(f'{REFUSED}: a scalar of {dtype!r}')
    value, _ = _array(dtype, (), False, content)
    return value[()]


class History(StandIn):
    """MMEngine's ``HistoryBuffer``: what it averages is taken from the file, how it averages is not."""

    state: Mapping[str, Any] | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise UnpicklingError(f'{REFUSED}: a HistoryBuffer with a state that is none')
        self.state = state

    def real(self, resolve: Callable[[Any], Any]) -> Any:
        from mmengine.logging.history_buffer import HistoryBuffer

        state = self.state or {}
        values, counts = (resolve(state.get(name)) for name in ('_log_history', '_count_history'))
        length = state.get('max_length', state.get('_max_length', 1000000))
        for found in (values, counts):
            if not isinstance(found, np.ndarray) or found.ndim != 1 or found.dtype.kind not in 'biuf':
                raise UnpicklingError(f'{REFUSED}: a HistoryBuffer without its numbers')
        if len(values) != len(counts) or not isinstance(length, int) or length < 1:
            raise UnpicklingError(f'{REFUSED}: a HistoryBuffer of {len(values)} values and {len(counts)} counts')
        return HistoryBuffer(values, counts, length)


class OneCycle(StandIn):
    """MMEngine's ``OneCycleParamScheduler`` as the owner of its two annealing functions."""


class Annealing(StandIn):
    """One of these functions."""

    def __init__(self, linear: bool) -> None:
        self.linear = linear

    def real(self, resolve: Callable[[Any], Any]) -> Any:
        from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

        return OneCycleParamScheduler._annealing_linear if self.linear else OneCycleParamScheduler._annealing_cos


def attribute(owner: Any, name: Any) -> Any:
    """``builtins.getattr`` for the two uses that MMEngine's checkpoints have of it."""
    if owner is OneCycle and name in ('_annealing_cos', '_annealing_linear'):
        return Annealing(name == '_annealing_linear')
    if owner is History and name in ('mean', 'max', 'min', 'current'):
        return name  # how a history averages is not taken from the file
    raise UnpicklingError(f'{REFUSED}: the file asks for attribute {name!r} of {owner!r}')


class Options(StandIn):
    """``argparse.Namespace``: options of a training script."""

    state: Mapping[str, Any] | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
            raise UnpicklingError(f'{REFUSED}: a Namespace with a state that is none')
        self.state = state

    def real(self, resolve: Callable[[Any], Any]) -> argparse.Namespace:
        return argparse.Namespace(**resolve(dict(self.state or {})))


class Config(StandIn):
    """MMEngine's ``ConfigDict``."""

    def __init__(self, items: Any = ()) -> None:
        if not isinstance(items, dict):
            raise UnpicklingError(f'{REFUSED}: a ConfigDict of {type(items).__name__}')
        self.items = items

    def real(self, resolve: Callable[[Any], Any]) -> Any:
        from mmengine.config import ConfigDict

        return ConfigDict(resolve(self.items))


class Storage(StandIn):
    """The storage of a tensor in a plain pickle, where torch writes it as a checkpoint of its own."""

    def __init__(self, content: Any) -> None:
        if not isinstance(content, bytes):
            raise UnpicklingError(f'{REFUSED}: a tensor without its bytes')
        self.content = content
        self.storage: Any = None

    def load(self) -> Any:
        if self.storage is None:
            from .checkpoints import load_checkpoint

            self.storage = load_checkpoint(io.BytesIO(self.content), 'cpu')
        return self.storage


class TensorOf(StandIn):
    """A tensor in a plain pickle: ``torch._utils._rebuild_tensor_v2``."""

    def __init__(self, storage: Any, offset: Any, size: Any, stride: Any, grad: Any = False, *_: Any) -> None:
        if not isinstance(storage, Storage):
            raise UnpicklingError(f'{REFUSED}: a tensor of {storage!r}')
        self.arguments = storage, offset, tuple(size), tuple(stride), bool(grad)
        numbers = [offset, *self.arguments[2], *self.arguments[3]]
        if not all(type(n) is int and n >= 0 for n in numbers):
            raise UnpicklingError(f'{REFUSED}: a tensor of size {size!r}, stride {stride!r}, offset {offset!r}')
        self.parameter = False

    def real(self, resolve: Callable[[Any], Any]) -> Any:
        import torch

        storage, offset, size, stride, grad = self.arguments
        content = storage.load()
        if not isinstance(content, torch.storage.TypedStorage):
            raise UnpicklingError(f'{REFUSED}: a tensor of {type(content).__name__}')
        numbers = content._untyped_storage.nbytes() // content.dtype.itemsize
        last = offset + sum((n - 1) * step for n, step in zip(size, stride)) if 0 not in size else offset - 1
        if len(size) != len(stride) or last >= numbers:
            raise UnpicklingError(f'{REFUSED}: a tensor of size {size} beyond its {numbers} numbers')
        tensor = torch.tensor([], dtype=content.dtype).set_(content._untyped_storage, offset, size, stride)
        if self.parameter:
            return torch.nn.Parameter(tensor, requires_grad=grad)
        return tensor.requires_grad_(grad)


def parameter(data: Any, grad: Any = True, *_: Any) -> TensorOf:
    """``torch._utils._rebuild_parameter``."""
    if not isinstance(data, TensorOf):
        raise UnpicklingError(f'{REFUSED}: a Parameter of {data!r}')
    found = TensorOf(*data.arguments[:4], bool(grad))
    found.parameter = True
    return found


def reconstruct(kind: Any, base: Any, state: Any) -> Any:
    """``copyreg._reconstructor``: an instance in pickles of protocol 0 and 1."""
    if not (isinstance(kind, type) and issubclass(kind, StandIn)) or base is not Object or state is not None:
        raise UnpicklingError(f'{REFUSED}: an instance of {kind!r} made from {base!r}')
    return kind.__new__(kind)


def encode(text: Any, encoding: Any = None) -> bytes:
    """``_codecs.encode``: how bytes stand in pickles up to protocol 2."""
    if not isinstance(text, str) or encoding not in ('latin1', 'latin-1'):
        raise UnpicklingError(f'{REFUSED}: text in the encoding {encoding!r}')
    return text.encode('latin1')


def octets(text: Any = b'', encoding: Any = 'latin-1') -> bytearray:
    """``bytearray``, from what is there: a number would reserve so much memory."""
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
