"""Every draw of the platform: from a root seed and an identity, never from row order, worker count or time."""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.fingerprints import canonical, digest


def draws(root: int, *identity: str | int, n: int) -> npt.NDArray[np.uint64]:
    """Raw 64-bit draws of an identity, shape (n,), counter-based: the first m are the same whatever n.

    Args:
        root: root seed.
        identity: what is drawn for.
        n: how many.
    """
    key = int(digest([root, *identity], 32), 16)
    return np.random.Philox(key=key).random_raw(n).astype(np.uint64) if n else np.zeros(0, np.uint64)


def uniform(raw: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    """Raw draws as numbers in [0, 1), of the same shape."""
    return np.asarray((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def case_seed(root: int, *identity: str | int) -> int:
    """Seed (63 bits) of an identity below the root seed: never of row order or time."""
    return int(digest([root, *identity], 16), 16) >> 1


def case_seeds(root: int, *identity: str | int, last: Iterable[str]) -> npt.NDArray[np.uint64]:
    """``case_seed`` of ``(*identity, l)`` for each ``l`` of ``last``, shape (n,).

    Args:
        root: root seed.
        identity: what the identities have in common.
        last: what each ends in.
    """
    begun = hashlib.sha256(f"{canonical([root, *identity])[:-1]},".encode())

    def ended(text: str) -> int:
        whole = begun.copy()
        whole.update(f"{canonical(text)}]".encode())
        return int.from_bytes(whole.digest()[:8]) >> 1

    return np.array([ended(text) for text in last], dtype=np.uint64)


def sequence(root: int, *key: int) -> np.random.SeedSequence:
    """The seed sequence of a key below the root seed.

    Args:
        root: root seed.
        key: non-negative numbers that name the draw, for example a stage's own number and the indices of a grid.
    """
    return np.random.SeedSequence(root, spawn_key=key)


def child(seed: np.random.SeedSequence, *key: int) -> np.random.SeedSequence:
    """The seed sequence of a further key below another one; unlike ``spawn``, it changes nothing in ``seed``.

    Args:
        seed: sequence of ``sequence``, ``named`` or ``child``.
        key: non-negative numbers that name the draw below it.
    """
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, *key))


def named(root: int, *identity: str | int) -> np.random.SeedSequence:
    """The seed sequence of an identity below the root seed.

    Args:
        root: root seed.
        identity: names and numbers that say what is drawn, for example a host's hash.
    """
    return np.random.SeedSequence(root, spawn_key=(int(digest(list(identity), 16), 16),))
