"""Readers that look, that do not, and that answer by chance: counted by hand, called only where intervals say so."""

from dataclasses import asdict, replace
from pathlib import Path

import polars as pl
import pytest

from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.reports.document import Chart, Paragraph, Table
from itrialspace_assets.analysis.reports.trust import Thresholds, readings, trust_flags, trust_part
from itrialspace_assets.analysis.scoring.controls import control_rows, under_controls
from itrialspace_assets.analysis.scoring.observations import observe
from itrialspace_assets.analysis.scoring.rows import Analysis, MetricRow
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.records.tables import TABLES
from tests.analysis.oracles import table
from tests.analysis.small_run import MODE, SOURCE, answers, run_settings, slices, write_answers, write_slices

STUDY = load_study(load_settings())
ANALYSIS = Analysis("a", "s", "procedural")
PICTURES = (("blank", "plain"), ("box_only", "bbox"), ("contralateral_box", "bbox"))


def run(folder: Path, cases: int = 40) -> Settings:
    """Right on pictures, mostly absent on a blank one, follows the box, and once in ten refuses text alone."""
    settings = run_settings(folder)
    every = slices(cases, controls=PICTURES)
    write_slices(settings, every)
    number = pl.col("case_uid").str.slice(-5).cast(pl.Int64)
    own = every.with_columns(answer="presence")
    plain = own.filter(pl.col("control") == "none")
    said = [
        own.filter(pl.col("control") != "blank"),
        own.filter(pl.col("control") == "blank").with_columns(
            answer=pl.when(number % 4 == 0).then(pl.col("answer")).otherwise(pl.lit("absent"))
        ),
        plain.with_columns(control=pl.lit("options_rotated")),
        plain.filter(pl.col("condition") == "plain").with_columns(
            control=pl.lit("text_only"), answer=pl.when(number % 10 > 0).then(pl.col("answer"))
        ),
    ]
    rows = pl.concat(said).with_columns(
        status=pl.when(pl.col("answer").is_null()).then(pl.lit("refused")).otherwise(pl.lit("ok"))
    )
    write_answers(settings, "mock", answers(settings, "mock", rows))
    return settings


def shares(rows: list[MetricRow]) -> dict[tuple[str, str], tuple[int | None, int | None]]:
    return {(r.condition, r.metric): (r.k, r.n_slices) for r in rows}


def test_answers_are_read_under_every_control_and_counted(tmp_path: Path) -> None:
    settings = run(tmp_path)
    seen = observe(settings, SOURCE, MODE, MODE, "mock").filter(pl.col("task") == "presence")
    under = under_controls(settings, seen, MODE)
    assert under.filter(pl.col("said_status").is_null())["control"].unique().to_list() == ["prompt_paraphrase"]
    rows = control_rows(under, STUDY, ANALYSIS)
    TABLES["metrics"].frame([asdict(r) for r in rows])
    assert shares(rows) == {
        ("plain", "unchanged_blank"): (50, 80), ("plain", "refused_blank"): (0, 80),
        ("plain", "unchanged_text_only"): (72, 80), ("plain", "refused_text_only"): (8, 80),
        ("plain", "unchanged_options_rotated"): (80, 80), ("plain", "refused_options_rotated"): (0, 80),
        ("bbox", "unchanged_box_only"): (80, 80), ("bbox", "refused_box_only"): (0, 80),
        ("bbox", "unchanged_contralateral_box"): (80, 80), ("bbox", "refused_contralateral_box"): (0, 80),
        ("bbox", "unchanged_options_rotated"): (80, 80), ("bbox", "refused_options_rotated"): (0, 80),
    }  # fmt: skip
    (one,) = readings(rows, STUDY)
    assert (one.relies, one.stable) == ("yes", "yes"), "30 of 80 answers change on a blank picture"
    (flag,) = trust_flags(rows, STUDY).flags
    assert flag.text.startswith("under bbox, answers come from the guidance: 80 of 80 (100%, interval 9")
    part = trust_part(rows, STUDY, "procedural")
    assert part.rows == rows
    blocks = part.sections[0].blocks
    assert [b.text for b in blocks if isinstance(b, Paragraph) and b.kind == "warning"] == [
        f"mock on tissue, presence: {flag.text}."
    ]
    (chart,) = [b for b in blocks if isinstance(b, Chart)]
    assert "mock on tissue, presence: 100% unchanged when asked in another way, 38% changed" in chart.alt
    assert [b.name for b in blocks if isinstance(b, Table)] == ["reader_trust", "controls"]
    assert "Not read: prompt_paraphrase" in blocks[-1].text


def indifferent(n: int, changed: int, **columns: list) -> list[MetricRow]:
    """A reader of whose answers so many change on a blank picture."""
    other = {"present": "absent", "absent": "present"}
    rows = table(n, **columns)
    said = [other[a] if i < changed else a for i, a in enumerate(rows["answer"])]
    rows = rows.with_columns(control=pl.lit("blank"), said=pl.Series(said), said_status=pl.lit("ok"))
    return control_rows(rows, STUDY, ANALYSIS)


def test_a_reader_is_called_indifferent_only_where_the_interval_says_so() -> None:
    (sure,) = readings(indifferent(200, 4), STUDY)
    (unsure,) = readings(indifferent(200, 16), STUDY)
    (looks,) = readings(indifferent(200, 60), STUDY)
    (few,) = readings(indifferent(200, 0, host_person_uid=[str(i % 6) for i in range(200)]), STUDY)
    assert [r.relies for r in (sure, unsure, looks, few)] == ["no", "open", "yes", "open"]
    assert [r.stable for r in (sure, unsure)] == ["not read"] * 2
    flags = trust_flags(indifferent(200, 4), STUDY)
    assert flags.of("tissue", "mock", "presence") == (
        "answers do not depend on the picture: 196 of 200 (98%, interval 94% to 99%) stay the same without it"
    )
    assert flags.of("tissue", "mock", "size") is None
    assert trust_flags(indifferent(200, 16), STUDY).flags == ()
    assert readings(indifferent(200, 16), STUDY, Thresholds(indifferent=0.8))[0].relies == "no"


@pytest.mark.parametrize("row", [{"answer": [None] * 20, "status": ["refused"] * 20}, {"status": ["unsupported"] * 20}])
def test_what_was_never_answered_is_not_called_anything(row: dict[str, list]) -> None:
    rows = indifferent(20, 0, **row) if "answer" not in row else []
    assert rows == []
    none = table(20, **row).with_columns(control=pl.lit("blank"), said=pl.lit("present"), said_status=pl.lit("ok"))
    found = control_rows(none, STUDY, ANALYSIS)
    assert {r.flag for r in found} <= {"no slice was answered both ways"}
    assert {r.relies for r in readings(found, STUDY)} <= {"not read"}
    trust_part(found, STUDY, "procedural")


def test_the_least_stable_way_of_asking_decides() -> None:
    (blank, refused) = indifferent(200, 60)
    rotated = replace(blank, metric="unchanged_options_rotated", estimate=0.97, low=0.93, high=0.99)
    words = replace(blank, metric="unchanged_prompt_paraphrase", estimate=0.6, low=0.5, high=0.7)
    (one,) = readings([blank, refused, rotated, words], STUDY)
    assert (one.stable, one.same) == ("no", words)
    assert readings([blank, refused, rotated], STUDY)[0].stable == "yes"


def test_without_controls_the_section_says_how_to_turn_them_on() -> None:
    part = trust_part([], STUDY, "procedural")
    ((said,),) = [s.blocks for s in part.sections]
    assert said.kind == "warning"
    assert "ITRIALSPACE_CONTROLS=blank,box_only,contralateral_box" in said.text
