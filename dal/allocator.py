"""Memory that the C library would hand back to the system after every update, only to ask for it anew."""

from __future__ import annotations

import ctypes
import os

_KEPT_BYTES = 2**30
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_ENVIRONMENT = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Have glibc keep up to 1 GiB of freed memory for this process. Whether it does so now.

    An update on the CPU frees what it computed for the next one to ask for again. glibc hands pieces of some megabytes
    back to the system each time, and the system must give them out anew, page by page and zeroed. Numbers that are
    computed stay the same to the last bit; what stays in use of memory is larger. Nothing is done where the
    environment says how glibc should go about it, or where the C library is another.

    >>> keep_freed_memory() in (True, False)
    True
    """
    if any(name in os.environ for name in _ENVIRONMENT):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    return all([mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES), mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)])
