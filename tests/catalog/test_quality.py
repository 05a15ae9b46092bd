"""Great Expectations' suites against the fast validator, outcomes that are kept, and files changed after writing."""

import json
import os
import re
import shutil
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from itrialspace_assets.base.settings import PROCEDURAL_MARK, Settings, load_settings
from itrialspace_assets.catalog import quality
from itrialspace_assets.catalog.quality import REGISTRY, TableOutcome, batch_of, suite_of, validate, validate_tables
from itrialspace_assets.demo.paper import make_profiles
from itrialspace_assets.profiles.load import load_profiles
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.records.schema import rules_at_write, violations
from itrialspace_assets.records.store import read_table, table_path, write_table
from itrialspace_assets.records.tables import TABLES

#: Great Expectations takes seconds to import and to judge a table.
pytestmark = pytest.mark.slow
REVIEW = {"case_uid": "a/b/00000", "reviewer": "me", "verdict": "accept", "reason": None, "number": 1}


@pytest.fixture(scope="module")
def dlcs(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """DLCS24 at its published size, with its published defects."""
    path = tmp_path_factory.mktemp("p") / "DLCS24_nodule_profiles.csv"
    entry = datasets(load_settings())["DLCS24"]
    make_profiles("DLCS24", entry).write_csv(path)
    return load_profiles(path, entry, "procedural").profiles


def of_folder(folder: Path) -> Settings:
    return load_settings(data_dir=folder / "data", output_dir=folder / "out")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of outputs with two reviews, beside a data root; every table was judged once, and found good."""
    folder = tmp_path_factory.mktemp("judged")
    (folder / "data" / "profiles").mkdir(parents=True)
    (folder / "data" / PROCEDURAL_MARK).write_text(json.dumps({"anatomy": "procedural"}))
    write_table(folder / "out", "reviews", [REVIEW, REVIEW | {"reviewer": "you"}])
    assert not any(v.failed("error") for v in validate_tables(of_folder(folder)))
    return folder


@pytest.fixture
def written(judged: Path, tmp_path: Path) -> Settings:
    """A copy of those outputs, with the outcomes of their tables."""
    shutil.copytree(judged, tmp_path, dirs_exist_ok=True)
    return of_folder(tmp_path)


def tamper(path: Path, name: str, change: pl.Expr) -> None:
    """Change a written file and keep the contract that it states, as somebody with an editor could."""
    old = pq.read_table(path)
    frame = pl.from_arrow(old)
    assert isinstance(frame, pl.DataFrame)
    arrow = frame.with_columns(change.alias(name)).to_arrow(compat_level=pl.CompatLevel.oldest())
    pq.write_table(arrow.replace_schema_metadata(old.schema.metadata), path, compression="zstd")


def of(verdicts: list[TableOutcome], table: str) -> TableOutcome:
    return next(v for v in verdicts if v.table == table)


def test_both_find_the_known_defects_with_the_same_counts(dlcs: pl.DataFrame) -> None:
    """Shares 0.93 and 0.507 of 2,487 rows: docs/facts/datasets.md#known-defects."""
    batch = batch_of(TABLES["profiles"], [("profiles/DLCS24", {"dataset": "DLCS24"}, dlcs)])
    (verdict,) = validate({"profiles": batch})
    found = {o.expectation.name: o for o in verdict.failed("warning")}
    fast = {v.rule: v.rows for v in violations(TABLES["profiles"], dlcs)}
    assert found["lobe_ml_pct within 0-100"].unexpected == round(0.93 * 2487) == fast["lobe_ml_pct within 0-100"]
    assert found["lobe_ap_pct within 0-100"].unexpected == round(0.507 * 2487)
    assert {k: o.unexpected for k, o in found.items()} == fast
    assert not verdict.failed("error")
    assert found["lobe_ml_pct within 0-100"].sample[0].startswith("DLCS24/")


def test_both_find_broken_rows(dlcs: pl.DataFrame) -> None:
    first, second = pl.int_range(pl.len()) < 3, pl.int_range(pl.len()) == 7
    spoiled = dlcs.with_columns(
        lobe_name=pl.when(first).then(pl.lit("left")).otherwise("lobe_name"),
        age=pl.when(second).then(200.0).otherwise("age"),
        ct_path=pl.when(first).then(None).otherwise("ct_path"),
        nodule_uid=pl.when(first).then(pl.lit("twice")).otherwise("nodule_uid"),
    )
    batch = batch_of(TABLES["profiles"], [("profiles/DLCS24", {"dataset": "DLCS24"}, spoiled)])
    (verdict,) = validate({"profiles": batch})
    (broken,) = verdict.failed("error")
    assert (broken.expectation.name, broken.unexpected) == (REGISTRY, 4)
    assert broken.sample[:3] == ("twice", "twice", "twice")
    named = [d.split(":")[0] for d in broken.details]
    assert sorted(named) == ["age", "ct_path", "dataset/nodule_uid", "lobe_name"]


def test_a_suite_has_one_expectation_of_the_writer_and_one_of_each_warning() -> None:
    for table in TABLES.values():
        suite = suite_of(table)
        assert [e.name for e in suite if e.at_write] == [REGISTRY]
        assert [e.name for e in suite if not e.at_write] == [r.name for r in table.rules if r.severity == "warning"]


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("verdict", pl.lit("perhaps"), "verdict: expected one of accept, reject"),
        ("case_uid", pl.lit(None, pl.String), "case_uid: null not allowed"),
        ("reviewer", pl.lit("me"), "case_uid/reviewer: expected a unique key"),
        ("reason", pl.lit(7), "reason: expected type String, got Int"),
    ],
)
def test_a_changed_file_fails_its_table_alone(written: Settings, column: str, value: pl.Expr, says: str) -> None:
    tamper(table_path(written.output, "reviews"), column, value)
    verdicts = validate_tables(written)
    (broken,) = of(verdicts, "reviews").failed("error")
    assert any(says in d for d in broken.details), broken.details
    assert broken.unexpected == (1 if column == "reason" else 2)
    assert [v.table for v in verdicts if v.failed("error")] == ["reviews"]
    assert says.split(": ")[1] in (written.output / "quality/index.html").read_text()


def test_a_changed_file_of_equal_size_and_time_fails(written: Settings) -> None:
    path = table_path(written.output, "reviews")
    tamper(path, "verdict", pl.col("verdict"))  # the same rows, written as the damage below
    before = path.stat()
    assert not of(validate_tables(written), "reviews").failed("error")
    tamper(path, "verdict", pl.lit("accepd"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert of(validate_tables(written), "reviews").failed("error")


def test_a_file_in_the_folder_of_another_partition_fails(written: Settings) -> None:
    row = {"stage": "insert", "partition": "m/d", "case_uid": "a", "nodule_idx": -1, "reason": "no_lobe", "detail": "x"}
    write_table(written.output, "rejected_cases", [row], stage="insert", partition="m/d")
    assert not of(validate_tables(written), "rejected_cases").failed("error")
    here = table_path(written.output, "rejected_cases", stage="insert", partition="m/d")
    there = table_path(written.output, "rejected_cases", stage="insert", partition="m/other")
    there.parent.mkdir(parents=True)
    here.rename(there)
    (broken,) = of(validate_tables(written), "rejected_cases").failed("error")
    assert broken.details == ("1 rows lie in the folder of another partition",)


def test_only_changed_tables_are_judged_again(written: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[list[str]] = []
    real = quality.validate

    def counted(batches: dict[str, quality.Batch]) -> list[TableOutcome]:
        judged.append(list(batches))
        return real(batches)

    monkeypatch.setattr(quality, "validate", counted)
    shutil.rmtree(written.output / "work/quality")
    first = validate_tables(written)
    page = (written.output / "quality/index.html").read_bytes()
    assert validate_tables(written) == first
    assert judged == [list(TABLES)]
    assert (written.output / "quality/index.html").read_bytes() == page
    write_table(written.output, "reviews", [REVIEW])
    assert of(validate_tables(written), "reviews").rows == 1
    assert judged[1:] == [["reviews"]]
    monkeypatch.setattr(quality, "VERSION", "another")
    validate_tables(written)
    assert judged[2:] == [list(TABLES)]
    (written.output / "work/quality/reviews.json").write_text("{")
    validate_tables(written)
    assert judged[3:] == [["reviews"]], "an outcome that cannot be read is made again"


def test_the_page_says_what_can_fail_only_by_tampering(written: Settings) -> None:
    validate_tables(written)
    page = (written.output / "quality/index.html").read_text()
    assert "can fail only by tampering" in page
    for table in ("reviews", "profiles"):
        section = page.split(f'<h2 id="{table}">')[1].split("<h2 id=")[0]
        listed = re.findall("<li>([^<]*)</li>", section.split("Rules enforced at writing")[1])
        assert len(listed) == len(rules_at_write(TABLES[table]))
    assert read_table(written.output, "reviews").height == 2
