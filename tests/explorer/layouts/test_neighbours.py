"""Neighbours and edges against brute force by scipy, in every space and scope."""

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import cdist

from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.layouts import build, spaces
from itrialspace_assets.explorer.layouts.nodule_map import SCOPES, NeighbourSearch, NoduleMap, Reach
from itrialspace_assets.explorer.layouts.table import Held
from itrialspace_assets.index.query import Index, WantedDonor
from tests.index.test_query import made


def brute(points: np.ndarray, metric: str, allowed: np.ndarray, k: int, sign: int) -> list[list[tuple[int, float]]]:
    """Plain sorting of all distances; ``allowed`` (n, n)."""
    points = points[:].astype(float)
    distance = cdist(points, points, metric)
    return [
        sorted(((j, distance[i, j]) for j in np.flatnonzero(allowed[i])), key=lambda p: (sign * p[1], p[0]))[:k]
        for i in range(len(points))
    ]


def allowed_by(scope: str, datasets: np.ndarray) -> np.ndarray:
    same = datasets[:, None] == datasets
    of_scope = {"within_dataset": same, "other_datasets": ~same}.get(scope, np.ones_like(same))
    return of_scope & ~np.eye(len(datasets), dtype=bool)


@pytest.mark.parametrize("mode", ["closest", "farthest"])
@pytest.mark.parametrize("scope", ["cross_dataset", *SCOPES[1:3]])
@pytest.mark.parametrize("space", spaces.SPACES)
def test_edges_equal_brute_force(
    space: str, scope: str, mode: str, empty: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spaces, "_HELD", 200)  # several blocks
    index = Index(pl.concat([made(30).nodules, made(30).nodules]))  # each nodule has one that is just like it
    seen = NoduleMap(empty, Held(index.nodules))
    search = NeighbourSearch(space, layout="PCA_2D")
    points = seen.space(search).points
    metric = "cityblock" if space == "weighted" else "euclidean"
    wanted = brute(
        points, metric, allowed_by(scope, index.nodules["dataset"].to_numpy()), 5, -1 if mode == "farthest" else 1
    )
    found = seen.edges(5, mode, scope, search)
    assert found["source"].to_list() == [i for i, of in enumerate(wanted) for _ in of]
    assert found["target"].to_list() == [j for of in wanted for j, _ in of]
    assert found["distance"].to_list() == pytest.approx([d for of in wanted for _, d in of], abs=1e-5)
    assert found["rank"].to_list() == [r + 1 for of in wanted for r in range(len(of))]


def test_the_weighted_distance_is_the_score_of_a_donor(empty: Settings) -> None:
    """Both by their own code: what the map calls near is what the matcher would choose."""
    index = made(80)
    seen = NoduleMap(empty, Held(index.nodules))
    row = index.nodules.row(17, named=True)
    place = WantedDonor(
        row["reinsertion_lobe"],
        row["reinsertion_lobe_cc_pct"],
        row["reinsertion_pleural_dist_mm"],
        row["reinsertion_nodule_diam_mm"],
    )
    scores = index.donors_for(place, 80).filter(pl.col("nodule_uid") != row["nodule_uid"])
    found = seen.neighbours(17, 79, NeighbourSearch(), Reach())
    assert index.nodules["nodule_uid"][found["row"]].to_list() == scores["nodule_uid"].to_list()
    assert found["distance"].to_list() == pytest.approx(scores["score"].to_list(), abs=1e-6)
    assert found["similarity"].to_list() == pytest.approx(np.exp(-scores["score"].to_numpy()), abs=1e-6)
    assert found["rank"].to_list() == list(range(1, 80))


def test_missing_values_of_the_weighted_space_are_filled_as_published() -> None:
    nodules = made(20).nodules.with_columns(
        pl.when(pl.int_range(pl.len()) == 0).then(None).otherwise(pl.col(c)).alias(c)
        for c in ("reinsertion_lobe_cc_pct", "reinsertion_pleural_dist_mm", "reinsertion_nodule_diam_mm")
    )
    cc, pleural, diameter = spaces.weighted(Held(nodules)).points[0, :3]
    assert cc == pytest.approx(nodules["reinsertion_lobe_cc_pct"].median() / 100)
    assert (pleural, diameter) == (pytest.approx(0.8), 0.0)


@pytest.mark.parametrize("k", [1, 2, 7, 12])
def test_balanced_neighbours_hold_every_dataset_where_k_allows(k: int, empty: Settings) -> None:
    """Dataset D2 lies far away: the nearest of all would never hold it, as in the original."""
    index = made(60)
    far = pl.col("reinsertion_lobe_cc_pct") + pl.when(pl.col("dataset") == "D2").then(1e4).otherwise(0.0)
    index = Index(index.nodules.with_columns(far))
    seen = NoduleMap(empty, Held(index.nodules))
    datasets = index.nodules["dataset"].to_numpy()
    distance = cdist(seen.space(NeighbourSearch()).points[[4]], seen.space(NeighbourSearch()).points, "cityblock")[0]
    order = [i for i in np.lexsort((np.arange(60), distance)) if i != 4]
    firsts = [i for d in ("D0", "D1", "D2") for i in [j for j in order if datasets[j] == d][: max(1, k // 3)]]
    rest = [i for i in order if i not in firsts]
    wanted = sorted(firsts + rest[: max(0, k - len(firsts))], key=lambda i: (distance[i], i))[:k]
    found = seen.neighbours(4, k, NeighbourSearch(), Reach(balance=True))
    assert found["row"].to_list() == [int(i) for i in wanted]
    assert ("D2" in datasets[found["row"]]) == (k >= 3)
    assert "D2" not in datasets[seen.neighbours(4, k, NeighbourSearch(), Reach())["row"]]


def test_neighbours_stay_within_what_was_asked(empty: Settings) -> None:
    index = made(60)
    seen = NoduleMap(empty, Held(index.nodules))
    own = index.nodules.row(4, named=True)

    def datasets(reach: Reach) -> set[str]:
        return set(index.nodules["dataset"][seen.neighbours(4, 59, NeighbourSearch("feature_l2"), reach)["row"]])

    assert datasets(Reach("within_dataset")) == {own["dataset"]}
    assert datasets(Reach("other_datasets")) == {"D0", "D1", "D2"} - {own["dataset"]}
    assert datasets(Reach("selected_datasets", ("D0", "D2"))) == {"D0", "D2"}
    assert datasets(Reach("selected_datasets")) == set()
    strangers = seen.neighbours(4, 59, NeighbourSearch(), Reach(same_person=False))
    assert strangers.height == index.nodules.filter(pl.col("person_uid") != own["person_uid"]).height
    for reach, message in ((Reach("near"), "scope 'near'"), (Reach("selected_datasets", ("D7",)), "dataset 'D7'")):
        with pytest.raises(ConfigError, match=message):
            datasets(reach)
    with pytest.raises(ConfigError, match="search space 'faiss': expected one of weighted"):
        seen.neighbours(4, 5, NeighbourSearch("faiss"), Reach())


def test_edges_come_from_their_file_and_are_not_worked_out_for_too_many(empty: Settings) -> None:
    index = made(60)
    with pytest.raises(TableError, match="make it with `its-nodulemap edges --k 5 --mode closest"):
        NoduleMap(empty, Held(index.nodules)).edges(5, "closest", "within_dataset", NeighbourSearch(), most=59)
    path, count = build.make_edges(
        NoduleMap(empty, Held(index.nodules)), 5, "closest", "within_dataset", NeighbourSearch(), lambda done: None
    )
    assert (path.name, count) == ("weighted_k5_closest_within_dataset.parquet", 300)
    again = NoduleMap(empty, Held(index.nodules)).edges(5, "closest", "within_dataset", NeighbourSearch(), most=59)
    assert again.equals(pl.read_parquet(path))
    with pytest.raises(TableError):  # the file is of other nodules
        NoduleMap(empty, Held(index.nodules[:58])).edges(5, "closest", "within_dataset", NeighbourSearch(), most=57)
    with pytest.raises(ConfigError, match="k 4: expected one of 3, 5, 10, 25"):
        NoduleMap(empty, Held(index.nodules)).edges(4, "closest", "within_dataset", NeighbourSearch())


def test_rows_are_found_by_id() -> None:
    index = made(60)
    assert [Held(index.nodules).row_of(uid) for uid in index.nodules["nodule_uid"]] == list(range(60))
    assert [Held(index.nodules).row_of(uid) for uid in ("", "D0/n0001", "D9/x")] == [None, None, None]
