"""What is known before a study, from answers or assumed, and the table of what it would tell and cost."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench.coverage import answers
from itrialspace_assets.analysis.planning.asked import asked, pilot_of, readers_of
from itrialspace_assets.analysis.planning.cost import Cost, CostPart, cost_of
from itrialspace_assets.analysis.planning.known import Assumed, Pilot, assumed, known_of
from itrialspace_assets.analysis.planning.table import power_table
from itrialspace_assets.analysis.protocol.study import Study, load_study
from itrialspace_assets.analysis.scoring.metrics import score_cells
from itrialspace_assets.analysis.scoring.rows import Analysis
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.casework.journal import FORMAT
from itrialspace_assets.readers.ledger import SCHEMA, Ledger
from tests.analysis.oracles import table

OF = Assumed(value=0.8, icc_host=0.1, icc_donor=0.05, correlation=0.5, negatives=1, cases_per_host=2, cases_per_donor=3)
FREE = Cost(())
HOSTS, DONORS, EACH = 40, 60, 15
PILOT = Pilot("m01_controlled_prevalence", "tissue", "a", None)


def study(metric: str = "accuracy", task: str = "size", **changed: object) -> Study:
    primary = {"task": task, "metric": metric, "condition": "plain"}
    return Study.model_validate(
        load_study(load_settings()).model_dump() | {"primary": primary, "secondary": []} | changed
    )


def crossed(icc: float, readers: tuple[str, ...] = ("a",), p: float = 0.7) -> pl.DataFrame:
    """Sizes of nodules of 40 hosts with 15 of 60 donors each, answered by readers that find other cases hard."""
    host, turn = np.divmod(np.arange(HOSTS * EACH), EACH)
    donor = (host + 4 * turn) % DONORS
    n = len(host)
    right = answers(host, donor, p, icc, len(readers), np.random.default_rng(11))
    return pl.concat(
        table(
            n,
            "size",
            presence=["present"] * n,
            size_class=["5-10mm"] * n,
            answer=np.where(right[i], "5-10mm", "<5mm").tolist(),
            host_person_uid=[f"h{h}" for h in host],
            donor_person_uid=[f"d{d}" for d in donor],
            case_uid=[str(k) for k in range(n)],
            reader=[reader] * n,
        )
        for i, reader in enumerate(readers)
    )


def test_a_pilot_tells_the_correlations_and_the_width_of_its_own_interval() -> None:
    seen, of = crossed(0.2), study()
    known = known_of(seen, of, PILOT, OF)
    assert known.number.value == pytest.approx(0.7, abs=0.08)
    assert known.number.icc_host == pytest.approx(0.2, abs=0.09)
    assert known.number.icc_donor == pytest.approx(0.1, abs=0.07)
    assert known.number.unit == pytest.approx(known.number.value * (1 - known.number.value), rel=0.05)
    assert (known.cases_per_host, known.cases_per_donor) == (EACH, HOSTS * EACH / DONORS)
    told = power_table(of, known, [HOSTS * EACH], power=0.8, hosts=None, donors=None, cost=FREE)
    strata = {"all": pl.repeat("all", seen.height, dtype=pl.String, eager=True)}
    made = next(r for r in score_cells(seen, strata, of, Analysis("a", "s", "procedural")) if r.metric == "accuracy")
    assert made.high is not None and made.low is not None
    assert told["width"][0] == pytest.approx(made.high - made.low, rel=0.1)


def test_a_second_reader_tells_the_variance_of_the_difference() -> None:
    of, both = study(), Pilot("m01_controlled_prevalence", "tissue", "a", "b")
    apart = known_of(crossed(0.2, ("a", "b")), of, both, OF)
    assert apart.difference.unit == pytest.approx(2 * 0.21, rel=0.15), "readers that share nothing"
    same = pl.concat([crossed(0.2), crossed(0.2).with_columns(reader=pl.lit("b"))])
    with pytest.raises(ConfigError, match=r"difference of a on .* from b: nothing varies between its cases"):
        known_of(same, of, both, OF)
    assert any("difference from b from the same answers" in line for line in apart.origin)


def test_what_a_pilot_cannot_tell_is_assumed_and_said_or_refused() -> None:
    n = 40
    once = table(n, "size", presence=["present"] * n, size_class=["5-10mm"] * n, answer=["5-10mm", "<5mm"] * (n // 2))
    once = once.with_columns(reader=pl.lit("a"), case_uid=pl.col("slice_uid"))
    known = known_of(once, study(), PILOT, OF)
    assert (known.number.icc_host, known.number.icc_donor) == (OF.icc_host, OF.icc_donor)
    assert "No host has two cases in the pilot" in known.origin[1]
    twice = once.with_columns(host_person_uid=pl.Series([str(i // 4 * 2 + i % 2) for i in range(n)]))
    assert known_of(twice, study(), PILOT, OF).number.icc_host > 0.95, "two cases of a host are answered alike"
    with pytest.raises(ConfigError, match="nothing varies"):
        known_of(once.with_columns(answer=pl.lit("5-10mm")), study(), PILOT, OF)
    with pytest.raises(ConfigError, match=r"expected accuracy of lobe of a on .*, found none"):
        known_of(once, study(task="lobe"), PILOT, OF)
    with pytest.raises(ConfigError, match="no positives"):
        known_of(once.with_columns(presence=pl.lit("absent")), study(), PILOT, OF)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"value": 1.0}, r"--expected 1: expected a value between 0 and 1"),
        ({"icc_host": 0.7, "icc_donor": 0.3}, r"--icc-host 0.7, --icc-donor 0.3: expected numbers from 0 on"),
        ({"icc_host": float("nan")}, r"--icc-host nan, --icc-donor 0.05: expected numbers from 0 on"),
        ({"correlation": 1.0}, r"--correlation 1: expected a number between -1 and 1"),
    ],
)
def test_numbers_that_cannot_be_are_refused(changed: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        assumed(study().primary, Assumed(**(OF.__dict__ | changed)))
    with pytest.raises(ConfigError, match=r"weighted_kappa of size: its variance cannot be assumed.*--pilot MODE"):
        assumed(study("weighted_kappa").primary, OF)


def test_the_table_says_what_more_cases_bring_and_what_too_few_cannot() -> None:
    declared = study(margin={"value": 0.1, "reason": "a test"})
    cost = Cost((CostPart("render", 36.0, True, ""), CostPart("read", 3.6, False, "")))
    rows = power_table(
        declared, assumed(declared.primary, OF), [1000, 6, 33, 100], power=0.8, hosts=20, donors=None, cost=cost
    ).to_dicts()
    assert [r["cases"] for r in rows] == [6, 33, 100, 1000]
    assert rows[0]["between_readers"] is None and "fewer than 10 persons: not tested" in rows[0]["note"]
    assert "fewer than 3 right or wrong are expected: rough" in rows[0]["note"]
    assert "fewer than 15 effective persons" in rows[1]["note"]
    assert [r["hosts"] for r in rows] == [3, 17, 20, 20], "there are 20 hosts"
    assert rows[3]["design_effect"] == pytest.approx(1 + 49 * 0.1 + 2 * 0.05)
    assert rows[2]["width"] > rows[3]["width"] > 0
    assert (rows[3]["gpu_hours"], rows[3]["cpu_hours"]) == (10, 1)
    wide = power_table(declared, assumed(declared.primary, OF), [2000], power=0.8, hosts=None, donors=None, cost=cost)
    assert "shows equivalence within the study's margin" in wide["note"][0]
    for wrong, said in (({"cases": [1]}, "--cases 1"), ({"power": 1.0}, "--power 1")):
        given = {"cases": [10], "power": 0.8} | wrong
        with pytest.raises(ConfigError, match=said):
            power_table(declared, assumed(declared.primary, OF), **given, hosts=None, donors=None, cost=cost)  # type: ignore[arg-type]


def test_cost_is_measured_here_or_stated(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, output_dir=tmp_path)
    declared = study(secondary=[{"task": "presence", "metrics": ["auc"], "conditions": ["plain", "bbox"]}])
    unknown = cost_of(settings, declared, ["blob"], 2, None, None)
    assert unknown.hours(10, gpu=False) is None and unknown.hours(10, gpu=True) == 0
    stated = cost_of(settings, declared, ["blob"], 2, 10.0, 0.5)
    assert stated.hours(3600, gpu=False) == pytest.approx(10 + 2 * 2 * 2 * 0.5), "2 slices, 2 tasks, 2 conditions"
    folder = tmp_path / "work" / "tissue~synthetic_cts" / "m02~DLCS24"
    folder.mkdir(parents=True)
    lines = [{"uid": "a", "seconds": 2.0, "rows": {"cts": []}}, {"uid": "b", "seconds": 4.0}]
    lines.append({"uid": "c", "seconds": 99.0, "reason": "not_rendered"})
    written = [json.dumps({"format": FORMAT, **line}) for line in lines]
    (folder / "r-s0.jsonl").write_text("\n".join(written) + "\n" + '{"format": 2, "uid": "torn by a ki')
    ledger = Ledger.of(settings, "blob", "r")
    row = dict.fromkeys(SCHEMA) | {"generation_key": "k", "options": [], "seconds": 0.25, "asked_ns": 0}
    ledger.append([row])
    ledger.seal()
    measured = cost_of(settings, declared, ["blob"], 2, 10.0, 0.5)
    assert [p.seconds for p in measured.parts] == [3.0, 2.0]
    assert {p.origin for p in measured.parts} == {"measured here"}
    published = declared.model_copy(
        update={"populations": declared.populations.model_copy(update={"sources": ["nodmaisi"]})}
    )
    assert cost_of(settings, published, [], 2, 60.0, None).hours(60, gpu=True) == 1


def test_a_trial_brings_its_cases_and_reuse_and_a_study_its_own_rules() -> None:
    settings = load_settings()
    found, arms = asked(settings, "m02_size_detection_curve")
    assert found.study == "demo" and arms is not None
    assert (arms.cases, arms.per_host, arms.per_donor) == ((5, 100), 2, 3)
    twins = asked(settings, "m13_digital_twin_cross")[1]
    assert twins is not None and twins.per_host == 1
    assert asked(settings, "reader_trust") == (asked(settings, "reader_trust")[0], None)
    shipped = Path("itrialspace_assets/analysis/protocol/studies/reader_trust.yaml").absolute()
    assert asked(settings, str(shipped))[0].study == "reader_trust"
    with pytest.raises(ConfigError, match=r"'nothing' is not a mode.*it is no study: expected one of demo, reader"):
        asked(settings, "nothing")
    assert readers_of(settings, found)[0] == "blob"
    assert pilot_of(settings, found, "real-LUNGx", None, None, None) == Pilot("real-LUNGx", "real", "blob", None)
    assert pilot_of(settings, found, "m02_size_detection_curve", None, None, None).source == "tissue"
    with pytest.raises(ConfigError, match=r"reader 'medgemma': expected one that reads slices of tissue: blob"):
        pilot_of(settings, found, "m02_size_detection_curve", None, "medgemma", None)
    with pytest.raises(ConfigError, match=r"--against 'blob': expected another reader"):
        pilot_of(settings, found, "m02_size_detection_curve", None, "blob", "blob")
