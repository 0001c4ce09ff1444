"""Freed memory stays with the process, so that a step on the CPU does not pay for its pages again and again.

XLA:CPU takes the room for a program's intermediate values anew at each call. glibc gives blocks that large straight
back to the system, so every step begins by having all its pages zeroed: a third to a half of its time for a CNN or a
ViT (experiments/LOG.md). With one arena that neither maps nor trims, the next step finds the pages of the last one.
The price is that the process keeps what it held at its peak, some 10 to 30 % above what it would peak at otherwise.

Accelerators have allocators of their own and are not concerned.
"""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # names of mallopt(3)
_OWN_CHOICES = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_pages() -> bool:
    """Sets the allocator of this process; to be called before jax is imported. Returns whether it did.

    Does nothing where jax has started its threads already (they keep arenas of their own), where the C library is not
    glibc, or where the user has chosen: any variable `MALLOC_…`, `GLIBC_TUNABLES` or `LD_PRELOAD`.
    Source: mallopt(3) of the Linux manual.

    >>> import jax
    >>> keep_pages()
    False
    """
    if "jax" in sys.modules or any(name.startswith(_OWN_CHOICES) for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return all([mallopt(_ARENA_MAX, 1), mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, -1)])
