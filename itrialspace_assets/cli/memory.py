"""How a server's memory is given back. Imports nothing: it has to be said before polars is loaded."""

import os


def give_back_soon() -> None:
    """Let polars' allocator give pages back in the background; without this it waits for polars to be asked again."""
    os.environ.setdefault("_RJEM_MALLOC_CONF", "background_thread:true,dirty_decay_ms:200,muzzy_decay_ms:0")
