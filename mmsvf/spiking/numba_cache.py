"""numba's kernels on disk: compiled once for all processes where that is possible, in memory where it is not."""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from types import FunctionType
from typing import Any, Callable

from numba import njit
from numba.core.caching import FunctionCache

# no reordering where a membrane is charged: spikes depend on every bit
EXACT: dict[str, Any] = dict(nogil=True, error_model='numpy')
# gradients may use fused multiply-adds
FUSED: dict[str, Any] = dict(EXACT, fastmath={'contract'})


class OptionalCache(FunctionCache):
    """numba's cache on disk, without which a kernel is compiled in memory.

    Its files are pickles, which run code when they are read. They lie in NUMBA_CACHE_DIR, beside this file or in the
    user's cache folder: whoever can write there can change this file or the user's others as well. NUMBA_CACHE_DIR
    must therefore be a folder that nobody else can write, like PYTHONPYCACHEPREFIX.
    """

    warned = False

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # a damaged pickle may raise anything
            self._give_up(error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        # an index that is damaged, or whose data were not written, would be in the way for good: the next save, here or
        # in another process, begins a new one
        with suppress(OSError):
            os.unlink(self._cache_file._index_path)
        warn_of_cache(error)


def warn_of_cache(error: Exception) -> None:
    """Say once a process that kernels are compiled in memory, and why."""
    if not OptionalCache.warned:
        OptionalCache.warned = True
        warnings.warn(
            f"numba's cache of compiled kernels cannot be used ({type(error).__name__}: {error}): they are compiled in "
            'memory, which takes some seconds in each process. Set NUMBA_CACHE_DIR to a folder with free space that '
            'this user, and nobody else, can write',
            stacklevel=2,
        )


def compiled(**options: Any) -> Callable[[Any], Any]:
    """``numba.njit(cache=True, **options)`` with an :class:`OptionalCache`."""

    def decorate(function: Any) -> Any:
        kernel = njit(**options)(function)
        try:
            kernel._cache = OptionalCache(function)
        except Exception as error:  # there is nowhere to write
            warn_of_cache(error)
        return kernel

    return decorate


def variant(function: Any, suffix: str, **calls: Any) -> Any:
    """A function that calls others, under a name of its own, by which numba's cache on disk tells it apart."""
    other = FunctionType(function.__code__, {**function.__globals__, **calls}, f'{function.__name__}_{suffix}')
    other.__qualname__ = other.__name__
    return other


def both(function: Any) -> tuple[Any, Any]:
    """A kernel for one thread, and for several: numba's parallel region costs more than a small clip."""
    return compiled(**EXACT)(function), compiled(**EXACT, parallel=True)(variant(function, 'parallel'))
