"""The published accuracies of synthetic and real slices, scored again from a ledger that holds them."""

from dataclasses import asdict

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.analysis.estimates.cells import codes
from itrialspace_assets.analysis.estimates.transfer import transfer, winners, without_each
from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.scoring.metrics import score_cells
from itrialspace_assets.analysis.scoring.rows import Analysis
from itrialspace_assets.base.settings import load_settings
from tests.analysis.oracles import table

N = 1000  # published values have one decimal, so a thousand cases hold them exactly
CONDITIONS = ("plain", "bbox", "contour", "bbox_contour")
#: Per cent, synthetic and real (docs/facts/published-release.md#published-accuracies).
PUBLISHED = {
    ("BiomedCLIP", "presence"): ((17.6, 46.6, 63.0, 30.1), (13.0, 35.1, 44.0, 27.6)),
    ("BiomedCLIP", "lobe"): ((38.5, 58.4, 67.4, 66.6), (52.3, 74.8, 78.5, 77.1)),
    ("BiomedCLIP", "size"): ((28.8, 29.0, 28.7, 30.6), (25.8, 26.3, 25.5, 27.2)),
    ("LLaVA-Med", "presence"): ((100.0,) * 4, (100.0,) * 4),
    ("LLaVA-Med", "lobe"): ((20.4, 8.7, 6.0, 6.9), (22.1, 11.2, 7.8, 7.9)),
    ("LLaVA-Med", "size"): ((28.2,) * 4, (24.9,) * 4),
    ("MedGemma", "presence"): ((18.4, 88.0, 88.3, 87.5), (22.2, 92.1, 91.7, 93.1)),
    ("MedGemma", "lobe"): ((47.8, 62.7, 55.6, 55.3), (44.5, 53.0, 47.2, 46.9)),
    ("MedGemma", "size"): ((41.5, 45.1, 42.7, 46.0), (43.0, 49.6, 47.5, 50.1)),
}
RIGHT = {"presence": "present", "lobe": "left_lung_upper_lobe", "size": "5-10mm"}
WRONG = {"presence": "absent", "lobe": "left_lung_lower_lobe", "size": "10-20mm"}


@pytest.fixture(scope="module")
def cells() -> pl.DataFrame:
    """Accuracy of each cell, synthetic and real side by side, scored from 72,000 answers."""
    slices = table(N, presence=["present"] * N, lobe=["left_lung_upper_lobe"] * N, size_class=["5-10mm"] * N)
    parts = []
    for (reader, task), sources in PUBLISHED.items():
        for source, values in zip(("synthetic", "real"), sources, strict=True):
            for condition, per_cent in zip(CONDITIONS, values, strict=True):
                right = pl.int_range(pl.len()) < round(per_cent * N / 100)
                parts.append(
                    slices.with_columns(
                        source=pl.lit(source), reader=pl.lit(reader), task=pl.lit(task), condition=pl.lit(condition),
                        answer=pl.when(right).then(pl.lit(RIGHT[task])).otherwise(pl.lit(WRONG[task])),
                    )
                )  # fmt: skip
    ledger = pl.concat(parts)
    strata = {"all": pl.repeat("all", ledger.height, eager=True)}
    rows = score_cells(ledger, strata, load_study(load_settings()), Analysis("a", "s", "procedural"))
    kept = ["source", "reader", "task", "condition", "estimate"]
    found = pl.DataFrame([asdict(r) for r in rows if r.metric == "accuracy_one_n"], infer_schema_length=None).select(
        kept
    )
    return found.pivot("source", index=["reader", "task", "condition"], values="estimate")


def test_the_published_tables_come_back(cells: pl.DataFrame) -> None:
    assert cells.height == 36
    one = cells.filter(pl.col("reader") == "MedGemma", pl.col("task") == "lobe", pl.col("condition") == "bbox")
    assert (one["synthetic"].item(), one["real"].item()) == (0.627, 0.53)


def test_correlations_of_the_published_tables(cells: pl.DataFrame) -> None:
    """Worked out in docs/facts/published-release.md#published-accuracies."""
    llava = (cells["reader"] == "LLaVA-Med").to_numpy()
    constant = llava & (cells["task"] != "lobe").to_numpy()
    first, second = cells["synthetic"].to_numpy(), cells["real"].to_numpy()
    found = transfer(first, second)
    assert found is not None
    got = (found.rho, found.r, found.tau, 100 * found.mean_gap, 100 * found.largest_gap)
    assert got == tuple(pytest.approx(x, abs=5e-5) for x in (0.9641, 0.9727, 0.8835, 5.0972, 19.0))
    for left_out, rho, count in ((constant, 0.9239, 28), (llava, 0.8800, 24)):
        rest = transfer(first, second, ~left_out)
        assert rest is not None
        assert (rest.rho, rest.cells) == (pytest.approx(rho, abs=5e-5), count)


def test_blocks_of_the_published_tables(cells: pl.DataFrame) -> None:
    """Worked out from the published cells by hand (docs/facts/published-release.md#published-accuracies).

    Per task presence 0.971, lobe 0.951, size 1.000; inside MedGemma 0.783, BiomedCLIP 0.958; of changes against plain
    0.982. The order of the three readers is the same in 10 of 12 blocks; in lobe under plain and bbox synthetic slices
    prefer MedGemma and real ones BiomedCLIP, which is 22 points better there.
    """
    first, second = cells["synthetic"].to_numpy(), cells["real"].to_numpy()

    def rho(column: str, name: str) -> float:
        found = transfer(first, second, (cells[column] == name).to_numpy())
        assert found is not None and found.rho is not None
        return found.rho

    tasks = [rho("task", t) for t in ("presence", "lobe", "size")]
    assert tasks == [pytest.approx(x, abs=5e-4) for x in (0.971, 0.951, 1.0)]
    readers = [rho("reader", r) for r in ("MedGemma", "BiomedCLIP")]
    assert readers == [pytest.approx(x, abs=5e-4) for x in (0.783, 0.958)]
    plain = cells.filter(pl.col("condition") == "plain").select("reader", "task", s="synthetic", r="real")
    apart = cells.filter(pl.col("condition") != "plain").join(plain, on=["reader", "task"])
    made, real = (
        apart.select((pl.col(a) - pl.col(a[0])).round(9)).to_series().to_numpy() for a in ("synthetic", "real")
    )
    changes = transfer(made, real)
    assert changes is not None and changes.rho == pytest.approx(0.982, abs=5e-4)
    found = winners(first, second, codes(cells, ["task", "condition"])[0])
    assert (found.orders, found.of_orders, found.pairs, found.of_pairs, found.tied) == (10, 12, 34, 36, 0)
    assert found.lost == pytest.approx(0.748 - 0.530)
    without = without_each(first, second, cells["reader"].to_list())
    assert without["LLaVA-Med"] == pytest.approx(0.880, abs=5e-4) and len(without) == 3


def test_readers_that_are_equal_on_one_side_have_no_better_one() -> None:
    found = winners(np.array([0.5, 0.5, 0.7]), np.array([0.4, 0.6, np.nan]), np.array([0, 0, 0]))
    assert (found.of_pairs, found.tied, found.orders, found.of_orders) == (0, 1, 0, 1)
    assert found.lost == pytest.approx(0.2), "the first of equals is chosen"
    other = winners(np.array([0.4, 0.6]), np.array([0.5, 0.5]), np.array([0, 0]))
    assert (other.of_pairs, other.tied, other.orders, other.lost) == (0, 1, 0, 0.0)


def test_cells_that_do_not_vary_have_no_correlation() -> None:
    found = transfer(np.array([0.5, 0.5, 0.5]), np.array([0.1, 0.2, 0.6]))
    assert found is not None
    assert (found.rho, found.r, found.tau, found.largest_gap) == (None, None, None, pytest.approx(0.4))
    assert transfer(np.array([0.5, np.nan, 0.5]), np.array([0.1, 0.2, 0.6])) is None
