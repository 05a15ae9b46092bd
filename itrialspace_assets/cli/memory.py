"""How a server's memory is given back. Imports no library: it has to be said before polars is loaded."""

import ctypes
import os

#: Parameters of glibc's ``mallopt`` (malloc.h).
_MMAP_THRESHOLD, _ARENA_MAX = -3, -8
#: Bytes from which glibc gives memory back as soon as it is free; ours: a mask of a million nodules is smaller.
_LARGE = 2 * 2**20


def give_back_soon() -> None:
    """Let what is free go back to the system: by polars' allocator soon, by glibc at once where it is large.

    Without this the first waits for polars to be asked again, and the second keeps arrays of up to 32 MiB, in parts
    that threads do not share.
    """
    os.environ.setdefault("_RJEM_MALLOC_CONF", "background_thread:true,dirty_decay_ms:200,muzzy_decay_ms:0")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE)
        mallopt(_ARENA_MAX, 2)
