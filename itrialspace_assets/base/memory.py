"""The memory of this process."""

import resource
import sys

#: Bytes of one unit of ``ru_maxrss``: kilobytes on Linux, bytes on macOS (getrusage(2) of either system).
_UNIT = 1 if sys.platform == "darwin" else 1024


def peak_memory_mb() -> int:
    """The most memory (MiB) that this process held at once since it began."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT / 2**20)
