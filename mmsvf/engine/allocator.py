"""What the C library does with memory that tensors free on CPU."""

from __future__ import annotations

import ctypes
import sys

# of malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Have glibc hand freed memory to the next tensor instead of to the system; returns whether it will.

    It returns large blocks at once by default, so that every large tensor is paged in anew. The process keeps its peak
    memory instead.
    """
    if not sys.platform.startswith('linux'):
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    return mallopt is not None and all(mallopt(option, LARGEST) == 1 for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD))
