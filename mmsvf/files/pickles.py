"""Reading pickles, joblib files and numpy's object arrays without running what they contain."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pickle import Unpickler as PythonUnpickler
from pickle import UnpicklingError
from typing import Any, BinaryIO

import numpy as np

from .allowed import PICKLE, resolve
from .values import REFUSED, Array, Dtype, NDArray

__all__ = ['UnpicklingError', 'load', 'load_joblib', 'load_numpy', 'refuse']

_PYTHON2 = {'__builtin__': 'builtins', 'copy_reg': 'copyreg'}


class Unpickler(PythonUnpickler):
    """Python's unpickler, which finds nothing but the stand-ins of ``names``."""

    def __init__(self, file: BinaryIO, names: Mapping[str, Any] = PICKLE, **options: Any) -> None:
        super().__init__(file, **options)
        self.names = names

    def find_class(self, module: str, name: str) -> Any:
        module, name = _PYTHON2.get(module, module), 'range' if name == 'xrange' else name
        if (found := self.names.get(f'{module}.{name}')) is None:
            raise refuse(f'{module}.{name}')
        return found


def refuse(name: str) -> UnpicklingError:
    """The error for a name that a file may not use."""
    return UnpicklingError(
        f'{REFUSED}: the file asks for {name}, which is not on the list of harmless names (mmsvf/files/allowed.py). '
        'Data and checkpoints of OpenMMLab need none but these; if you trust the file, rewrite what you need of it '
        "with the program that made it: torch.save({'state_dict': ...}, ...) for weights, numpy.savez for arrays"
    )


def load(file: BinaryIO, names: Mapping[str, Any] = PICKLE, **options: Any) -> Any:
    """``pickle.load`` for data.

    Args:
        file: Binary file.
        names: What the file may name, ``module.name``, each a :class:`~mmsvf.files.values.StandIn` or ``Function``.
        **options: As in ``pickle.load`` (encoding, errors, fix_imports).

    Raises:
        UnpicklingError: the file asks for another name, is truncated, or is no pickle; the message has its path.
    """
    where = getattr(file, 'name', None) or 'the pickle'
    try:
        return resolve(Unpickler(file, names, **options).load())
    except Exception as error:  # a damaged pickle fails in many ways
        raise unreadable(where, error) from error


def unreadable(where: Any, error: Exception) -> UnpicklingError:
    """The error for a file that was refused or could not be read, with its path."""
    if str(error).startswith(REFUSED):
        text = str(error) if str(where) in str(error) else f'{REFUSED} {where}{str(error)[len(REFUSED) :]}'
        return UnpicklingError(text)
    return UnpicklingError(
        f'cannot read {where}: it is truncated, or of another kind ({type(error).__name__}: {error})'
    )


class _Plain:
    """A file without ``peek``, so that pickle does not read ahead."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.readline, self.name = file.read, file.readline, getattr(file, 'name', None)


def load_joblib(path: str | os.PathLike) -> Any:
    """``joblib.load`` of an uncompressed file.

    joblib's own reader has whatever the file says set on its objects, and unpickles arrays of Python objects unchecked.
    Its format is a pickle in which each array is a ``NumpyArrayWrapper``, followed by padding and the array's bytes.

    Raises:
        FileNotFoundError: no such file.
        UnpicklingError: as :func:`load`; a compressed file.
    """
    with open(path, 'rb') as file:

        class Wrapped(Array):
            def __init__(self, *_: Any) -> None:
                raise UnpicklingError(f'{REFUSED}: an array that is called')

            def __setstate__(self, state: Any) -> None:
                kind, dtype = state['subclass'], state['dtype']
                if kind is not NDArray or not isinstance(dtype, Dtype) or dtype.dtype.hasobject:
                    raise UnpicklingError(f'{REFUSED}: an array of Python objects')
                if state.get('numpy_array_alignment_bytes') is not None:
                    file.read(file.read(1)[0])
                shape: Sequence[int] = state['shape']
                size = int(np.prod(shape, dtype=object)) * dtype.dtype.itemsize
                if size > os.fstat(file.fileno()).st_size:
                    raise UnpicklingError(f'{REFUSED}: an array of {shape} that is larger than the file')
                super().__setstate__((1, shape, dtype, state['order'] == 'F', file.read(size)))

        names = {**PICKLE, 'joblib.numpy_pickle.NumpyArrayWrapper': Wrapped}
        return load(_Plain(file), names)  # type: ignore[arg-type]


def load_numpy(file: Any, **options: Any) -> Any:
    """``numpy.load``, with arrays of Python objects read by :func:`load` (numpy's own ``allow_pickle`` runs them).

    Returns:
        An array of a .npy file, or a dict of the arrays of a .npz file.

    Raises:
        UnpicklingError: as :func:`load`.
    """
    import zipfile

    options.pop('allow_pickle', None)
    if not zipfile.is_zipfile(file):
        if not hasattr(file, 'read'):
            with open(file, 'rb') as opened:
                return _npy(io.BytesIO(opened.read()), file)
        return _npy(file, getattr(file, 'name', 'the file'))
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.endswith('.npy')]
        return {name[:-4]: _npy(io.BytesIO(archive.read(name)), f'{file}: {name}') for name in names}


def _npy(file: BinaryIO, where: Any) -> np.ndarray:
    try:
        start = file.tell()
        version = np.lib.format.read_magic(file)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = reader(file)
        if dtype.hasobject:
            found = load(file)
            if not isinstance(found, np.ndarray) or found.shape != shape:
                raise UnpicklingError('an array of another shape')
            return found
        file.seek(start)
        return np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:
        raise unreadable(where, error) from error
