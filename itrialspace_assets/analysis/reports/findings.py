"""What the contrast of a mode found, in one plain sentence for each reader and source: effect, sign and interval.

Where no difference was found the sentence says what the data could have resolved; where nothing could be tested, why.
Only tests that are corrected within their family make a claim. Computes no estimate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.scoring.cell_tests import Compared, Shape
from itrialspace_assets.analysis.scoring.predictive import PREVALENCES, Predictive
from itrialspace_assets.analysis.scoring.rows import MetricRow
from itrialspace_assets.trials.model import Contrast

#: What the levels of a contrast are called, one and several.
_WORDS: dict[Contrast, tuple[str, str]] = {
    "size_bucket": ("size", "sizes"),
    "round": ("round", "rounds"),
    "lobe": ("lobe", "lobes"),
    "stratum": ("stratum", "strata"),
    "arm": ("arm", "arms"),
    "donor_dataset": ("donor dataset", "donor datasets"),
    "companions": ("companions", "arms with and without companions"),
    "counterfactual": ("arm", "arms"),
    "reader": ("reader", "readers"),
}
#: Claims of one sentence, at most (ours): the rest stands in the table.
_MOST = 3
Row = dict[str, Any]


@dataclass(frozen=True)
class ContrastFinding:
    """A sentence about one reader on one source.

    Attributes:
        source: image source.
        reader: who answered.
        text: the sentence.
        found: whether it states an effect; None: nothing could be tested.
    """

    source: str
    reader: str
    text: str
    found: bool | None


def findings(contrast: Contrast, compared: Compared, study: Study) -> list[ContrastFinding]:
    """Sentences on the tests of a contrast, under the condition of the primary endpoint where there is one.

    Args:
        contrast: of the trial.
        compared: its levels and tests.
        study: condition of the primary endpoint, and alpha.
    """
    if compared.tests.is_empty():
        return []
    tests = compared.tests.filter(pl.col("task") == "presence")
    condition = of_condition(tests, study)
    here = tests.filter(pl.col("condition") == condition)
    levels = compared.levels.filter(pl.col("condition") == condition) if compared.levels.height else compared.levels
    if contrast == "reader":
        return [_readers(str(source), rows, study) for (source,), rows in here.group_by("source", maintain_order=True)]
    said = []
    for (source, reader), rows in here.group_by("source", "reader", maintain_order=True):
        own = levels.filter(pl.col("source") == source, pl.col("reader") == reader) if levels.height else levels
        text, found = _sentence(contrast, rows, own, compared, study)
        said.append(ContrastFinding(str(source), str(reader), text, found))
    return said


def of_condition(rows: pl.DataFrame, study: Study) -> str:
    """The condition of the primary endpoint, or the first that there is."""
    there = rows["condition"].unique(maintain_order=True).to_list()
    return study.primary.condition if study.primary.condition in there else str(there[0])


def of_prevalence(values: Predictive, study: Study, declared: float | None) -> list[ContrastFinding]:
    """Predictive values at the prevalence that the trial declares, 5 % where it declares none.

    Args:
        values: curves.
        study: condition of the primary endpoint, and alpha.
        declared: share of positives of the trial.
    """
    if values.curve.is_empty():
        return []
    at = min(PREVALENCES, key=lambda p: abs(p - (0.05 if declared is None else declared)))
    curve = values.curve.filter(pl.col("condition") == of_condition(values.curve, study), pl.col("prevalence") == at)
    said = []
    for (source, reader, task), rows in curve.group_by("source", "reader", "task", maintain_order=True):
        what = "a nodule" if task == "presence" else "malignancy"
        both = {r["value"]: r for r in rows.to_dicts()}
        parts = [f"{name.upper()} is {_level(both[name], study)}" for name in ("ppv", "npv")]
        text = f"At a prevalence of {what} of {at * 100:g} %, {' and '.join(parts)}."
        known = any(both[name]["estimate"] is not None for name in both)
        said.append(ContrastFinding(str(source), str(reader), text, True if known else None))
    return said


def of_crossing(rows: Sequence[MetricRow]) -> list[ContrastFinding]:
    """Variance of hosts over that of donors, of rows of ``variance_rows``."""
    said = []
    for row in rows:
        if row.metric == "variance_ratio_host_donor" and row.task == "presence":
            if row.estimate is None:
                text, found = f"Host and donor could not be told apart: {row.flag}.", None
            else:
                upper = f" to {row.high:.2g}" if row.high is not None else " on"
                ends = "" if row.low is None else f", from {row.low:.2g}{upper}"
                text = f"Right answers vary {row.estimate:.2g} times as much with the host as with the donor{ends}."
                found = bool((row.low or 0) > 1 or (row.high is not None and row.high < 1))
            said.append(ContrastFinding(row.source, row.reader, text, found))
    return said


def _sentence(
    contrast: Contrast, tests: pl.DataFrame, levels: pl.DataFrame, compared: Compared, study: Study
) -> tuple[str, bool | None]:
    """The sentence on one source and reader, and whether it states an effect.

    Args:
        contrast: of the trial.
        tests: of this source, reader and condition.
        levels: estimates of the same.
        compared: names and order of the levels.
        study: alpha.
    """
    one, several = _WORDS.get(contrast, ("level", "levels"))
    of: dict[Shape, list[Row]] = {}
    for row in tests.to_dicts():
        of.setdefault(row["shape"], []).append(row)
    if contrast == "lobe_size":
        return _shortcut(of, study)
    if "spread_ratio" in of:
        return _all([_spread(r, study) for r in of["spread_ratio"]])
    if contrast == "counterfactual":
        up, down = "The lesion raises", "The lesion lowers"
        effect = [_paired(r, up, down, "the share answered present", study) for r in of["paired"]]
        arms = [_trend(r, levels, compared, "arm", study) for r in of.get("trend", [])]
        return _all(effect + [a for a in arms if a[1]])
    if "paired" in of:
        up, down = "Twins are answered rightly more often than", "Twins are answered rightly less often than"
        return _all([_paired(r, up, down, "the real findings", study) for r in of["paired"]])
    said = [_trend(r, levels, compared, one, study) for r in of.get("trend", [])]
    for metric in dict.fromkeys(r["metric"] for r in of.get("against_others", []) + of.get("difference", [])):
        rows = [r for shape in ("against_others", "difference") for r in of.get(shape, []) if r["metric"] == metric]
        whole = next((r for r in of.get("omnibus_p", []) if r["metric"] == metric), None)
        said.append(_apart(rows, whole, metric, several, study))
    return _all(said)


def _all(parts: Sequence[tuple[str, bool | None]]) -> tuple[str, bool | None]:
    """Sentences as one text; an effect is stated if any states one, nothing was tested if none was."""
    found = [f for _, f in parts]
    return " ".join(text for text, _ in parts), True if True in found else (False if False in found else None)


def _trend(row: Row, levels: pl.DataFrame, compared: Compared, one: str, study: Study) -> tuple[str, bool | None]:
    metric = _metric(row["metric"])
    if row["p"] is None:
        return f"A trend of {metric} with {one} was not tested: {row['flag']}.", None
    trend = f"{_signed(row['estimate'])} per {one if one != 'size' else 'bin'}, {_interval(row, study)}"
    if _claimed(row, study):
        way = "rises" if row["estimate"] > 0 else "falls"
        first, last = (_at(levels, compared, row["metric"], name) for name in row["what"].split(" to "))
        return f"{metric.capitalize()} {way} with {one}: {first} to {last} (trend {trend}).{_note(row)}", True
    return f"No trend of {metric} with {one} was found ({trend}). {_resolved([row], 'trend')}{_note(row)}", False


def _apart(rows: Sequence[Row], whole: Row | None, metric: str, several: str, study: Study) -> tuple[str, bool | None]:
    """Levels against the others, or two levels.

    Args:
        rows: the tests of one metric.
        whole: test of all levels at once.
        metric: what is compared.
        several: what the levels are called.
        study: alpha.
    """
    name = _metric(metric)
    tested = [r for r in rows if r["p"] is not None]
    if not tested:
        return f"A difference of {name} between {several} was not tested: {rows[0]['flag']}.", None
    claimed = sorted((r for r in tested if _claimed(r, study)), key=lambda r: -abs(r["estimate"]))
    if claimed:
        parts = [f"{r['what']} {_number(r, study)}" for r in claimed[:_MOST]]
        more = f"; and {len(claimed) - _MOST} more" if len(claimed) > _MOST else ""
        return f"{name.capitalize()} differs between {several}: {'; '.join(parts)}{more}.{_note(rows[0])}", True
    p = "" if whole is None or whole["p"] is None else f" (all levels at once: p {_p(whole['p'])})"
    one = f" ({rows[0]['what']} {_number(rows[0], study)})" if len(rows) == 1 else p
    resolved = _resolved(tested, "difference")
    return f"No difference of {name} between {several} was found{one}. {resolved}{_note(rows[0])}", False


def _paired(row: Row, up: str, down: str, what: str, study: Study) -> tuple[str, bool | None]:
    """A mean difference within pairs.

    Args:
        row: its test.
        up: what is said of one above zero.
        down: of one below.
        what: follows either.
        study: alpha.
    """
    if row["p"] is None:
        alike = row["estimate"] == 0
        why = "every pair was answered alike" if alike else row["flag"]
        return f"The difference within pairs was not tested: {why}.", None
    number = _number(row, study)
    if _claimed(row, study):
        return f"{up if row['estimate'] > 0 else down} {what} ({number}).{_note(row)}", True
    return f"No difference within pairs was found ({number}). {_resolved([row], 'difference')}{_note(row)}", False


def _spread(row: Row, study: Study) -> tuple[str, bool | None]:
    metric = _metric(row["metric"])
    if row["p"] is None:
        return f"The spread of {metric} between replicates was not tested: {row['flag']}.", None
    numbers = (
        f"standard deviation {row['observed_sd']:.3f}, {row['expected_sd']:.3f} from sampling alone, "
        f"ratio {row['estimate']:.2f}, {_interval(row, study)}"
    )
    if _claimed(row, study):
        return f"{metric.capitalize()} varies more between replicates than sampling alone explains ({numbers}).", True
    return f"{metric.capitalize()} varies between replicates no more than sampling explains ({numbers}).", False


def _readers(source: str, tests: pl.DataFrame, study: Study) -> ContrastFinding:
    rows = tests.to_dicts()
    metric = _metric(rows[0]["metric"].split("_to_")[0])
    return ContrastFinding(source, "all readers", *_apart(rows, None, metric, "readers", study))


def _shortcut(of: dict[Shape, list[Row]], study: Study) -> tuple[str, bool | None]:
    """Whether size acts otherwise by lobe, and whether natural weights change sensitivity by themselves."""
    slopes = of.get("interaction", [])
    said: list[tuple[str, bool | None]] = []
    if slopes:
        text, found = _apart(slopes, None, "the slope over size", "lobes", study)
        said.append((text, found))
    for row in of.get("reweighted", []):
        number = f"{row['what']} {_number(row, study)}" if row["p"] is not None else ""
        if not number:
            said.append((f"Natural against balanced weights was not tested: {row['flag']}.", None))
        elif _claimed(row, study):
            more = "higher" if row["estimate"] > 0 else "lower"
            text = f"Sensitivity is {more} than lobes and sizes alone explain ({number})"
            said.append((f"{text}: the reader may lean on which are likely.{_note(row)}", True))
        else:
            resolved = _resolved([row], "difference")
            said.append((f"Sensitivity is what lobes and sizes explain ({number}). {resolved}{_note(row)}", False))
    return _all(said)


def _claimed(row: Row, study: Study) -> bool:
    return row["p_corrected"] is not None and row["p_corrected"] < study.alpha


def _at(levels: pl.DataFrame, compared: Compared, metric: str, shown: str) -> str:
    """Estimate at a level by the name that is shown of it: 0.41 at <5mm."""
    level = compared.factor.levels[compared.factor.shown.index(shown)]
    rows = levels.filter(pl.col("level") == level, pl.col("metric") == metric)
    return f"{rows['estimate'][0]:.2f} at {shown}"


def _level(row: Row, study: Study) -> str:
    if row["estimate"] is None:
        return f"not known ({row['flag']})"
    return f"{row['estimate']:.3f} ({_interval(row, study)})" if row["low"] is not None else f"{row['estimate']:.3f}"


def _metric(name: str) -> str:
    return {"auc": "AUC", "lesion_effect": "the effect of the lesion"}.get(name, name.replace("_", " "))


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−") if abs(value) < 0.1 else f"{value:+.2f}".replace("-", "−")


def _interval(row: Row, study: Study) -> str:
    low, high = (f"{row[c]:.3f}".replace("-", "−") for c in ("low", "high"))
    p, corrected = row.get("p"), row.get("p_corrected")
    alone = p is not None and corrected is not None and p < study.alpha <= corrected
    told = f", p {corrected:.2g} when corrected for its family" if alone else ""
    return f"{100 * (1 - study.alpha):g} % interval {low} to {high}{told}"


def _number(row: Row, study: Study) -> str:
    return f"{_signed(row['estimate'])}, {_interval(row, study)}"


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"


def _resolved(rows: Sequence[Row], what: str) -> str:
    floors = [r["resolves"] for r in rows if r["resolves"] is not None]
    if not floors:
        return ""
    least, most = f"{min(floors):.3f}", f"{max(floors):.3f}"
    size = least if least == most else f"{least} to {most}"
    return f"The least {what} whose interval would leave out zero is {size}."


def _note(row: Row) -> str:
    return f" Note: {row['flag']}." if row["flag"] else ""
