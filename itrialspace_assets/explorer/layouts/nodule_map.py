"""The nodule map in memory: what is worked out once of a table of nodules, and answers about neighbours and edges.

The command line, Python and the server share it. It reads files of layouts and edges; it writes none.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import polars as pl

from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.lately import Budget, Lately
from itrialspace_assets.explorer.layouts.features import Features, Singles, bytes_for, count_of, features_of
from itrialspace_assets.explorer.layouts.files import edges_path, hash_of, layout_path, made_of, read_edges, read_points
from itrialspace_assets.explorer.layouts.presets import feature_set, preset
from itrialspace_assets.explorer.layouts.reduce import BLOCKS, lacks, reduce
from itrialspace_assets.explorer.layouts.spaces import (
    SPACES,
    NeighbourPairs,
    RowNumbers,
    Space,
    nearest,
    weighted,
    weighted_bytes,
)
from itrialspace_assets.explorer.layouts.table import NoduleTable, by_value

Made = TypeVar("Made")

#: Neighbours for which edges are offered (published).
EDGE_K = (3, 5, 10, 25)
#: Where neighbours may come from. The original's ``cross_dataset`` means all datasets; it stays as another name.
SCOPES = ("all_datasets", "within_dataset", "other_datasets", "selected_datasets")
_SCOPE_ALIASES = {"cross_dataset": "all_datasets"}
MODES = ("closest", "farthest")
#: Most nodules whose edges are worked out when they are asked for (ours: some seconds); of more, from a file alone.
ON_DEMAND = 30_000
#: Bytes of features, layouts and edges that are kept without a server, which says itself what it keeps; ours.
_KEPT = 256 * 2**20


@dataclass(frozen=True)
class NeighbourSearch:
    """In what sense nodules are near each other.

    Attributes:
        space: weighted, feature_l2 or embedding.
        feature_set: whose features; not read by weighted.
        layout: whose coordinates; read by embedding alone.
    """

    space: str = "weighted"
    feature_set: str = "reinsertion_core"
    layout: str = "PCA_32"


@dataclass(frozen=True)
class Reach:
    """Which nodules may be neighbours.

    Attributes:
        scope: one of ``SCOPES``.
        datasets: of ``selected_datasets``.
        balance: of each dataset its nearest ``max(1, k // datasets)``, then the nearest of the rest.
        same_person: whether nodules of the same person may be among them.
    """

    scope: str = "all_datasets"
    datasets: tuple[str, ...] = ()
    balance: bool = False
    same_person: bool = True


@dataclass(frozen=True, eq=False)
class NoduleMap:
    """Layouts, neighbours and edges of a table; rows in the order of ``nodule_uid``."""

    settings: Settings
    nodules: NoduleTable
    lately: Lately = field(default_factory=lambda: Lately(Budget(_KEPT)), repr=False)

    def features(self, name: str) -> Features:
        """Features of a feature set.

        Raises:
            ConfigError: no such feature set.
        """
        chosen = feature_set(name)
        return self._once(
            ("features", name), lambda: features_of(self.nodules, chosen), bytes_for(self.nodules, chosen)
        )

    def of(self, name: str) -> str:
        """Hash of all that decides a layout of a feature set."""
        return self._once(("of", name), lambda: hash_of(self.nodules.series("nodule_uid"), self.features(name)))

    def layout(self, name: str, layout: str) -> Singles:
        """Coordinates (n, d): from the file if it is of these nodules; PCA is worked out where there is none.

        Args:
            name: of the feature set.
            layout: name or alias of the layout.

        Raises:
            ConfigError: no such feature set or layout.
            TableError: the layout has not been built for these nodules; names the command.
        """
        chosen = preset(layout)
        version = self._version(name, chosen.name)

        def read() -> Singles:
            if version:  # to compare it takes a second of a million nodules
                found = read_points(layout_path(self.settings, name, chosen.name), self.of(name))
                if found is not None:
                    return found
            if chosen.algorithm != "pca":
                raise TableError(self.why_not(name, layout))
            features = self.features(name)
            self.lately.clear(4 * self.nodules.height * chosen.dims + BLOCKS)
            return reduce(features, chosen)

        return self._once(("layout", name, chosen.name, version), read)

    def dims(self, name: str, layout: str) -> int:
        """How many numbers a layout has: of PCA no more than there are features or nodules, and at least two.

        Args:
            name: of the feature set.
            layout: name or alias of the layout.
        """
        chosen = preset(layout)
        if chosen.algorithm != "pca":
            return chosen.dims
        return max(2, min(chosen.dims, count_of(self.nodules, feature_set(name)), self.nodules.height))

    def why_not(self, name: str, layout: str) -> str:
        """Why a layout cannot be shown, with the command that fixes it; empty if it can.

        Args:
            name: of the feature set.
            layout: name or alias of the layout.
        """
        chosen = preset(layout)
        version = self._version(name, chosen.name)
        if chosen.algorithm == "pca" or (version and version == self.of(name)):
            return ""
        there = "one of another index" if version else "none"
        return (
            f"{chosen.name} of {name}: expected a layout of these {self.nodules.height} nodules, found {there}; "
            f"make it with `its-nodulemap build --model {chosen.name} --feature-set {name}`"
            + (f". {lacks(chosen)}" if lacks(chosen) else "")
        )

    def _version(self, name: str, layout: str) -> str:
        feature_set(name)
        return made_of(layout_path(self.settings, name, layout))

    def space(self, search: NeighbourSearch) -> Space:
        """Points of a search space.

        Raises:
            ConfigError: no such space, feature set or layout.
            TableError: the layout has not been built.
        """
        if search.space == "weighted":
            return self._once(("weighted",), lambda: weighted(self.nodules), weighted_bytes(self.nodules))
        if search.space == "feature_l2":
            return Space("feature_l2", "euclidean", self.features(search.feature_set))
        if search.space == "embedding":
            return Space("embedding", "euclidean", self.layout(search.feature_set, search.layout))
        raise ConfigError(f"search space {search.space!r}: expected one of {', '.join(SPACES)}")

    def neighbours(self, row: int, k: int, search: NeighbourSearch, reach: Reach) -> pl.DataFrame:
        """The nearest nodules of one, nearest first: ``row``, ``distance``, ``similarity``, ``rank`` (from 1).

        ``similarity`` is exp(-distance): it can be compared within one space alone.

        Args:
            row: row of the nodule.
            k: how many, at most.
            search: in what sense.
            reach: among which.

        Raises:
            ConfigError: no such space, scope or dataset.
            TableError: the layout that is searched has not been built.
        """
        space, asked = self.space(search), np.array([row])
        groups = self._groups(row, reach)
        apart = () if reach.same_person else (self._codes("person_uid"),)
        whole = nearest(space, asked, np.sort(np.concatenate(groups)), k, apart=apart)
        if reach.balance and len(groups) > 1:
            share = max(1, k // len(groups))
            each = [nearest(space, asked, group, share, apart=apart) for group in groups]
            whole = _balanced(each, whole, k)
        distance = whole.distance.round(6)
        return pl.DataFrame(
            {"row": whole.target, "distance": distance, "similarity": np.exp(-distance), "rank": whole.rank + 1}
        )

    def _groups(self, row: int, reach: Reach) -> list[RowNumbers]:
        """Rows of each dataset that neighbours may come from; one group of no row where there is none."""
        scope = _scope(reach.scope, SCOPES)
        own, known = self.nodules.frame(["dataset"], np.array([row]))["dataset"][0], self._datasets()
        if scope == "selected_datasets":
            if unknown := set(reach.datasets) - known.keys():
                raise ConfigError(f"dataset {min(unknown)!r}: expected one of {', '.join(known)}")
            chosen = set(reach.datasets)
        else:
            chosen = {"within_dataset": {own}, "other_datasets": known.keys() - {own}}.get(scope, set(known))
        return [rows for name, rows in known.items() if name in chosen] or [np.zeros(0, np.int64)]

    def edges(
        self,
        k: int,
        mode: str,
        scope: str,
        search: NeighbourSearch,
        told: Callable[[int], None] = lambda done: None,
        most: int | None = None,
    ) -> pl.DataFrame:
        """The nearest or farthest nodules of each nodule: ``source``, ``target`` (rows), ``distance``, ``rank``.

        Args:
            k: 3, 5, 10 or 25.
            mode: closest or farthest.
            scope: all_datasets (or cross_dataset), within_dataset or other_datasets.
            search: in what sense.
            told: is told how many more nodules are done.
            most: most nodules for which edges are worked out when there is no file of them; None: any number.

        Raises:
            ConfigError: a value that is not offered.
            TableError: the layout has not been built, or there are too many nodules and no file; names the command.
        """
        name = edges_name(k, mode, scope, search)
        space = self.space(search)
        of = self.edges_of(search)

        def read() -> pl.DataFrame:
            found = read_edges(edges_path(self.settings, name), of)
            if found is not None:
                return found
            if most is not None and self.nodules.height > most:
                raise TableError(
                    f"edges of {self.nodules.height} nodules: expected a file of them, found none; make it with "
                    f"`its-nodulemap edges --k {k} --mode {mode} --scope {scope} --space {search.space}`"
                )
            return _frame(self._edges(space, k, mode == "farthest", _scope(scope, SCOPES), told))

        return self._once(("edges", name, of), read)

    def edges_of(self, search: NeighbourSearch) -> str:
        """Hash of all that decides edges in a space."""
        if search.space == "feature_l2":
            return self.of(search.feature_set)
        points = self.space(search).points
        key = ("edges_of", edges_name(EDGE_K[0], MODES[0], SCOPES[0], search))
        version = self._version(search.feature_set, preset(search.layout).name)
        return self._once((*key, version), lambda: hash_of(self.nodules.series("nodule_uid"), points))

    def _edges(self, space: Space, k: int, farthest: bool, scope: str, told: Callable[[int], None]) -> NeighbourPairs:
        every = np.arange(self.nodules.height)
        if scope == "within_dataset":
            parts = [nearest(space, g, g, k, farthest=farthest, told=told) for g in self._datasets().values()]
            whole = NeighbourPairs(
                *(np.concatenate([getattr(p, f) for p in parts]) for f in NeighbourPairs.__dataclass_fields__)
            )
            order = np.argsort(whole.source, kind="stable")
            return NeighbourPairs(*(getattr(whole, f)[order] for f in NeighbourPairs.__dataclass_fields__))
        apart = (self._codes("dataset"),) if scope == "other_datasets" else ()
        return nearest(space, every, every, k, farthest=farthest, apart=apart, told=told)

    def _datasets(self) -> dict[str, RowNumbers]:
        """Rows of each dataset, rising."""
        names, codes = by_value(self.nodules, "dataset"), self._codes("dataset")
        rows = self._once(("datasets",), lambda: tuple(np.flatnonzero(codes == code) for _, code in names))
        return {name: of for (name, _), of in zip(names, rows, strict=True)}

    def _codes(self, column: str) -> RowNumbers:
        return self._once(("codes", column), lambda: self.nodules.codes(column))

    def _once(self, key: tuple[str, ...], make: Callable[[], Made], needs: int = 0) -> Made:
        return self.lately.get(key, make, needs)


def edges_name(k: int, mode: str, scope: str, search: NeighbourSearch) -> str:
    """Name of edges in a file's name.

    Args:
        k: 3, 5, 10 or 25.
        mode: closest or farthest.
        scope: where neighbours come from.
        search: in what sense they are near.

    Raises:
        ConfigError: a value that is not offered.
    """
    if k not in EDGE_K:
        raise ConfigError(f"k {k}: expected one of {', '.join(map(str, EDGE_K))}")
    if mode not in MODES:
        raise ConfigError(f"mode {mode!r}: expected one of {', '.join(MODES)}")
    of = {
        "weighted": "weighted",
        "feature_l2": f"{search.feature_set}__feature_l2",
        "embedding": f"{search.feature_set}__{preset(search.layout).name}",
    }
    if search.space not in of:
        raise ConfigError(f"search space {search.space!r}: expected one of {', '.join(SPACES)}")
    feature_set(search.feature_set)
    return f"{of[search.space]}_k{k}_{mode}_{_scope(scope, SCOPES[:3])}"


def _scope(name: str, allowed: tuple[str, ...]) -> str:
    found = _SCOPE_ALIASES.get(name, name)
    if found not in allowed:
        raise ConfigError(f"scope {name!r}: expected one of {', '.join((*allowed, *_SCOPE_ALIASES))}")
    return found


def _balanced(each: list[NeighbourPairs], whole: NeighbourPairs, k: int) -> NeighbourPairs:
    """The nearest of every dataset, filled up with the nearest of all, k at most, in order of distance."""
    firsts, first_distance = (np.concatenate([getattr(n, f) for n in each]) for f in ("target", "distance"))
    rest = ~np.isin(whole.target, firsts)
    room = max(0, k - len(firsts))
    target = np.concatenate([firsts, whole.target[rest][:room]])
    distance = np.concatenate([first_distance, whole.distance[rest][:room]])
    order = np.lexsort((target, distance))[:k]
    return NeighbourPairs(np.full(len(order), whole.source[0]), target[order], np.arange(len(order)), distance[order])


def _frame(near: NeighbourPairs) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "source": near.source.astype(np.uint32),
            "target": near.target.astype(np.uint32),
            "distance": near.distance.round(6).astype(np.float32),
            "rank": (near.rank + 1).astype(np.uint8),
        }
    )
