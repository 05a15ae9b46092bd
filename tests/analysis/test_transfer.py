"""The published accuracies of synthetic and real slices, scored again from a ledger that holds them."""

from dataclasses import asdict

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.analysis.estimates.transfer import transfer
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


def test_cells_that_do_not_vary_have_no_correlation() -> None:
    found = transfer(np.array([0.5, 0.5, 0.5]), np.array([0.1, 0.2, 0.6]))
    assert found is not None
    assert (found.rho, found.r, found.tau, found.largest_gap) == (None, None, None, pytest.approx(0.4))
    assert transfer(np.array([0.5, np.nan, 0.5]), np.array([0.1, 0.2, 0.6])) is None
