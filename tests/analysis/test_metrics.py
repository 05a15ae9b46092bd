"""What is not known is not scored, what cannot be ranked has no area, and nothing ends in an exception."""

import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.scoring.agreement import score_agreement
from itrialspace_assets.analysis.scoring.metrics import score_cells
from itrialspace_assets.analysis.scoring.observations import strata_of, with_one_n
from itrialspace_assets.analysis.scoring.reweighting import weightings, with_weights
from itrialspace_assets.analysis.scoring.rows import Analysis, MetricRow
from itrialspace_assets.analysis.scoring.scored import UNREAD
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.records.store import write_table
from itrialspace_assets.records.tables import TABLES
from tests.analysis.oracles import SCHEMA, table

ANALYSIS = Analysis("a", "s", "procedural")
STUDY = load_study(load_settings())


def scored(observations: pl.DataFrame, *factors: str) -> dict[str, MetricRow]:
    """Rows by metric, those of a stratum below ``stratum:metric``."""
    rows = score_cells(observations, strata_of(observations, factors), STUDY, ANALYSIS)
    frame = TABLES["metrics"].frame([asdict(r) for r in rows])
    assert not frame.select(pl.any_horizontal(pl.col(pl.Float64).is_nan().any())).item(), "null, never NaN"
    assert frame.filter(pl.col("estimate").is_null() & pl.col("flag").is_null()).is_empty(), "null has a reason"
    return {r.metric if r.stratum == "all" else f"{r.stratum}:{r.metric}": r for r in rows}


def test_right_answers_without_scores_have_no_area() -> None:
    found = scored(table(24))
    for name in ("auc", "auc_refused_dropped", "auc_refused_half", "sensitivity_at_specificity_0.9", "brier"):
        assert (found[name].estimate, found[name].flag) == (None, "no scores")
    assert (found["sensitivity"].estimate, found["specificity"].estimate) == (1.0, 1.0)


def test_answers_of_which_half_have_scores_have_no_area() -> None:
    found = scored(table(24, score=[0.9, 0.1, None, None] * 6))
    assert (found["auc"].estimate, found["auc"].flag) == (None, "no scores for 12 of 24 answers")
    assert found["accuracy"].estimate == 1.0


def test_scores_rank_once_every_answer_has_one() -> None:
    assert scored(table(24, score=[0.9, 0.1] * 12))["auc"].estimate == 1.0
    found = scored(
        table(4, score=[0.9, 0.1, None, 0.2], answer=["present", "absent", None, "absent"],
              status=["ok", "ok", "refused", "ok"])
    )  # fmt: skip
    assert found["auc"].estimate == 0.5, "a refusal is ranked worst for its class"
    assert found["auc_refused_dropped"].estimate == 1.0
    assert found["auc_refused_half"].estimate == 0.75


def test_an_answer_that_was_not_parsed_is_none() -> None:
    found = scored(table(24, status=["unparsed"] * 24))
    assert (found["sensitivity"].estimate, found["specificity"].estimate) == (0.0, 0.0)
    assert (found["auc"].estimate, found["auc"].flag) == (None, "no answers")
    assert (found["answer_entropy"].estimate, found["answer_entropy"].flag) == (None, "no answers")
    assert found["accuracy"].n_unanswered == 24


def test_a_table_of_presence_by_hand() -> None:
    said = ["present"] * 6 + ["absent"] * 2 + [None] * 2 + ["present"] * 4 + ["absent"] * 5 + [None]
    found = scored(
        table(
            20,
            presence=["present"] * 10 + ["absent"] * 10,
            answer=said,
            status=["ok" if a else "refused" for a in said],
        )
    )
    want = {
        "sensitivity": (6, 10), "specificity": (5, 10), "accuracy": (11, 20), "ppv": (6, 10), "npv": (5, 7),
        "accuracy_always_present": (10, 20), "accuracy_one_n": (11, 20),
    }  # fmt: skip
    for name, (k, n) in want.items():
        row = found[name]
        assert (row.k, row.n_slices, row.estimate) == (k, n, pytest.approx(k / n)), name
    assert found["balanced_accuracy"].estimate == pytest.approx(0.55)
    assert [found[m].n_negatives for m in ("sensitivity", "specificity", "accuracy")] == [0, 10, 10]
    assert found["balanced_accuracy"].k is None
    half = scored(table(20, answer=["present"] * 20, one_n=[True] * 5 + [False] * 15))["accuracy_one_n"]
    assert (half.k, half.n_slices) == (3, 5)


def test_an_always_yes_reader_is_at_chance_and_flagged() -> None:
    found = scored(table(200, answer=["present"] * 200, score=[1.0] * 200))
    assert [found[m].estimate for m in ("balanced_accuracy", "auc", "accuracy")] == [0.5, 0.5, 0.5]
    assert found["accuracy"].estimate == found["accuracy_always_present"].estimate
    assert (found["answer_entropy"].estimate, found["answer_entropy"].flag) == (0.0, "constant answers")
    assert found["npv"].flag == "never answered absent"
    varied = scored(table(200))["answer_entropy"]
    assert (varied.estimate, varied.flag, varied.low) == (1.0, None, None)
    assert scored(table(98, answer=["present"] * 98))["answer_entropy"].flag is None, "too few to say so"


def test_a_slice_of_unknown_truth_is_not_scored() -> None:
    truth = ["5-10mm", None, None, None]
    found = scored(table(4, "size", size_class=truth, answer=["5-10mm"] * 4))
    assert (found["accuracy"].estimate, found["accuracy_majority"].estimate) == (1.0, 1.0)
    assert found["accuracy"].n_slices == 1
    none = scored(table(4, "size", size_class=[None] * 4, answer=["5-10mm"] * 4))
    assert {r.estimate for m, r in none.items() if m not in ("answer_entropy", "accuracy_one_n")} == {None}
    assert none["accuracy"].flag == "size_class is not known"
    for unknown in (None, "background", "unknown"):
        lobes = table(
            4, "lobe", lobe=["left_lung_upper_lobe", None, unknown, None], answer=["left_lung_upper_lobe"] * 4
        )
        assert scored(lobes)["accuracy"].estimate == 1.0


def test_sizes_by_hand() -> None:
    found = scored(
        table(6, "size", presence=["present"] * 6,
              size_class=["<5mm", "5-10mm", "5-10mm", "10-20mm", "10-20mm", ">20mm"],
              diameter_mm=[4.0, 6.0, 9.0, 12.0, 18.0, 25.0],
              answer=["<5mm", "10-20mm", "5-10mm", "<5mm", "10-20mm", None], status=["ok"] * 5 + ["refused"])
    )  # fmt: skip
    assert (found["accuracy"].k, found["accuracy"].n_slices) == (3, 6)
    assert (found["accuracy_majority"].k, found["accuracy_majority"].n_slices) == (2, 6)
    assert found["error_mm"].low > 0
    assert found["macro_recall"].estimate == pytest.approx((1 + 0.5 + 0.5 + 0) / 4)
    assert found["macro_f1"].estimate == pytest.approx((2 / 3 + 2 / 3 + 0.5 + 0) / 4), "no answer is of no class"
    assert found["bin_error"].estimate == pytest.approx((0 + 1 + 0 + 2 + 0) / 5)
    assert found["error_mm"].estimate == pytest.approx((0 + 4 + 0 + 7 + 0) / 5)
    assert found["error_mm"].n_slices == 5
    constant = scored(table(6, "size", presence=["present"] * 6, size_class=["<5mm"] * 6, answer=["<5mm"] * 6))
    assert constant["weighted_kappa"].flag == "truth and answer are one class"
    refused = scored(
        table(4, "size", presence=["present"] * 4, size_class=["<5mm"] * 4, answer=[None] * 4, status=["refused"] * 4)
    )
    assert (refused["weighted_kappa"].flag, refused["error_mm"].flag) == ("no answers", "no answers")
    assert refused["accuracy"].estimate == 0.0


def test_malignancy_is_scored_on_nodules_with_a_label() -> None:
    found = scored(
        table(8, "malignancy", presence=["present"] * 6 + ["absent"] * 2, label=[1, 1, 0, 0, 0, None, 1, 0],
              answer=["malignant", "benign", "benign", "benign", "malignant", "malignant", "malignant", "malignant"])
    )  # fmt: skip
    assert (found["sensitivity"].k, found["sensitivity"].n_slices) == (1, 2)
    assert (found["specificity"].k, found["specificity"].n_slices) == (2, 3)
    assert found["accuracy_always_malignant"].estimate == pytest.approx(2 / 5)


def test_predictive_values_follow_the_prevalence_that_weights_stand_for() -> None:
    rng = np.random.default_rng(3)
    n = 400
    label = (np.arange(n) % 2).tolist()
    said = ["malignant" if rng.random() < (0.8 if one else 0.3) else "benign" for one in label]
    rows = table(n, "malignancy", presence=["present"] * n, label=label, answer=said)
    weight = pl.when(pl.col("label") == 1).then(0.1 / 0.5).otherwise(0.9 / 0.5)
    rows = rows.with_columns(weight.alias("prevalence=0.1"))
    found = scored(rows)
    tp, fp = (sum(a == "malignant" and one == truth for a, one in zip(said, label, strict=True)) for truth in (1, 0))
    fn = sum(a == "benign" and one == 1 for a, one in zip(said, label, strict=True))
    assert found["ppv"].estimate == pytest.approx(tp / (tp + fp))
    assert found["ppv_prevalence=0.1"].estimate == pytest.approx(0.2 * tp / (0.2 * tp + 1.8 * fp))
    tn = n - tp - fp - fn
    assert found["npv_prevalence=0.1"].estimate == pytest.approx(1.8 * tn / (1.8 * tn + 0.2 * fn))
    assert found["ppv_prevalence=0.1"].k is None
    assert found["ppv_prevalence=0.1"].low < found["ppv_prevalence=0.1"].estimate < found["ppv_prevalence=0.1"].high
    unweighted = scored(rows.with_columns(pl.lit(None, pl.Float64).alias("prevalence=0.1")))
    assert unweighted["ppv_prevalence=0.1"].flag == "never answered malignant, or no weights"


def test_scores_of_another_unit_are_not_calibrated() -> None:
    rows = table(24, score=[2.0, -2.0, 1.0, 0.5] * 6)
    assert scored(rows)["brier"].estimate is not None
    other = scored(rows.with_columns(log_odds=pl.lit(False)))
    assert [other[m].flag for m in ("brier", "calibration_error", "calibration_slope")] == [
        "scores are no log-odds"
    ] * 3
    assert other["auc"].estimate is not None


def test_counts_are_of_different_things() -> None:
    persons = ["h1"] * 4 + ["h2"] * 4
    rows = table(8, sha256=["x"] * 2 + list("abcdef"), host_person_uid=persons, donor_person_uid=["d", None] * 4)
    row = scored(rows)["accuracy"]
    got = (row.n_slices, row.n_pictures, row.n_cases, row.n_hosts, row.n_donors, row.n_negatives, row.n_unanswered)
    assert got == (8, 7, 4, 2, 1, 4, 0)


def test_a_null_donor_is_a_cluster_of_its_own() -> None:
    hosts = [str(i // 4) for i in range(80)]
    answer = ["present" if i % 3 else "absent" for i in range(80)]
    real = scored(table(80, answer=answer, host_person_uid=hosts, donor_person_uid=[None] * 80))["accuracy"]
    alone = scored(table(80, answer=answer, host_person_uid=hosts, donor_person_uid=[str(i) for i in range(80)]))[
        "accuracy"
    ]
    assert (real.low, real.high, real.flag) == (alone.low, alone.high, None)
    assert (real.n_donors, alone.n_donors) == (0, 80)
    one = scored(table(80, answer=answer, host_person_uid=hosts, donor_person_uid=["d"] * 80))["accuracy"]
    assert one.flag == "conditional on this donor"
    assert one.low is not None


def test_a_task_that_a_reader_does_not_answer_stays_so_when_a_slice_is_missing() -> None:
    rows = table(3, "lobe", presence=["present"] * 3, lobe=["left_lung_upper_lobe"] * 3, answer=[None] * 3,
                 status=["unsupported", "unsupported", None])  # fmt: skip
    found = scored(rows)
    assert {(r.estimate, r.flag) for r in found.values()} == {(None, UNREAD)}
    assert {r.n_slices for r in found.values()} == {0}


@pytest.mark.parametrize("task", ["presence", "size", "lobe", "malignancy"])
def test_degenerate_tables_give_nulls_with_reasons(task: str) -> None:
    """One class, one patient, one donor, all refused, no scores, an empty table."""
    n = 12
    options = {"presence": "present", "size": "5-10mm", "lobe": "left_lung_upper_lobe", "malignancy": "benign"}
    answers = {"answer": [options[task]] * n}
    for columns in (
        {"presence": ["present"] * n},
        {"presence": ["absent"] * n},
        {"host_person_uid": ["h"] * n},
        {"donor_person_uid": ["d"] * n},
        {"host_person_uid": ["h"] * n, "donor_person_uid": ["d"] * n},
        {"host_person_uid": ["h"] * n, "donor_person_uid": [None] * n},
        {"answer": [None] * n, "status": ["refused"] * n},
        {"score": [1.0] * n},
        {"score": [math.inf] * n},
        {"label": [None] * n},
        {"diameter_mm": [None] * n},
    ):
        found = scored(table(n, task, **(answers | columns)), "lobe")
        assert found["accuracy"].method
    assert scored(table(1, task, **{k: v[:1] for k, v in answers.items()}))["accuracy"].low is None
    assert score_cells(table(0), {"all": pl.Series([], dtype=pl.String)}, STUDY, ANALYSIS) == []


def test_negatives_go_with_their_pair_and_strata_are_cells_of_their_own() -> None:
    rows = table(8, answer=["present", "absent", "absent", "present"] * 2).with_columns(
        size_bucket=pl.Series(["a", None, "b", None, "a", None, None, None], dtype=pl.String)
    )
    found = scored(rows, "size_bucket")
    assert [found[f"size_bucket={s}:accuracy"].n_slices for s in "ab"] == [4, 2]
    assert [found[f"size_bucket={s}:accuracy"].k for s in "ab"] == [4, 0]
    order = [
        r.stratum for r in score_cells(rows, strata_of(rows, ["size_bucket"]), STUDY, ANALYSIS) if r.metric == "auc"
    ]
    assert order == ["all", "size_bucket=a", "size_bucket=b"]


def test_one_n_keeps_what_every_reader_answered_in_every_cell() -> None:
    cells = [(r, c, t) for r in "ab" for c in ("plain", "bbox") for t in ("presence", "size")]
    rows = pl.concat(
        [table(4).with_columns(reader=pl.lit(r), condition=pl.lit(c), task=pl.lit(t)) for r, c, t in cells]
    ).drop("one_n")
    lost = (pl.col("slice_uid") == "0") & (pl.col("reader") == "a") & (pl.col("condition") == "bbox")
    garbled = pl.col("slice_uid") == "1"
    no_box = (pl.col("slice_uid") == "2") & (pl.col("condition") == "bbox")
    undone = (pl.col("reader") == "b") & (pl.col("task") == "size")
    status = (
        pl.when(undone).then(pl.lit("unsupported")).when(lost).then(pl.lit(None)).when(garbled).then(pl.lit("unparsed"))
    )
    rows = rows.with_columns(status=status.otherwise(pl.col("status"))).filter(~no_box)
    found = with_one_n(rows)
    assert found.height == rows.height
    assert found.filter("one_n")["slice_uid"].unique().sort().to_list() == ["1", "3"]


def in_another_profile(rows: pl.DataFrame) -> pl.DataFrame:
    """The same targets, read by another reader in a profile of its own: other slices."""
    return rows.with_columns(reader=pl.lit("other"), slice_uid=pl.lit("other ") + pl.col("slice_uid"))


def shared_by_cases(rows: pl.DataFrame, target: str, cases: int) -> pl.DataFrame:
    """The rows, and those of one target once more for each further case that shares it."""
    more = [rows.filter(pl.col("target_uid") == target).with_columns(case_uid=pl.lit(f"c{i}")) for i in range(1, cases)]
    return pl.concat([rows, *more])


def test_one_n_is_of_targets_whatever_profile_they_are_read_in() -> None:
    """docs/facts/evaluation.md#frozen-lists: a published id is the same in both profiles of the study."""
    lost = pl.when(pl.col("slice_uid") == "1").then(None).otherwise(pl.col("status"))
    mine = table(4).drop("one_n")
    found = with_one_n(
        pl.concat([mine.with_columns(status=lost), in_another_profile(mine.filter(pl.col("slice_uid") != "2"))])
    )
    assert found.filter("one_n")["target_uid"].sort().to_list() == ["0", "0", "3", "3"]


def test_one_n_does_not_depend_on_how_many_cases_share_a_slice() -> None:
    assert with_one_n(shared_by_cases(table(4).drop("one_n"), "1", 3))["one_n"].to_list() == [True] * 6


def test_readers_of_two_profiles_agree_on_targets_and_each_case_counts_once() -> None:
    mine = shared_by_cases(table(20), "1", 3)
    other = in_another_profile(mine).with_columns(answer=pl.lit("absent"))
    (row, _) = score_agreement(pl.concat([mine, other]), STUDY, ANALYSIS)
    assert (row.metric, row.k, row.n_slices) == ("agreement_with_other", 12, 22)


def test_agreement_of_two_readers_by_hand() -> None:
    a = table(40, answer=(["present"] * 2 + ["absent"] * 2) * 10)
    b = table(40, answer=(["present", "absent"] * 2) * 10, status=["ok"] * 38 + ["refused"] * 2)
    rows = pl.concat([a, b.with_columns(reader=pl.lit("other"))])
    found = {r.metric: r for r in score_agreement(rows, STUDY, ANALYSIS)}
    assert set(found) == {"agreement_with_other", "kappa_with_other"}
    row = found["agreement_with_other"]
    assert (row.reader, row.k, row.n_slices) == ("mock", 19, 38)
    p, q = 20 / 38, 19 / 38
    chance = p * q + (1 - p) * (1 - q)
    assert found["kappa_with_other"].estimate == pytest.approx((19 / 38 - chance) / (1 - chance))
    alone = score_agreement(rows.with_columns(status=pl.lit("refused")), STUDY, ANALYSIS)
    assert {r.flag for r in alone} == {"no slice was answered by both"}
    assert score_agreement(a, STUDY, ANALYSIS) == []


def test_the_shared_schema_is_that_of_the_slices() -> None:
    known = set(TABLES["slices"].schema) | set(TABLES["answers"].schema) | {"log_odds", "one_n"}
    assert set(SCHEMA) <= known


def test_weights_of_a_prevalence_are_read_for_their_cases(tmp_path: Path) -> None:
    settings = load_settings(output_dir=tmp_path)
    weights = [
        {"mode": "m01", "weighting": w, "replicate": r, "case_uid": c, "weight": v}
        for w, r, c, v in (
            ("prevalence=0.05", 0, "0", 0.1), ("prevalence=0.5", 0, "0", 1.0), ("prevalence=0.05", 0, "1", 1.9),
            ("resample", 0, "0", 2.0), ("resample", 1, "0", 0.0),
        )
    ]  # fmt: skip
    write_table(tmp_path, "case_weights", weights, mode="m01")
    got = with_weights(settings, "m01", table(6))
    assert weightings(got.columns) == ["prevalence=0.05", "prevalence=0.5"]
    assert got["prevalence=0.05"].to_list() == [0.1, 0.1, 1.9, 1.9, None, None]
    assert got["prevalence=0.5"].to_list() == [1.0, 1.0, None, None, None, None]
    assert got["slice_uid"].to_list() == table(6)["slice_uid"].to_list()
    assert with_weights(settings, "m02", table(6)).columns == table(6).columns


def test_planted_shortcuts_of_size_and_lobe_are_recovered_with_sign_and_size() -> None:
    """A reader that sees large nodules more often, and calls the size of a lobe instead of the nodule's."""
    rng = np.random.default_rng(9)
    n, lobes = 1600, ("left_lung_upper_lobe", "right_lung_lower_lobe")
    large, lower = rng.random(n) < 0.5, rng.random(n) < 0.5
    truth = np.where(large, "10-20mm", "5-10mm")
    seen = rng.random(n) < np.where(large, 0.9, 0.6)
    common = {
        "presence": ["present"] * n,
        "size_class": truth.tolist(),
        "lobe": [lobes[i] for i in lower.astype(int)],
        "host_person_uid": [str(i % 90) for i in range(n)],
        "donor_person_uid": [str(i % 120) for i in range(n)],
    }
    presence = table(n, answer=np.where(seen, "present", "absent").tolist(), **common)
    size = table(n, "size", answer=np.where(lower, "10-20mm", "5-10mm").tolist(), **common)
    found = scored(pl.concat([presence, size]), "size_class", "lobe")
    for level, share in (("10-20mm", 0.9), ("5-10mm", 0.6)):
        row = found[f"size_class={level}:sensitivity"]
        assert row.low <= share <= row.high
        assert row.high - row.low < 0.12
    effect = found["size_class=10-20mm:sensitivity"].estimate - found["size_class=5-10mm:sensitivity"].estimate
    assert effect == pytest.approx(0.3, abs=0.05)
    flat = [found[f"lobe={lobe}:sensitivity"].estimate for lobe in lobes]
    assert flat[0] == pytest.approx(flat[1], abs=0.05), "no shortcut was planted there"
    rows = score_cells(size, strata_of(size, ["lobe"]), STUDY, ANALYSIS)
    entropy = {r.stratum: r for r in rows if r.metric == "answer_entropy"}
    assert [entropy[f"lobe={lobe}"].flag for lobe in lobes] == ["constant answers"] * 2
    assert entropy["all"].flag is None
