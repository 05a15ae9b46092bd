"""Synthetic against real slices of a made-up study: twins, standardised modes, training overlap, refusals."""

from collections.abc import Iterable
from dataclasses import asdict

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.reports.document import Chart, Estimate, Paragraph, Table
from itrialspace_assets.analysis.reports.transfer_section import DeclaredMargin, transfer_part
from itrialspace_assets.analysis.scoring.answer_table import answer_table, unseen
from itrialspace_assets.analysis.scoring.outcomes import SCHEMA, outcomes
from itrialspace_assets.analysis.scoring.rows import Analysis
from itrialspace_assets.analysis.scoring.training import Trained
from itrialspace_assets.analysis.scoring.transfer_rows import ALL_MODES, TransferComparison, comparisons, ranks, why_not
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.records.tables import TABLES
from tests.analysis.oracles import table

STUDY = load_study(load_settings())
ANALYSIS = Analysis("study", "s", "real")
NOTHING = Trained.declared("nothing", ())
DATASETS = ("LUNA16", "LNDbv4")
LOBES = ("left_lung_upper_lobe", "left_lung_lower_lobe")
SIZES = ("<5mm", "5-10mm", "10-20mm")
#: Chance of a right answer to a nodule of each size; synthetic slices of the mode hold more small ones.
EASY = np.array([0.3, 0.6, 0.9])


def frame(n: int, seed: int, **columns: object) -> pl.DataFrame:
    """Outcomes of two readers in presence and lobe, plain and bbox; all slices with a nodule."""
    rng = np.random.default_rng(seed)
    size = rng.choice(3, n, p=columns.pop("sizes"))  # type: ignore[call-overload]
    shift, source = columns.pop("shift", 0.0), str(columns["source"])
    slices = pl.DataFrame(
        {
            "slice_uid": [f"{source}{i}" for i in range(n)],
            "dataset": rng.choice(DATASETS, n),
            "lobe": rng.choice(LOBES, n),
            "size_class": np.array(SIZES)[size],
            "host_person_uid": [f"{source}/h{i // 2}" for i in range(n)],
            "donor_person_uid": [f"{source}/d{i}" for i in range(n)],
            "nodule_uid": [f"LUNA16/{i}" for i in range(n)],
        }
    ).with_columns(donor_dataset="dataset")
    parts = [
        slices.with_columns(
            reader=pl.lit(reader), task=pl.lit(task), condition=pl.lit(condition),
            right=pl.Series(rng.random(n) < EASY[size] + gain + 0.03 * (condition == "bbox") - shift),
        )
        for reader, gain in (("a", 0.0), ("b", 0.07))
        for task in ("presence", "lobe") for condition in ("plain", "bbox")
    ]  # fmt: skip
    rows = pl.concat(parts).with_columns(
        pl.col("task").replace({"presence": "sensitivity", "lobe": "accuracy"}).alias("measure"),
        negative_type=pl.lit(None, pl.String), anatomy=pl.lit("real"), **{k: pl.lit(v) for k, v in columns.items()},
    )  # fmt: skip
    return rows.select(pl.col(c).cast(t) for c, t in SCHEMA.items())


def study(n: int = 3000, shift: float = 0.0) -> pl.DataFrame:
    """Real slices; twins of the same findings; and a mode of small nodules in another mix."""
    real = frame(n, 1, sizes=[0.2, 0.3, 0.5], source="real", mode="real")
    real = real.with_columns(donor_person_uid="host_person_uid")
    twins = frame(n, 2, sizes=[0.2, 0.3, 0.5], source="tissue", mode="m11", shift=shift).with_columns(
        **{
            c: real[c]
            for c in (
                "size_class",
                "lobe",
                "dataset",
                "donor_dataset",
                "nodule_uid",
                "host_person_uid",
                "donor_person_uid",
            )
        }
    )
    again = np.random.default_rng(3).random(twins.height)
    gain = 0.07 * (twins["reader"].cast(pl.String) == "b").to_numpy()
    size = twins["size_class"].cast(pl.String).replace_strict(dict(zip(SIZES, EASY, strict=True))).to_numpy()
    twins = twins.with_columns(right=pl.Series(again < size + gain - shift))
    mode = frame(n, 4, sizes=[0.6, 0.3, 0.1], source="tissue", mode="m02", shift=shift)
    return pl.concat([real, twins, mode.with_columns(nodule_uid=pl.lit(None, SCHEMA["nodule_uid"]))])


def of(found: Iterable[TransferComparison], mode: str, kind: str) -> TransferComparison:
    return next(c for c in found if (c.mode, c.kind) == (mode, kind))


def test_right_and_wrong_of_each_task() -> None:
    lung = LOBES[0]
    parts = [
        table(4, answer=["present", "present", None, "absent"], status=["ok", "ok", "refused", "ok"]),
        table(4, "lobe", presence=["present"] * 3 + ["absent"], lobe=[lung, lung, None, None],
              answer=[lung, LOBES[1], lung, lung]),
        table(4, "malignancy", presence=["present"] * 4, label=[1, 0, None, 0], answer=["malignant"] * 3 + ["benign"]),
        table(4, "size", presence=["present"] * 4, size_class=[SIZES[0]] * 4, answer=[None] * 4,
              status=["unsupported"] * 3 + [None]),
    ]  # fmt: skip
    seen = pl.concat(parts).with_columns(
        mode=pl.lit("real"), dataset=pl.lit("LUNA16"), negative_type=pl.lit(None, pl.String), anatomy=pl.lit("real"),
        case_uid=pl.lit("real/LUNA16/n1"),
    )  # fmt: skip
    found = outcomes(seen, None).sort("task", "slice_uid")
    got = [(t, m, r) for t, m, r in found.select(pl.col("task", "measure").cast(pl.String), "right").rows()]
    assert got == [
        *(("lobe", "accuracy", r) for r in (True, False)),
        *(("malignancy", "accuracy", r) for r in (True, False, True)),
        ("presence", "sensitivity", True), ("presence", "specificity", False),
        ("presence", "sensitivity", False), ("presence", "specificity", True),
    ]  # fmt: skip
    assert set(found["nodule_uid"].cast(pl.String)) == {"LUNA16/n1"}
    nodules = pl.DataFrame({"case_uid": ["real/LUNA16/n1"], "nodule_uid": ["LUNGx/7"], "native": [False]})
    made = outcomes(seen, nodules)
    assert made["nodule_uid"].null_count() == made.height and set(made["donor_dataset"].cast(pl.String)) == {"LUNGx"}


def test_pairs_by_brute_force() -> None:
    found = study(300, shift=0.2)  # of the real slices one in five was not answered, each cell lacks others
    lost = np.random.default_rng(6).random(found.height) < 0.2
    found = found.filter(~(pl.Series(lost) & (pl.col("source").cast(pl.String) == "real")))
    text = found.with_columns(pl.col(pl.Categorical).cast(pl.String))
    cell_of = ("reader", "task", "condition")
    real = {(*(r[c] for c in cell_of), r["nodule_uid"]): r["right"] for r in text.filter(source="real").to_dicts()}
    one = of(comparisons(answer_table(found), "tissue", STUDY, margin=0.1), "m11", "paired")
    for at, cell in enumerate(one.cells.to_dicts()):
        mine = text.filter(mode="m11", **{c: cell[c] for c in cell_of}).to_dicts()
        mine = [r for r in mine if (*(r[c] for c in cell_of), r["nodule_uid"]) in real]
        apart = np.array([r["right"] - real[(*(r[c] for c in cell_of), r["nodule_uid"])] for r in mine])
        who = np.array([r["host_person_uid"] for r in mine])
        moved = np.array([(apart[who == p] - apart.mean()).sum() for p in set(who)])
        error = np.sqrt(len(moved) / (len(moved) - 1) * (moved**2).sum()) / len(apart)
        assert one.verdicts.tests.difference[at] == pytest.approx(apart.mean())
        assert one.verdicts.tests.error[at] == pytest.approx(error)
        assert (cell["n"], cell["n_real"], cell["n_hosts"]) == (len(mine), len(mine), len(set(who)))
        assert 200 < len(mine) < 280


def test_another_mix_is_no_difference_once_it_is_standardised() -> None:
    """The mode holds small nodules, which are harder: as drawn it seems worse by 0.2, on the real mix it is not."""
    found = list(comparisons(answer_table(study()), "tissue", STUDY, margin=0.08))
    drawn, fair = of(found, ALL_MODES, "as_drawn"), of(found, ALL_MODES, "standardised")
    assert (drawn.verdicts.tests.difference < -0.15).all() and set(drawn.verdicts.verdict) == {"different"}
    assert set(fair.verdicts.verdict) == set(of(found, "m11", "paired").verdicts.verdict) == {"equivalent"}
    order = ranks(fair, STUDY, 1)
    assert order.low is not None and order.all is not None and order.low <= order.all.rho <= order.high
    assert order.winners.pairs == order.winners.of_pairs == 4
    few = comparisons(answer_table(study(40)), "tissue", STUDY, margin=0.05)
    assert "equivalent" not in {v for c in few for v in c.verdicts.verdict}


def test_a_planted_shift_is_found_on_twins_and_on_the_real_mix() -> None:
    for one in comparisons(answer_table(study(shift=0.15)), "tissue", STUDY, margin=0.05):
        if one.kind != "as_drawn":
            assert set(one.verdicts.verdict) == {"different"}
            assert np.abs(one.verdicts.tests.difference + 0.15).max() < 0.06


def test_strata_without_a_counterpart_are_named_with_their_share() -> None:
    found = study(400)
    hole = (pl.col("mode").cast(pl.String) == "m02") & (pl.col("size_class").cast(pl.String) == "10-20mm")
    one = of(comparisons(answer_table(found.filter(~hole)), "tissue", STUDY, margin=0.1), "m02", "standardised")
    assert set(one.lacking["stratum"]) == {f"{d}, {lobe}, 10-20mm" for d in DATASETS for lobe in LOBES}
    real = found.filter(pl.col("source").cast(pl.String) == "real")
    share = (real["size_class"].cast(pl.String) == "10-20mm").mean()
    assert one.lacking.group_by("task").agg(pl.col("share").sum())["share"].to_list() == [pytest.approx(share)] * 2
    assert one.found.lacking == pytest.approx(share)


def test_a_slice_of_two_modes_counts_once_for_all_of_them() -> None:
    found = study(100)
    again = found.filter(pl.col("mode").cast(pl.String) == "m02").with_columns(mode=pl.lit("m03", SCHEMA["mode"]))
    once, twice = (
        of(comparisons(answer_table(rows), "tissue", STUDY, margin=0.1), ALL_MODES, "standardised")
        for rows in (found, pl.concat([found, again]))
    )
    assert once.cells.equals(twice.cells)
    assert once.verdicts.tests.error.tolist() == twice.verdicts.tests.error.tolist()


def test_negatives_are_compared_where_both_sides_have_that_kind() -> None:
    def negatives(kind: str, source: str) -> pl.DataFrame:
        rows = frame(200, 5, sizes=[0.2, 0.3, 0.5], source=source, mode="real" if source == "real" else "m02")
        return rows.filter(pl.col("task").cast(pl.String) == "presence").with_columns(
            measure=pl.lit("specificity", SCHEMA["measure"]), negative_type=pl.lit(kind, SCHEMA["negative_type"]),
            nodule_uid=pl.lit(None, SCHEMA["nodule_uid"]),
            slice_uid=pl.format("{}_empty", "slice_uid").cast(pl.Categorical()),
        )  # fmt: skip

    for kind, said in (("level", False), ("clean_scan", True)):
        found = pl.concat([study(200), negatives("clean_scan", "real"), negatives(kind, "tissue")])
        one = of(comparisons(answer_table(found), "tissue", STUDY, margin=0.1), "m02", "standardised")
        assert ("specificity" in one.cells["measure"].to_list()) == said
        assert (one.cells["measure"] != "specificity").to_numpy().sum() == one.compared.sum()


def test_people_of_datasets_that_were_trained_on_are_left_out() -> None:
    mode = pl.col("mode").cast(pl.String) == "m02"  # its donors are of LUNA16, in hosts of both datasets
    donor = pl.when(mode).then(pl.lit("LUNA16", SCHEMA["donor_dataset"])).otherwise("donor_dataset")
    found = study(400).with_columns(donor_dataset=donor)
    declared = Trained.declared("unknown (LUNA16 and others)", DATASETS)
    assert (declared.datasets, declared.unknown) == (frozenset({"LUNA16"}), True)
    assert Trained.declared("our own scans", DATASETS).unknown and not NOTHING.unknown
    trained = {"a": declared, "b": NOTHING, "tissue": NOTHING}
    whole = answer_table(found)
    kept, unknown = unseen(whole, trained, "tissue")
    assert unknown == ["a"]
    mine = (whole.cells["reader"] == "a").to_numpy()
    assert (kept.right[:, ~mine] == whole.right[:, ~mine]).all()
    seen = whole.slices.filter(dataset="LUNA16")["host_person_uid"]
    lost = (kept.right[:, mine] < 0).all(axis=1)
    assert set(whole.slices["dataset"].filter(pl.Series(lost))) == set(DATASETS), "another finding of one of them"
    assert set(whole.slices["host_person_uid"].filter(pl.Series(~lost))).isdisjoint(seen)
    assert lost[(whole.slices["mode"] == "m02").to_numpy()].all()
    part = transfer_part(answer_table(found), STUDY, ANALYSIS, DeclaredMargin(0.1), trained, 1)
    strata = {r.stratum for r in part.rows}
    assert {"paired=m11", "paired_unseen=m11", "standardised_unseen=all_modes"} <= strata
    (said,) = [b for b in part.sections[0].blocks if isinstance(b, Paragraph) and b.text.startswith("Trained on")]
    assert said.kind == "warning" and "What a saw is not known" in said.text


def test_the_part_holds_rows_of_metrics_and_a_marked_chart() -> None:
    trained = dict.fromkeys(("a", "b", "tissue"), NOTHING)
    part, again = (
        transfer_part(answer_table(study(500)), STUDY, ANALYSIS, DeclaredMargin(0.1, "planned"), trained, 1)
        for _ in "12"
    )
    assert part == again
    rows = TABLES["metrics"].frame([asdict(r) for r in part.rows])
    assert rows.select(TABLES["metrics"].key).is_unique().all()
    assert set(rows["metric"]) == {
        f"{m}_{n}" for m in ("sensitivity", "accuracy") for n in ("less_real", "equivalence_p")
    }
    (section,) = part.sections
    assert section.standing == "planned"
    (chart,) = [b for b in section.blocks if isinstance(b, Chart)]
    assert "CT rendered by 'tissue'" in str(chart.spec["title"]) and "not a clinical result" in str(chart.spec["title"])
    primary = next(b for b in section.blocks if isinstance(b, Table) and b.name == "transfer_primary_tissue")
    assert len(primary.rows) == 2 * 4 and all(isinstance(r[8], Estimate) and r[8].low is not None for r in primary.rows)


@pytest.mark.parametrize("lost", ["anatomy", "real", "tissue"])
def test_what_cannot_be_compared_gives_a_reason_and_no_number(lost: str) -> None:
    found = study(40)
    if lost == "anatomy":
        found = found.with_columns(anatomy=pl.lit("procedural", SCHEMA["anatomy"]))
    else:
        found = found.filter(pl.col("source").cast(pl.String) != lost)
    part = transfer_part(answer_table(found), STUDY, ANALYSIS, DeclaredMargin(0.1), {}, 1)
    (block,) = part.sections[0].blocks
    assert part.rows == [] and isinstance(block, Paragraph) and block.text == f"{why_not(answer_table(found))}."
    assert ("not estimable by construction" in block.text) == (lost == "anatomy")


@pytest.mark.parametrize("lost", ["pairs", "hosts", "lobes", "cells", "wrong answers"])
def test_degenerate_studies_form_their_section_and_say_why(lost: str) -> None:
    found = study(40)
    category = SCHEMA["nodule_uid"]
    real = pl.col("source").cast(pl.String) == "real"
    change = {
        "pairs": pl.when(real).then(pl.lit("A/x", category)).otherwise("nodule_uid").alias("nodule_uid"),
        "hosts": pl.lit("h", category).alias("host_person_uid"),
        "lobes": pl.lit(None, category).alias("lobe"),
        "cells": pl.lit("plain", category).alias("condition"),
        "wrong answers": pl.lit(True).alias("right"),
    }
    part = transfer_part(answer_table(found.with_columns(change[lost])), STUDY, ANALYSIS, DeclaredMargin(0.1), {}, 1)
    rows = TABLES["metrics"].frame([asdict(r) for r in part.rows])
    assert rows.filter(pl.col("estimate").is_null() & pl.col("flag").is_null()).is_empty(), "null has a reason"
    (warning,) = [b for b in part.sections[0].blocks if isinstance(b, Paragraph) and b.kind == "warning"]
    assert "a, b, tissue saw is not known" in warning.text, "nothing was declared"
