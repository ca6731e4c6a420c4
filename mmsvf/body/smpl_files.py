"""Reading the user's own SMPL file (.pkl or .npz) without chumpy and without running what it contains."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmsvf.files import pickles
from mmsvf.files.allowed import PICKLE
from mmsvf.files.values import StandIn

from .skinning import PARENTS, SkinnedBody

EMBEDDED = Path(__file__).with_name('embedded_body.npz')
KEYS = {
    'v_template': 'v_template',
    'shapedirs': 'shapedirs',
    'joint_regressor': 'J_regressor',
    'weights': 'weights',
    'posedirs': 'posedirs',
    'faces': 'f',
}


class _Chumpy(StandIn):
    """Stands for any class of chumpy: keeps its state, from which :func:`array` reads the values."""

    state: Mapping[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.state = dict(state)

    def real(self, resolve: Callable[[Any], Any]) -> _Chumpy:
        self.state = resolve(self.state)
        return self


class _Sparse(StandIn):
    """Stands for a sparse matrix of scipy: keeps its state."""

    kind = 'csc'
    state: Mapping[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.state = dict(state) if isinstance(state, Mapping) else dict(state[1])

    def real(self, resolve: Callable[[Any], Any]) -> np.ndarray:
        import scipy.sparse

        state = resolve(self.state)
        build = scipy.sparse.csc_matrix if self.kind == 'csc' else scipy.sparse.csr_matrix
        rows, columns = map(int, state.get('_shape', state.get('shape')))
        if not 0 < rows * columns <= MOST:
            raise ValueError(f'a sparse matrix of {rows} x {columns}')
        matrix = build((rows, columns), dtype=np.asarray(state['data']).dtype)
        matrix.data, matrix.indices, matrix.indptr = (np.asarray(state[k]) for k in ('data', 'indices', 'indptr'))
        if matrix.data.dtype.kind not in 'fiu' or any(
            x.dtype.kind not in 'iu' for x in (matrix.indices, matrix.indptr)
        ):
            raise ValueError('a sparse matrix whose indices are no integers')
        matrix.check_format(full_check=True)  # its own conversion to a dense one writes wherever the indices say
        return matrix.toarray()


class _SparseRows(_Sparse):
    kind = 'csr'


MOST = 100_000_000  # numbers of a matrix; a SMPL body has 24 x 6890
SPARSE: dict[str, Any] = {
    f'{module}.{kind}_{what}': stand_in
    for kind, stand_in in (('csc', _Sparse), ('csr', _SparseRows))
    for what in ('matrix', 'array')
    for module in ('scipy.sparse', f'scipy.sparse.{kind}', f'scipy.sparse._{kind}')
}


class _Names(dict):
    """The names in a SMPL file: matrices, and whatever chumpy has."""

    def get(self, name: Any, default: Any = None) -> Any:
        return _Chumpy if name.startswith('chumpy.') else super().get(name, default)


NAMES = _Names({**PICKLE, **SPARSE})


def array(value: Any) -> np.ndarray:
    """The values of an array of numpy or chumpy.

    Raises:
        ValueError: a kind of chumpy expression that SMPL files do not use.
    """
    if isinstance(value, _Chumpy):
        state = value.state
        if 'a' in state and 'idxs' in state:  # a selection of another array's values
            chosen = array(state['a']).ravel()[np.asarray(state['idxs'])]
            shape = state.get('preferred_shape')
            return chosen if shape is None else chosen.reshape(shape)
        if 'x' in state:
            return np.asarray(state['x'])
        raise ValueError(f'a chumpy expression with {sorted(state)}; only plain arrays and selections can be read')
    return np.asarray(value)


def read_smpl(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of a SMPL file, by :class:`SkinnedBody`'s argument names.

    Raises:
        FileNotFoundError: no such file.
        UnpicklingError: a pickle that asks for anything but arrays, or a truncated one.
        ValueError: another kind of file, or one that lacks an array.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; SMPL files come from its own site, under its licence')
    try:
        if path.suffix == '.npz':
            with np.load(path, allow_pickle=False) as content:
                data = dict(content)
        elif path.suffix == '.pkl':
            with open(path, 'rb') as file:
                data = pickles.load(file, NAMES, encoding='latin1')
        else:
            raise ValueError(f'{path}: a SMPL file is a .pkl or an .npz')
    except (EOFError, OSError, zipfile.BadZipFile, ValueError) as error:
        if str(path) in str(error):
            raise
        raise pickles.UnpicklingError(f'cannot read {path}: it is truncated, or no SMPL file ({error})') from error
    missing = [key for key in KEYS.values() if not isinstance(data, Mapping) or key not in data]
    if missing:
        raise ValueError(f'{path} lacks {missing}; a SMPL file has {sorted(KEYS.values())}')
    if 'kintree_table' in data:
        parents = np.asarray(array(data['kintree_table'])[0], np.int64)
        parents[0] = -1  # written as 2^32 - 1
        if tuple(parents.tolist()) != PARENTS:
            raise ValueError(f'{path} has another tree of joints ({len(parents)} of them): not SMPL (24 joints)')
    return {name: array(data[key]) for name, key in KEYS.items()}


def load_smpl(path: str | os.PathLike, shapes: int = 10) -> SkinnedBody:
    """The body of a SMPL file, with its first ``shapes`` shape directions (files of v1.1.0 have 300).

    Raises:
        FileNotFoundError, UnpicklingError, ValueError: as :func:`read_smpl`, or too few shape directions.
    """
    arrays: dict[str, Any] = dict(read_smpl(path))
    found = arrays['shapedirs'].shape[-1]
    if found < shapes:
        raise ValueError(f'{path} has {found} shape directions; {shapes} are asked for')
    arrays['shapedirs'] = arrays['shapedirs'][..., :shapes]
    return SkinnedBody(**arrays)


def embedded_body() -> SkinnedBody:
    """The figure that comes with mmsvf: 24 joints, 10 shape directions; not SMPL (tools/dataset_converters)."""
    return load_smpl(EMBEDDED)
