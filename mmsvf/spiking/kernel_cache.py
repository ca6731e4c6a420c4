"""numba's cache of compiled kernels on disk, where there can be one."""

from __future__ import annotations

import logging
import os
import warnings
from contextlib import suppress
from typing import Any, ClassVar

from numba import njit
from numba.core.caching import FunctionCache


class OptionalCache(FunctionCache):
    """numba's cache on disk, without which a kernel is compiled in memory.

    Its files are pickles, which run code when they are read. They lie in NUMBA_CACHE_DIR, beside the kernels or in the
    user's cache folder: whoever can write there can change the kernels or the user's others as well. NUMBA_CACHE_DIR
    must therefore be a folder that nobody else can write, like PYTHONPYCACHEPREFIX.
    """

    warned = False
    told: ClassVar[set[str]] = set()

    def __init__(self, function: Any, options: dict[str, Any]) -> None:
        super().__init__(function)
        self.parallel = 'parallel' in options
        self.module = function.__module__

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        # the same function is compiled for one thread and for several
        return (*super()._index_key(sig, codegen), self.parallel)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """A compiled kernel from disk; None where there is none that can be read."""
        try:
            found = super().load_overload(sig, target_context)
        except Exception as error:  # a damaged pickle may raise anything
            self._give_up(error)
            return None
        if found is None:
            self._tell()
        return found

    def _tell(self) -> None:
        """Say once per process and kind that kernels are compiled now, since it is silent for long."""
        if self.module not in OptionalCache.told:
            OptionalCache.told.add(self.module)
            kernels, long = "the neurons' kernels", '5 to 20 s'
            if self.module.endswith('.event_kernels'):
                kernels, long = 'the kernels of events', 'half a minute, more on a busy one'
            logging.getLogger(__name__).info(
                'compiling %s for CPU, once on this machine (%s); they are kept in %s', kernels, long, self.cache_path
            )

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write a compiled kernel to disk, or warn that it cannot be."""
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
    """Say once per process that kernels are compiled in memory, and why."""
    if not OptionalCache.warned:
        OptionalCache.warned = True
        warnings.warn(
            f"numba's cache of compiled kernels cannot be used ({type(error).__name__}: {error}): they are compiled in "
            'memory, which takes some seconds in each process. Set NUMBA_CACHE_DIR to a folder with free space that '
            'this user, and nobody else, can write',
            stacklevel=2,
        )


def compiled(function: Any, **options: Any) -> Any:
    """``numba.njit(cache=True, **options)`` with an :class:`OptionalCache`."""
    kernel = njit(**options)(function)
    try:
        kernel._cache = OptionalCache(function, options)
    except Exception as error:  # there is nowhere to write
        warn_of_cache(error)
    return kernel
