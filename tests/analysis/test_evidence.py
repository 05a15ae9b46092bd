"""Checklists, credibility, scorecards and cards on made-up tables, and on a root where nothing was made."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from itrialspace_assets.analysis.evidence import cards, credibility, scorecard, sections
from itrialspace_assets.analysis.evidence.checklists import NAMES, ChecklistItem, answered, load_checklist
from itrialspace_assets.analysis.evidence.extractors import EXTRACTORS
from itrialspace_assets.analysis.evidence.gather import AuthorStatements, Evidence, Scope, gather
from itrialspace_assets.analysis.protocol.study import LockState, load_study
from itrialspace_assets.analysis.reports.document import Estimate, Paragraph, Table
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.records.tables import TABLES

MODE = "m02_size_detection_curve"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out")


@pytest.fixture
def nothing(settings: Settings) -> Evidence:
    """What is found where no stage ran."""
    return gather(settings, load_study(settings), MODE)


def rows(table: str, *given: dict[str, Any]) -> pl.DataFrame:
    return TABLES[table].frame(list(given))


def counts(columns: list[str], *given: tuple[Any, ...]) -> pl.DataFrame:
    return pl.DataFrame(given, schema=[*columns, "n"], orient="row")


ANSWERS = ["source", "reader", "task", "condition", "control", "status", "answer", "scorer", "scorer_version", "mode"]


def said(status: str, answer: str | None, n: int, task: str = "presence", control: str = "none") -> tuple[Any, ...]:
    return ("tissue", "blob", task, "plain", control, status, answer, "spot", "1", MODE, n)


@pytest.fixture
def planted(nothing: Evidence) -> Evidence:
    """Four planned cases of two arms: one was rejected at insertion, one never answered; two nodules moved."""
    case = {"mode": MODE, "arm": "b", "host_dataset": "LUNGx", "inserted": True, "size_bucket": "5-10mm", "lobe": "x"}
    cases = [
        case | {"case_uid": "c0"},
        case | {"case_uid": "c1"},
        case | {"case_uid": "c2", "arm": "a"},
        case | {"case_uid": "c3", "arm": "a", "inserted": False},
    ]
    stage = {"source": "tissue", "mode": MODE, "host_dataset": "LUNGx", "lobe": "x", "size_bucket": "5-10mm"}
    through = {"c0": (True, True, True), "c1": (True, True, False), "c2": (True, True, True), "c3": (False,) * 3}
    nodule = {
        "mode": MODE,
        "present": True,
        "nodule_idx": 0,
        "placement": "profile",
        "asked_lobe": "right_lung_upper_lobe",
    }
    inserted = [
        ("c0", 6.0, 6.0, 0.5, 0, "5-10mm"),
        ("c1", 6.0, 11.0, 2.5, 3, "10-15mm"),
        ("c2", 6.0, 6.5, 1.0, 0, "5-10mm"),
    ]
    metric = {"analysis": MODE, "source": "tissue", "reader": "blob", "task": "presence", "condition": "plain"}
    share = metric | {"stratum": "all", "metric": "sensitivity", "estimate": 0.75, "k": 3, "n_slices": 4, "method": "w"}
    return replace(
        nothing,
        trials=rows("trials", {"mode": MODE, "question": "Does size matter?", "size": "demo"}),
        arms=rows(
            "arms",
            {"mode": MODE, "arm": "b", "number": 0, "asked_cases": 3, "got_cases": 2, "donor_pool": 4, "host_pool": 9},
            {"mode": MODE, "arm": "a", "number": 1, "asked_cases": 2, "got_cases": 2, "donor_pool": 7, "host_pool": 9},
        ),
        balance=rows(
            "balance",
            {
                "mode": MODE,
                "arm": "b",
                "marginal": "size",
                "level": "10-15mm",
                "status": "calibrated",
                "asked": 1,
                "got": 0,
            },
            {
                "mode": MODE,
                "arm": "b",
                "marginal": "size",
                "level": "5-10mm",
                "status": "calibrated",
                "asked": 2,
                "got": 2,
            },
            {"mode": MODE, "arm": "b", "marginal": "lobe", "level": "x", "status": "free", "asked": None, "got": 2},
        ),
        cases=pl.DataFrame(cases),
        stages=pl.DataFrame(
            [
                stage
                | {"case_uid": c["case_uid"], "arm": c["arm"]}
                | dict(zip(("rendered", "sliced", "answered"), through[c["case_uid"]], strict=True))
                for c in cases
            ]
        ),
        planned=pl.DataFrame(
            [
                {
                    "case_uid": f"c{i}",
                    "mode": MODE,
                    "nodule_idx": 0,
                    "size_bucket": "5-10mm",
                    "relaxations": "clearance;scaled" if i else "",
                }
                for i in range(4)
            ]
        ),
        insertions=rows(
            "insertions",
            *(
                nodule
                | {
                    "case_uid": uid,
                    "planned_diameter_mm": plan,
                    "diameter_mm": got,
                    "shift_mm": shift,
                    "dataset": "LUNGx",
                }
                | {
                    "outside_lung": out,
                    "overlap": 0.0,
                    "size_bucket": bucket,
                    "lobe": "right_lung_upper_lobe" if uid != "c1" else "right_lung_middle_lobe",
                    "margin_mm": 1.5,
                }
                for uid, plan, got, shift, out, bucket in inserted
            ),
        ),
        rejected=rows("rejected_cases", {"stage": "insert", "case_uid": "c3", "reason": "no_room", "nodule_idx": -1}),
        answers=counts(
            ANSWERS,
            said("ok", "present", 5),
            said("ok", "absent", 2),
            said("refused", None, 2),
            said("error", None, 1),
            said("ok", "<5mm", 4, task="size"),
            said("unsupported", None, 9, task="lobe"),
            said("ok", "present", 50, control="blank"),
        ),
        metrics=rows(
            "metrics",
            share,
            share | {"metric": "specificity", "k": 1, "n_slices": 4, "estimate": 0.25},
            metric | {"stratum": "all", "metric": "auc", "flag": "one class", "method": "none", "n_slices": 0},
        ),
        people=pl.DataFrame(
            {
                "person_uid": [f"p{i}" for i in range(12)],
                "dataset": ["LUNGx"] * 12,
                "age": [60.0] * 12,
                "sex": ["M"] * 3 + ["F"] * 9,
                "smoking": [None] * 12,
            },
            schema_overrides={"smoking": pl.String},
        ),
    )


def test_the_items_are_those_that_were_published() -> None:
    """CLAIM 2024 has 44 items; STARD-AI 40, of which 15, 16, 17, 26 and 40 have parts (docs/facts/reporting.md)."""
    claim, stard = (load_checklist(name) for name in NAMES)
    assert [i.number for i in claim.items] == [str(n) for n in range(1, 45)]
    parts = {15: "abcd", 16: "abc", 17: "ab", 26: "ab", 40: "ab"}
    assert [i.number for i in stard.items] == [f"{n}{p}" for n in range(1, 41) for p in parts.get(n, [""])]
    assert all(len(i.asks) < 70 for c in (claim, stard) for i in c.items), "in short words of our own"


def test_an_item_says_where_its_answer_is_from() -> None:
    with pytest.raises(ValueError, match="expected one of"):
        ChecklistItem(number="1", section="s", asks="a", value="no_such_extractor")
    for wrong in ({}, {"value": "goal", "not_applicable": "no"}):
        with pytest.raises(ValueError, match="or not_applicable alone"):
            ChecklistItem(number="1", section="s", asks="a", **wrong)


def test_where_no_stage_ran_everything_forms_and_blanks_are_named(settings: Settings, nothing: Evidence) -> None:
    for name in (MODE, "real-LUNGx", "study"):
        part = sections.evidence_part(settings, gather(settings, load_study(settings), name))
        tables = {b.name: b for s in part.sections for b in s.blocks if isinstance(b, Table)}
        assert all(t.folded for t in tables.values())
        claim = {r[0]: r for r in tables["checklist_claim_2024"].rows}
        assert claim["14"][3:5] == ("blank", "the authors must say: reference standard")
        assert claim["24"][3] == "not applicable"
        assert ", 14, 15, 16, 17, 18, 19, 20, " in tables["checklist_claim_2024"].note
        assert all(s.standing == "context" for s in part.sections)
    violations = scorecard.violations(nothing)
    assert [(v.k, v.n) for v in violations] == [(0, 0)] * 4 and all(v.note for v in violations)
    assert scorecard.distances(nothing)[0].note == "not measured yet: see the study's report, or `its evidence cards`"
    estimates = [c for s in sections.scorecard_sections(nothing) for b in s.blocks for r in b.rows for c in r]  # type: ignore[union-attr]
    assert all(c.value is not None or c.flag for c in estimates if isinstance(c, Estimate)), "null with its reason"


def test_a_lock_that_is_known_is_not_looked_up_again(settings: Settings, nothing: Evidence) -> None:
    """Looking it up reads the answers of the whole study, and each of its reports did so twice."""
    study = load_study(settings)
    known = LockState("locked", study.study, settings.split, study.sha256)
    assert (nothing.changed, gather(settings, study, MODE, state=known).changed) == (True, False)


def test_the_scorecard_counts_what_was_planted(planted: Evidence) -> None:
    covered = {(c.arm, c.by, c.level): (c.asked, c.got, c.note) for c in scorecard.coverage(planted)}
    assert list(covered)[:2] == [("b", "arm", "b"), ("a", "arm", "a")], "arms in declared order"
    assert covered["b", "arm", "b"][:2] == (3, 2)
    assert [k for k in covered if k[1] == "size"] == [("b", "size", "5-10mm"), ("b", "size", "10-15mm")]
    assert covered["b", "lobe", "x"] == (None, 2, "no quota: free")

    counted = {(v.what, v.level): (v.k, v.n) for v in scorecard.violations(planted)}
    assert counted["rejected at insert", "no_room"] == (1, 4)
    assert counted["planned nodules relaxed", "scaled"] == (3, 4)
    assert counted["inserted nodules", "reach outside the lobes"] == (1, 3)

    complete = {(c.group, c.level): c for c in scorecard.completeness(planted)}
    arm = complete["arm", "b"]
    assert (arm.planned, arm.inserted, arm.rendered, arm.sliced, arm.answered) == (2, 2, 2, 2, 1)
    whole = complete["host_dataset", "LUNGx"]
    assert (whole.planned, whole.inserted, whole.answered) == (4, 3, 2)

    near = {(c.by, c.level): c for c in scorecard.consistency(planted)}["size planned", "5-10mm"]
    assert (near.n, near.lobe_as_asked, near.size_as_planned) == (3, 2, 2)
    assert (near.diameter_gap_mm, near.shift_mm) == (0.5, 1.0)


def test_a_card_counts_own_pictures_and_names_constant_answers(settings: Settings, planted: Evidence) -> None:
    (card,) = cards.reader_cards(settings, planted)
    assert (card.answered, card.refused, card.failed) == (cards.Share(11, 14), cards.Share(2, 14), cards.Share(1, 14))
    assert card.constant == ("size on tissue: always <5mm (4 answers)",)
    assert (card.kind, card.licence, card.controls, card.parsers) == (
        "blob",
        "Apache-2.0",
        ("blank",),
        ("spot version 1",),
    )
    assert card.weights is None and card.weights_note == "it has no weights of its own"
    gone = planted.answers.with_columns(reader=pl.lit("gone"))
    (other,) = cards.reader_cards(settings, replace(planted, answers=gone))
    assert other.kind is None and other.trained_on == "not stated" and "no readers.yaml" in other.weights_note


def test_values_are_those_of_the_tables(planted: Evidence) -> None:
    found = {name: look(planted) for name, look in EXTRACTORS.items()}

    def text(name: str) -> str:
        value = found[name]
        assert value is not None, name
        return value.value

    assert text("failures") == (
        f"{MODE}, tissue, blob: missed 1 of 4 (25.0 %); {MODE}, tissue, blob: false alarms 3 of 4 (75.0 %)"
    )
    assert "auc not estimable (one class), n 0" in text("primary_estimate")
    assert text("flow").endswith("tissue: rendered 3, sliced 3, answered 2; rejected: insert no_room 1")
    assert "error 1, ok 11, refused 2" in text("missing")
    assert text("sample_size").startswith("5 cases asked for, 4 planned")
    assert "moved from the asked place by median 1.00 mm, at most 2.50 mm" in text("clearances")
    assert found["fidelity"] is None and found["transfer"] is None, "a number that is missing is no evidence"
    assert "sex F 9, M 3" in text("people")
    hidden = EXTRACTORS["people"](replace(planted, minimum=11))
    assert hidden is not None and "sex F fewer than 11, M fewer than 11" in hidden.value and "12 people" in hidden.value


def test_learned_renderers_are_said_to_be_outside_the_guidance(planted: Evidence) -> None:
    def warning(evidence: Evidence) -> str:
        first = sections.credibility_section(evidence).blocks[0]
        assert isinstance(first, Paragraph) and first.kind == "warning"
        return first.text

    image = {"is_lesion_free": False, "acquisition": "standard", "trained_on": "unknown"}
    images = rows("cts", image | {"source": "tissue"}, image | {"source": "nodmaisi"}).sort("source", descending=True)
    assert "learned renderers (nodmaisi): the guidance does not cover them" in warning(replace(planted, cts=images))
    assert "learned renderers (" not in warning(replace(planted, cts=images.head(1)))


def test_risk_is_named_only_where_influence_and_consequence_are_stated(planted: Evidence) -> None:
    steps = credibility.load_page().steps
    assert credibility.risk(credibility.supported(steps, planted)).startswith("not judged")
    stated = AuthorStatements(model_influence="low", decision_consequence="none for patients")
    found = credibility.supported(steps, replace(planted, stated=stated))
    assert credibility.risk(found).startswith("influence: low; consequence: none for patients")


def test_the_part_of_a_mode_is_taken_out_of_a_study(planted: Evidence) -> None:
    other = planted.cases.with_columns(mode=pl.lit("m03"), case_uid=pl.col("case_uid") + "x")
    both = replace(planted, scope=Scope("study", (MODE, "m03"), ()), cases=pl.concat([planted.cases, other]))
    assert both.only("m03").cases.height == 4 and both.only("m03").rejected.height == 0
    assert both.only(MODE).rejected.height == 1
    empty = answered(load_checklist("claim_2024"), both.only("m03"))
    assert {a.item.number: a.status for a in empty}["14"] == "blank"
