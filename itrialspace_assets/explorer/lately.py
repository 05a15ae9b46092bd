"""Keeps what was made lately, within a number of bytes. Knows nothing of what it keeps but its size."""

import ctypes
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from typing import TypeVar

import numpy as np
import polars as pl
import pyarrow as pa

Made = TypeVar("Made")

#: Bytes of something whose making needs so much more in between that it pays to give that back; ours.
_LARGE = 4 * 2**20
_TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it


class Lately:
    """What was made under a key, until newer things need the room; threads that ask at once make it once.

    What holds no array stays. So does the newest one, even if it alone takes more than ``most`` bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.RLock()
        self._made: OrderedDict[Hashable, object] = OrderedDict()
        self._small: dict[Hashable, object] = {}
        self._bytes = 0

    def has(self, key: Hashable) -> bool:
        """Whether something is kept under a key."""
        return key in self._small or key in self._made

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What ``make`` gave when this key was asked for before, else what it gives now.

        Args:
            key: of what is kept.
            make: makes it; may ask for other keys.
        """
        with self._lock:
            if key in self._small:
                return self._small[key]  # type: ignore[return-value]
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]  # type: ignore[return-value]
            made = make()
            taken = bytes_of(made)
            if not taken:
                self._small[key] = made
                return made
            self._made[key] = made
            self._bytes += taken
            while self._bytes > self._most and len(self._made) > 1:
                self._bytes -= bytes_of(self._made.popitem(last=False)[1])
            if taken >= _LARGE:
                give_back()
            return made


def give_back() -> None:
    """Give memory that is free again back to the system: glibc keeps what was needed in between, for hours."""
    if _TRIM is not None:
        _TRIM(0)


def bytes_of(made: object) -> int:
    """Bytes of the arrays in something; 0 of anything else."""
    if isinstance(made, np.ndarray | pa.Array):
        return int(made.nbytes)
    if isinstance(made, pl.Series | pl.DataFrame):
        return int(made.estimated_size())
    if isinstance(made, tuple):
        return sum(map(bytes_of, made))
    if is_dataclass(made):
        return sum(bytes_of(getattr(made, f.name)) for f in fields(made))
    return 0
