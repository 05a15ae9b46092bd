"""Great Expectations' suites against the fast validator: two readers of one registry must agree."""

import polars as pl
import pytest

from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.catalog.quality import suite_of, validate_frames
from itrialspace_assets.demo.paper import make_profiles
from itrialspace_assets.profiles.load import load_profiles
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.records.schema import violations
from itrialspace_assets.records.tables import TABLES


@pytest.fixture(scope="module")
def dlcs(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """DLCS24 at its published size, with its published defects."""
    path = tmp_path_factory.mktemp("p") / "DLCS24_nodule_profiles.csv"
    entry = datasets(load_settings())["DLCS24"]
    make_profiles("DLCS24", entry).write_csv(path)
    return load_profiles(path, entry, "procedural").profiles


def test_both_find_the_known_defects_with_the_same_counts(dlcs: pl.DataFrame) -> None:
    """Shares 0.93 and 0.507 of 2,487 rows: docs/facts/datasets.md#known-defects."""
    (verdict,) = validate_frames({"profiles": dlcs})
    found = {str(o.expectation): o for o in verdict.failed("warning")}
    fast = {v.rule: v.rows for v in violations(TABLES["profiles"], dlcs)}
    assert found["lobe_ml_pct within 0-100"].unexpected == round(0.93 * 2487) == fast["lobe_ml_pct within 0-100"]
    assert found["lobe_ap_pct within 0-100"].unexpected == round(0.507 * 2487)
    assert {k: o.unexpected for k, o in found.items()} == fast
    assert not verdict.failed("error")
    assert found["lobe_ml_pct within 0-100"].sample[0].startswith("DLCS24/")


def test_both_find_broken_rows(dlcs: pl.DataFrame) -> None:
    first = pl.int_range(pl.len()) < 3
    spoiled = dlcs.with_columns(
        lobe_name=pl.when(first).then(pl.lit("left")).otherwise("lobe_name"),
        age=pl.when(first).then(200.0).otherwise("age"),
        ct_path=pl.when(first).then(None).otherwise("ct_path"),
        nodule_uid=pl.when(first).then(pl.lit("twice")).otherwise("nodule_uid"),
    )
    (verdict,) = validate_frames({"profiles": spoiled})
    found = {str(o.expectation).split(":")[0].removeprefix("dataset, "): o.unexpected for o in verdict.failed("error")}
    fast = {v.column: v.rows for v in violations(TABLES["profiles"], spoiled) if v.severity == "error"}
    assert found == {"lobe_name": 3, "age": 3, "ct_path": 3, "nodule_uid": 3} == fast


def test_every_rule_of_every_table_is_expected() -> None:
    for table in TABLES.values():
        kinds = [e.kind for e in suite_of(table)]
        assert kinds.count("expect_column_values_to_not_be_null") == sum(not c.nullable for c in table.columns)
        assert sum(str(e).startswith(r.name) for r in table.rules for e in suite_of(table)) == len(table.rules)
        assert "unique" in kinds[-1]
