"""How the C library keeps memory that is freed."""

import ctypes
import os
from functools import cache

TRIM, MMAP = -1, -3
"""Numbers of glibc's settings M_TRIM_THRESHOLD and M_MMAP_THRESHOLD (malloc.h)."""
KEPT_BYTES, MAPPED_BYTES = 64 * 2**20, 32 * 2**20


@cache
def keep_freed_memory() -> None:
    """Lets this process keep up to 64 MB of freed memory, unless the user set glibc's MALLOC_ variables.

    glibc returns the large buffers of each layer to the system and gets them again page by page, which takes half of
    the time of small networks. Other C libraries ignore it.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if set_option is not None:
        set_option(TRIM, KEPT_BYTES)
        set_option(MMAP, MAPPED_BYTES)
