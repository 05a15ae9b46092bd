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

#: Bytes beyond those that are kept which may be taken for a while; ours: more than that, and older things go first.
_BETWEEN = 64 * 2**20
#: Bytes of something whose making needs so much more in between that it pays to give that back; ours.
_LARGE = 4 * 2**20
_TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it


class Budget:
    """A number of bytes that several ``Lately`` share; the oldest of all of them goes first.

    The newest one stays, even if it alone takes more than ``most`` bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, object] = OrderedDict()
        self._bytes = 0

    def has(self, key: Hashable) -> bool:
        """Whether something is kept under a key."""
        return key in self._kept

    def found(self, key: Hashable) -> tuple[object] | None:
        """What is kept under a key, which is the newest now; None: nothing."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return (self._kept[key],)

    def keep(self, key: Hashable, made: object) -> None:
        """Keep something under a key that nothing is kept under."""
        with self._lock:
            self._kept[key] = made
            self._bytes += bytes_of(made)
            self._leave(self._most, 1)

    def clear(self, needs: int) -> None:
        """Let so much go that what is worked out next, which takes some bytes for a while, finds them free."""
        with self._lock:
            went = self._leave(self._most - max(0, needs - _BETWEEN), 0)
        if went:
            give_back()

    def _leave(self, most: int, fewest: int) -> bool:
        """Let the oldest go until the bytes are within ``most``; whether any went."""
        before = len(self._kept)
        while self._bytes > most and len(self._kept) > fewest:
            self._bytes -= bytes_of(self._kept.popitem(last=False)[1])
        return len(self._kept) < before


class Lately:
    """What was made under a key, until newer things need its bytes; threads that ask at once make it once.

    What holds no array stays.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._making = threading.RLock()
        self._small: dict[Hashable, object] = {}

    def has(self, key: Hashable) -> bool:
        """Whether something is kept under a key."""
        return key in self._small or self._budget.has((self, key))

    def get(self, key: Hashable, make: Callable[[], Made], needs: int = 0) -> Made:
        """What ``make`` gave when this key was asked for before, else what it gives now.

        Args:
            key: of what is kept.
            make: makes it; may ask for other keys.
            needs: bytes that it takes while it is made; older things go for them.
        """
        with self._making:
            if key in self._small:
                return self._small[key]  # type: ignore[return-value]
            found = self._budget.found((self, key))
            if found is not None:
                return found[0]  # type: ignore[return-value]
            if needs:
                self._budget.clear(needs)
            made = make()
            taken = bytes_of(made)
            if not taken:
                self._small[key] = made
                return made
            self._budget.keep((self, key), made)
            if max(taken, needs) >= _LARGE:
                give_back()
            return made

    def clear(self, needs: int) -> None:
        """As of the budget."""
        self._budget.clear(needs)


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
