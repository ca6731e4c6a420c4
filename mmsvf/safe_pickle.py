"""Loading files without running what they contain: one allow-list unpickler.

A pickle may name any function of any package and have it called. Here only the names in
:data:`ALLOWED` can be called (rebuilding tensors, arrays and plain containers); any other name
is refused, and the error says which. The module can be handed to ``torch.load`` as its
``pickle_module``; :func:`load` does so for checkpoints.
"""

from __future__ import annotations

import inspect
import io
import pickle
import sys
import zipfile
from collections.abc import Callable
from importlib import import_module
from pickle import UnpicklingError
from typing import Any

import torch

__all__ = ['Unpickler', 'UnpicklingError', 'load', 'load_checkpoint', 'load_joblib']

_TORCH_TYPES = {
    name
    for name in dir(torch)
    if name.endswith('Storage') or isinstance(getattr(torch, name), (torch.dtype, torch.layout, torch.memory_format))
}
_NUMPY_TYPES = {'bool', 'bool_', 'str_', 'bytes_', 'float16', 'float32', 'float64', 'complex64', 'complex128'}
_NUMPY_TYPES |= {f'{sign}int{bits}' for sign in ('', 'u') for bits in (8, 16, 32, 64)}

ALLOWED: dict[str, set[str]] = {
    'collections': {'OrderedDict', 'defaultdict', 'deque', 'Counter'},
    'builtins': {'set', 'frozenset', 'slice', 'range', 'complex', 'bytearray', 'int', 'float', 'bool', 'str', 'list'}
    | {'dict', 'tuple', 'bytes', 'object'},
    'copyreg': {'_reconstructor'},
    '_codecs': {'encode'},  # how pickle protocol 2 writes bytes
    'argparse': {'Namespace'},  # options of a training script
    'torch': {'Size', 'device', 'Tensor', 'Generator', *_TORCH_TYPES},
    'torch.storage': {'TypedStorage', 'UntypedStorage'},
    'torch.nn.parameter': {'Parameter', 'Buffer'},
    'torch.serialization': {'_get_layout'},
    'torch._tensor': {'_rebuild_from_type_v2'},
    'torch._utils': {
        '_rebuild_tensor',
        '_rebuild_tensor_v2',
        '_rebuild_tensor_v3',
        '_rebuild_parameter',
        '_rebuild_parameter_with_state',
        '_rebuild_qtensor',
        '_rebuild_sparse_tensor',
        '_rebuild_meta_tensor_no_storage',
    },
    'numpy': {'ndarray', 'dtype', *_NUMPY_TYPES},
    'numpy.core.multiarray': {'_reconstruct', 'scalar'},
    'numpy._core.multiarray': {'_reconstruct', 'scalar'},
    'mmengine.logging.history_buffer': {'HistoryBuffer'},
    'mmengine.config.config': {'ConfigDict'},
}
REFUSED = 'refused to load'  # how each message about a name that is not allowed begins
# names that a pickle of Python 2 uses for the same things
_PYTHON2 = {'__builtin__': 'builtins', 'copy_reg': 'copyreg'}


class _Methods:
    """Stands for a class of which a checkpoint may name a method, but which it may not call."""

    def __init__(self, module: str, owner: str, methods: set[str]) -> None:
        self.module, self.owner, self.methods = module, owner, methods


def _getattr(owner: Any, name: str) -> Any:
    """``builtins.getattr`` for the two uses MMEngine's checkpoints have of it.

    These are HistoryBuffer's statistics and the annealing function of a one-cycle schedule.
    """
    if isinstance(owner, _Methods) and name in owner.methods:
        return getattr(getattr(import_module(owner.module), owner.owner), name)
    if getattr(owner, '__module__', '') == 'mmengine.logging.history_buffer' and not name.startswith('_'):
        return getattr(owner, name)
    raise UnpicklingError(f'{REFUSED}: the file asks for attribute {name!r} of {owner!r}')


def _rebuild_from_type(function: Callable, kind: type, arguments: tuple, state: Any) -> Any:
    """``torch._tensor._rebuild_from_type_v2`` for plain tensors; subclasses are refused."""
    if kind not in (torch.Tensor, torch.nn.Parameter):
        raise UnpicklingError(f'{REFUSED}: the file asks for the tensor subclass {kind!r}')
    from torch._tensor import _rebuild_from_type_v2

    return _rebuild_from_type_v2(function, kind, arguments, state)


def _load_from_bytes(content: bytes) -> Any:
    """``torch.storage._load_from_bytes``: how a plain pickle holds a tensor."""
    return load_checkpoint(io.BytesIO(content))


_REPLACED: dict[tuple[str, str], Any] = {
    ('builtins', 'getattr'): _getattr,
    ('mmengine.optim.scheduler.param_scheduler', 'OneCycleParamScheduler'): _Methods(
        'mmengine.optim.scheduler.param_scheduler',
        'OneCycleParamScheduler',
        {'_annealing_cos', '_annealing_linear'},
    ),
    ('torch._tensor', '_rebuild_from_type_v2'): _rebuild_from_type,
    ('torch.storage', '_load_from_bytes'): _load_from_bytes,
}


class Unpickler(pickle.Unpickler):
    """``pickle.Unpickler`` that finds only what :data:`ALLOWED` lists."""

    def find_class(self, module: str, name: str) -> Any:
        module = _PYTHON2.get(module, module)
        if (module, name) in _REPLACED:
            return _REPLACED[module, name]
        if name in ALLOWED.get(module, ()):
            return getattr(import_module(module), name)
        raise UnpicklingError(
            f'{REFUSED}: the file asks for {module}.{name}, which is not on the list of harmless names '
            '(mmsvf/safe_pickle.py, ALLOWED). A checkpoint of OpenMMLab needs none but these; if you trust the file, '
            "rewrite its weights alone with torch.save({'state_dict': ...}, ...) in the program that made it"
        )


def load(file: Any, **kwargs: Any) -> Any:
    """``pickle.load`` through the allow list (``torch.load`` calls it for files of torch < 1.6)."""
    return Unpickler(file, **kwargs).load()


def load_checkpoint(file: Any, map_location: Any = None, **_: Any) -> Any:
    """``torch.load`` through the allow list.

    Args:
        file: Path or binary file.
        map_location: As in ``torch.load``.

    Raises:
        UnpicklingError: the file asks for a name that is not allowed, is TorchScript (a program),
            is truncated, or is no checkpoint.
        OSError: the file cannot be opened.
    """
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(name.endswith('/constants.pkl') for name in archive.namelist()):
                raise UnpicklingError(f'{REFUSED} {file}: it is a TorchScript program, not a checkpoint')
    if hasattr(file, 'seek'):
        file.seek(0)
    try:
        return torch.load(file, map_location=map_location, pickle_module=sys.modules[__name__], weights_only=False)
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # a damaged pickle fails in many ways
        if str(error).startswith(REFUSED):
            raise
        raise UnpicklingError(f'cannot read {file}: it is truncated, or no checkpoint ({error})') from error


def load_joblib(path: Any) -> Any:
    """``joblib.load`` of an uncompressed file through the allow list.

    Raises:
        FileNotFoundError: no such file.
        UnpicklingError: the file asks for a name that is not allowed, holds Python objects in an
            array, is compressed, or is truncated.
    """
    from joblib import numpy_pickle

    class PlainArrayWrapper(numpy_pickle.NumpyArrayWrapper):
        def read_array(self, unpickler: Any, *arguments: Any) -> Any:
            if self.dtype.hasobject:  # joblib would unpickle these without a check
                raise UnpicklingError(f'{REFUSED}: {path} holds Python objects in an array')
            return super().read_array(unpickler, *arguments)

    class JoblibUnpickler(numpy_pickle.NumpyUnpickler):
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) == ('joblib.numpy_pickle', 'NumpyArrayWrapper'):
                return PlainArrayWrapper
            return Unpickler.find_class(self, module, name)  # type: ignore[arg-type]

    options = {'ensure_native_byte_order': True} if 'ensure_native_byte_order' in _arguments(JoblibUnpickler) else {}
    try:
        with open(path, 'rb') as file:
            return JoblibUnpickler(str(path), file, **options).load()
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:
        if str(error).startswith(REFUSED):
            raise
        raise UnpicklingError(f'cannot read {path}: truncated, compressed, or no joblib file ({error})') from error


def _arguments(kind: type) -> set[str]:
    return set(inspect.signature(kind.__init__).parameters)  # type: ignore[misc]
