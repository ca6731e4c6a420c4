"""Reading the user's own SMPL file (.pkl or .npz) without chumpy and without running what it contains."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmsvf import safe_pickle

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


class _Chumpy:
    """Stands for any class of chumpy: keeps its state, from which :func:`array` reads the values."""

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.state = dict(state)


class _Sparse:
    """Stands for a sparse matrix of scipy: keeps its state."""

    def __setstate__(self, state: Any) -> None:
        self.state = dict(state) if isinstance(state, Mapping) else dict(state[1])


class _Unpickler(safe_pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.split('.')[0] == 'chumpy':
            return _Chumpy
        if module.startswith('scipy.sparse') and name.rstrip('_') in (
            'csc_matrix',
            'csr_matrix',
            'csc_array',
            'csr_array',
        ):
            return type(name, (_Sparse,), {})
        return super().find_class(module, name)


def array(value: Any) -> np.ndarray:
    """The values of an array of numpy, chumpy or (dense) scipy.sparse.

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
    if isinstance(value, _Sparse):
        import scipy.sparse

        kind = type(value).__name__[:3]
        state = value.state
        build = scipy.sparse.csc_matrix if kind == 'csc' else scipy.sparse.csr_matrix
        return build(
            (state['data'], state['indices'], state['indptr']), state.get('_shape', state.get('shape'))
        ).toarray()
    return value.toarray() if hasattr(value, 'toarray') else np.asarray(value)


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
                data = _Unpickler(file, encoding='latin1').load()
        else:
            raise ValueError(f'{path}: a SMPL file is a .pkl or an .npz')
    except (EOFError, zipfile.BadZipFile, IndexError, KeyError, AttributeError) as error:
        raise pickle.UnpicklingError(f'cannot read {path}: it is truncated, or no SMPL file ({error})') from error
    except pickle.UnpicklingError as error:
        if str(error).startswith(safe_pickle.REFUSED):
            raise
        raise pickle.UnpicklingError(f'cannot read {path}: it is truncated, or no SMPL file ({error})') from error
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
