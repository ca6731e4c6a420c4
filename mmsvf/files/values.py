"""The values a pickle or a checkpoint may hold besides Python's own, and nothing else.

A pickle names functions and classes, has them called and sets attributes on whatever they return. So what it may name
here are *stand-ins*: they record what was asked for and check it, and only when the whole file has been read
:func:`mmsvf.files.allowed.resolve` turns them into arrays, tensors and history buffers. Nothing that the file can reach
while it is read has a state that outlives it; no attribute is looked up by a name from the file.
"""

from __future__ import annotations

import argparse
import io
import math
import re
from collections.abc import Callable, Mapping
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
        """The value; ``resolve`` does the same for those inside it. Raises UnpicklingError if there is none."""
        raise UnpicklingError(f'{REFUSED}: the file holds a bare {type(self).__name__}')


class Function:
    """A function that a file may call, and neither change nor derive from."""

    __slots__ = ('_call',)
    _call: Callable[..., Any]

    def __init__(self, call: Callable[..., Any]) -> None:
        object.__setattr__(self, '_call', call)

    def __call__(self, *arguments: Any) -> Any:
        """Call the function."""
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
        """A numpy.dtype."""
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
            raise UnpicklingError(f'{REFUSED}: an array with a malformed state') from None
        self.value, self.items = _array(dtype, shape, bool(fortran), content)

    def real(self, resolve: Callable[[Any], Any]) -> np.ndarray:
        """A numpy.ndarray."""
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
            raise UnpicklingError(f'{REFUSED}: a HistoryBuffer with a malformed state')
        self.state = state

    def real(self, resolve: Callable[[Any], Any]) -> Any:
        """A HistoryBuffer."""
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
        """The function."""
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
            raise UnpicklingError(f'{REFUSED}: a Namespace with a malformed state')
        self.state = state

    def real(self, resolve: Callable[[Any], Any]) -> argparse.Namespace:
        """An argparse.Namespace."""
        return argparse.Namespace(**resolve(dict(self.state or {})))


class Config(StandIn):
    """MMEngine's ``ConfigDict``."""

    def __init__(self, items: Any = ()) -> None:
        if not isinstance(items, dict):
            raise UnpicklingError(f'{REFUSED}: a ConfigDict of {type(items).__name__}')
        self.items = items

    def real(self, resolve: Callable[[Any], Any]) -> Any:
        """A ConfigDict."""
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
        """The storage, by torch's weights-only loader."""
        if self.storage is None:
            import torch

            try:
                self.storage = torch.load(io.BytesIO(self.content), 'cpu', weights_only=True)
            except Exception as error:  # a damaged file fails in many ways; torch's message may recommend to run it
                asked = re.search(r'GLOBAL (\S+)', str(error))
                what = f'that asks for {asked[1]}' if asked else 'that torch cannot read'
                raise UnpicklingError(f'{REFUSED}: a tensor with content {what}') from None
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
        """A tensor, or a Parameter."""
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
