"""What the C library does with memory that tensors free on CPU."""

from __future__ import annotations

import ctypes
import os
import sys

# of malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 2**31 - 1


def _set(**options: int) -> bool:
    """glibc's options; whether it took them."""
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None) if sys.platform.startswith('linux') else None
    names = {'trim_threshold': M_TRIM_THRESHOLD, 'mmap_threshold': M_MMAP_THRESHOLD}
    return mallopt is not None and all(mallopt(names[name], value) == 1 for name, value in options.items())


def keep_freed_memory() -> bool:
    """Have glibc hand freed memory to the next tensor instead of to the system; returns whether it will.

    It returns large blocks at once by default, so that every large tensor is paged in anew. The process keeps its peak
    memory instead.
    """
    return _set(trim_threshold=LARGEST, mmap_threshold=LARGEST)


def return_freed_memory() -> bool:
    """Have glibc return freed tensors of 4 MB and more to the system at once; returns whether it will.

    It keeps up to 32 MB each by default, and what lies between tensors of different sizes adds up. Pages of 2 MB make
    paging in cheap again: torch asks for them if this is called before its first tensor.
    """
    os.environ.setdefault('THP_MEM_ALLOC_ENABLE', '1')
    return _set(mmap_threshold=4 * 2**20)
