"""Values for the items of checklists and of the credibility page, each found in the tables or the study file.

One function a value: it takes the evidence and gives the value with its place, or None where nothing was found. Which
item wants which value stands in the YAML files beside this one. Nothing here interprets a number.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from itrialspace_assets import __version__
from itrialspace_assets.analysis.evidence.gather import Evidence
from itrialspace_assets.imaging.anatomy import ANSWER_SIZES, SIZE_BUCKETS
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.tables import TABLES, TASK_OPTIONS


@dataclass(frozen=True)
class FoundValue:
    """A value, and the table or file that it stands in."""

    value: str
    place: str


ValueExtractor = Callable[[Evidence], FoundValue | None]
#: Metrics of correctness that a report gives beside the primary one.
_ACCURACY = ("sensitivity", "specificity", "auc", "balanced_accuracy", "accuracy")
#: Most entries of a list that a cell shows.
_FIRST = 8


def count(evidence: Evidence, number: int) -> str:
    """A number of people or of their findings; a small one is hidden where the data's terms ask for it."""
    least = evidence.minimum
    return f"fewer than {least}" if least is not None and 0 < number < least else f"{number:,}"


def _joined(words: Iterable[str], between: str = "; ") -> str:
    every = list(dict.fromkeys(words))
    more = f"{between}and {len(every) - _FIRST} more" if len(every) > _FIRST else ""
    return between.join(every[:_FIRST]) + more


def _counts(evidence: Evidence, frame: pl.DataFrame, column: str, n: str | None = None) -> str:
    """``level count`` of each level of a column; null is called unknown."""
    size = pl.len() if n is None else pl.col(n).sum()
    found = frame.group_by(pl.col(column).cast(pl.String).fill_null("unknown")).agg(n=size).sort(column)
    return ", ".join(f"{level} {count(evidence, n)}" for level, n in found.iter_rows())


def _least(values: pl.Series) -> float:
    return float(values.min())  # type: ignore[arg-type]


def _most(values: pl.Series) -> float:
    return float(values.max())  # type: ignore[arg-type]


def _median(values: pl.Series) -> float:
    return float(values.median())  # type: ignore[arg-type]


def _share(evidence: Evidence, k: int, n: int) -> str:
    """``k of n``; a small n is hidden where the data's terms ask for it."""
    if evidence.minimum is not None and 0 < n < evidence.minimum:
        return f"hidden: of fewer than {evidence.minimum}"
    return f"{k:,} of {n:,}" + (f" ({100 * k / n:.1f} %)" if n else "")


def _number(row: Mapping[str, float | None], flag: str | None) -> str:
    if row["estimate"] is None:
        return f"not estimable ({flag or 'no reason given'})"
    limits = "" if row["low"] is None or row["high"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['estimate']:.3f}{limits}" + (f" ({flag})" if flag else "")


def _primary(evidence: Evidence) -> pl.DataFrame:
    endpoint = evidence.study.primary
    return evidence.metrics.filter(
        pl.col("stratum") == "all",
        pl.col("metric") == endpoint.metric,
        pl.col("task") == endpoint.task,
        pl.col("condition") == endpoint.condition,
    ).sort("analysis", "source", "reader")


def _estimates(rows: pl.DataFrame) -> str:
    told = []
    for r in rows.iter_rows(named=True):
        n = "not shown" if r["n_slices"] is None else r["n_slices"]
        told.append(f"{r['analysis']}, {r['source']}, {r['reader']}: {r['metric']} {_number(r, r['flag'])}, n {n}")
    return _joined(told)


def kind_of_ai(evidence: Evidence) -> FoundValue | None:
    """Which readers answered."""
    names = evidence.answers["reader"].unique().sort().to_list()
    return (
        FoundValue(f"readers {', '.join(names)}; what each is stands on its card", "table answers") if names else None
    )


def background(evidence: Evidence) -> FoundValue | None:
    """The context of use that the authors state."""
    stated = evidence.stated.context_of_use
    return FoundValue(stated, "study file, context of use") if stated else None


def question(evidence: Evidence) -> FoundValue | None:
    """The question of the study, else those of the trials."""
    if evidence.stated.question:
        return FoundValue(evidence.stated.question, "study file, question")
    asked = evidence.trials.sort("mode")["question"].to_list()
    return FoundValue(_joined(asked, " | "), "table trials, question") if asked else None


def design(evidence: Evidence) -> FoundValue | None:
    """How cases came to be."""
    parts = []
    if evidence.cases.height:
        parts.append(
            f"planned before rendering: {evidence.cases.height:,} cases (arms: {evidence.arms.height}, trials: "
            f"{len(evidence.scope.modes)})"
        )
    if evidence.scope.datasets and evidence.slices.height:
        parts.append(f"existing scans, retrospective: {', '.join(evidence.scope.datasets)}")
    return FoundValue("; ".join(parts), "tables cases, slices") if parts else None


def goal(evidence: Evidence) -> FoundValue | None:
    """The primary endpoint, and whether it was locked."""
    study = evidence.study
    locked = "changed since it was locked: exploratory" if evidence.changed else "as locked with the split"
    return FoundValue(
        f"{study.primary.metric} of {study.primary.task}, condition {study.primary.condition}; study {study.study}, "
        f"{locked}",
        "study file, primary",
    )


def data_sources(evidence: Evidence) -> FoundValue | None:
    """Datasets with their terms."""
    terms = [f"{t.dataset} ({t.licence})" for t in evidence.terms]
    drawn = " The data root is procedural: it has the layout of these datasets and no person's data."
    note = drawn if evidence.anatomy == "procedural" else ""
    return FoundValue(f"{', '.join(terms)}.{note}", "datasets.yaml; table cases") if terms else None


def eligibility(evidence: Evidence) -> FoundValue | None:
    """Donors and hosts that met every constraint of an arm."""
    arms = evidence.arms
    if not arms.height:
        return None
    return FoundValue(
        f"donors that met every constraint of an arm: {_least(arms['donor_pool']):g} to {_most(arms['donor_pool']):g}; "
        f"hosts: {_least(arms['host_pool']):g} to {_most(arms['host_pool']):g}; each constraint with what it left "
        "stands in feasibility",
        "tables arms, feasibility; trial files",
    )


def preprocessing(evidence: Evidence) -> FoundValue | None:
    """Preprocess profiles and guidance of the slices."""
    if not evidence.slices.height:
        return None
    profiles = ", ".join(evidence.slices["profile"].unique().sort())
    conditions = ", ".join(evidence.slices["condition"].unique().sort())
    return FoundValue(f"profiles {profiles}; conditions {conditions}", "table slices; docs/facts/evaluation.md")


def subsets(evidence: Evidence) -> FoundValue | None:
    """How the slices of frozen lists were chosen."""
    locks = evidence.lists.values()
    rules = ", ".join(sorted({lock.rule for lock in locks}))
    return (
        FoundValue(
            f"{len(locks)} frozen lists with {sum(lock.n for lock in locks):,} slices; rule {rules}",
            "lock of the split",
        )
        if locks
        else None
    )


def no_person(evidence: Evidence) -> FoundValue | None:
    """Procedural anatomy is of nobody."""
    text = "not needed: the anatomy is procedural and shows no person"
    return FoundValue(text, "mark of the data root") if evidence.anatomy == "procedural" else None


def missing(evidence: Evidence) -> FoundValue | None:
    """How many answers are missing, and how they count."""
    own = evidence.answers.filter(pl.col("control") == "none", pl.col("status") != "unsupported")
    if not own["n"].sum():
        return None
    by = ", ".join(
        f"{status} {count(evidence, n)}"
        for status, n in own.group_by("status").agg(pl.col("n").sum()).sort("status").rows()
    )
    return FoundValue(
        f"answers by status: {by}; refused and unparsed answers count as {evidence.study.refusals}; rejected cases are "
        "not replaced",
        "table answers; study file, refusals",
    )


def acquisition(evidence: Evidence) -> FoundValue | None:
    """How rendered scans were modelled."""
    if not evidence.cts.height:
        return None
    names = ", ".join(evidence.cts["acquisition"].unique().sort())
    return FoundValue(f"modelled acquisitions of rendered scans: {names}", "table cts; docs/facts/synthesis.md")


def reference(evidence: Evidence) -> FoundValue | None:
    """What answers are held against."""
    parts = []
    if evidence.insertions.height:
        parts.append(
            f"rendered: voxels of {evidence.insertions.height:,} inserted nodules, measured after insertion (presence, "
            "lobe, diameter)"
        )
    if evidence.scope.datasets and evidence.findings.height:
        parts.append(f"real: masks of the datasets ({_counts(evidence, evidence.findings, 'mask_source', 'n')})")
    return FoundValue("; ".join(parts), "tables insertions, slices, profiles") if parts else None


def reference_reason(evidence: Evidence) -> FoundValue | None:
    """Why the reference of a rendered image needs no reader."""
    if not evidence.insertions.height or evidence.scope.datasets:
        return None
    return FoundValue("known by construction: the image is rendered from the mask", "table insertions")


def reference_cutoffs(evidence: Evidence) -> FoundValue | None:
    """Where the classes of the reference end."""
    if not evidence.slices.height:
        return None
    return FoundValue(
        f"presence: the target has a voxel on its plane; size classes {', '.join(ANSWER_SIZES)}; fixed before reading",
        "tables slices; docs/facts/evaluation.md",
    )


def categories(evidence: Evidence) -> FoundValue | None:
    """What readers may answer."""
    tasks = evidence.answers["task"].unique().sort().to_list()
    told = "; ".join(f"{task}: {', '.join(TASK_OPTIONS[task])}" for task in tasks)
    return FoundValue(f"closed options, fixed before reading: {told}", "table generations, options") if tasks else None


def annotators(evidence: Evidence) -> FoundValue | None:
    """What masks and labels of the datasets rest on."""
    if not evidence.findings.height:
        return None
    masks = _counts(evidence, evidence.findings, "mask_source", "n")
    labels = _counts(evidence, evidence.findings, "label_source", "n")
    return FoundValue(f"masks: {masks}; labels: {labels}", "table profiles")


def partitions(evidence: Evidence) -> FoundValue | None:
    """No reader is trained here; lists are frozen for testing."""
    locks = evidence.lists
    if not locks:
        return None
    return FoundValue(
        f"testing alone: no reader is trained here; split {evidence.split}, lists frozen by their SHA-256 before they "
        "are scored",
        "lock of the split",
    )


def sample_size(evidence: Evidence) -> FoundValue | None:
    """Cases asked for and planned."""
    if not evidence.arms.height:
        return None
    asked, got = evidence.arms["asked_cases"].sum(), evidence.arms["got_cases"].sum()
    sizes = ", ".join(evidence.trials["size"].unique().sort())
    return FoundValue(
        f"{asked:,} cases asked for, {got:,} planned (size {sizes})", "table arms, asked_cases and got_cases"
    )


def software(evidence: Evidence) -> FoundValue | None:
    """Version of the platform."""
    return FoundValue(f"itrialspace-assets {__version__}", "the package itself; constraints.txt pins the rest")


def metric_names(evidence: Evidence) -> FoundValue | None:
    """Every metric that the report gives."""
    names = evidence.metrics["metric"].unique().sort().to_list()
    primary = evidence.study.primary
    told = f"primary {primary.metric} of {primary.task}; all: {', '.join(names)}"
    return FoundValue(told, "table metrics, metric") if names else None


def uncertainty(evidence: Evidence) -> FoundValue | None:
    """How intervals are made."""
    if not evidence.metrics.height:
        return None
    study, methods = evidence.study, evidence.metrics["method"].unique().sort()
    return FoundValue(
        f"{100 * (1 - study.alpha):g} % intervals; clusters {', '.join(study.clusters)}, at least "
        f"{study.min_clusters}; methods: {_joined(methods)}",
        "table metrics, method; study file; docs/coverage.md",
    )


def robustness(evidence: Evidence) -> FoundValue | None:
    """Conditions and controls that were answered."""
    if not evidence.answers.height:
        return None
    conditions = ", ".join(evidence.answers["condition"].unique().sort())
    controls = ", ".join(evidence.answers.filter(pl.col("control") != "none")["control"].unique().sort())
    strata = ", ".join(evidence.metrics["stratum"].str.split("=").list.first().unique().sort())
    return FoundValue(
        f"conditions {conditions}; controls {controls or 'none'}; strata by {strata or 'nothing'}",
        "tables answers, metrics",
    )


def flow(evidence: Evidence) -> FoundValue | None:
    """Cases through the stages, and reasons of rejection."""
    if not evidence.cases.height:
        if not evidence.scope.datasets:
            return None
        plain = evidence.slices.filter(pl.col("condition") == "plain", pl.col("control") == "none")
        shown = plain.filter(pl.col("presence") == "present")["pictures"].sum()
        findings = count(evidence, int(evidence.findings["n"].sum()))
        return FoundValue(
            f"findings {findings}, plain pictures of them {count(evidence, int(shown))}", "tables profiles, slices"
        )
    inserted = int(evidence.cases["inserted"].sum())
    steps = [f"planned {count(evidence, evidence.cases.height)}", f"inserted {count(evidence, inserted)}"]
    for source, *got in (
        evidence.stages.group_by("source")
        .agg(pl.col("rendered", "sliced", "answered").sum())
        .sort("source")
        .iter_rows()
    ):
        by = [count(evidence, n) for n in got]
        steps.append(f"{source}: rendered {by[0]}, sliced {by[1]}, answered {by[2]}")
    why = evidence.rejected.group_by("stage", "reason").agg(pl.col("case_uid").n_unique()).sort("stage", "reason")
    reasons = ", ".join(f"{stage} {reason} {count(evidence, n)}" for stage, reason, n in why.iter_rows())
    return FoundValue(
        f"{'; '.join(steps)}; rejected: {reasons or 'none'}", "tables cases, insertions, cts, slices, answers"
    )


def people(evidence: Evidence) -> FoundValue | None:
    """Age, sex and smoking of the people whose anatomy is shown."""
    shown = evidence.people
    if not shown.height:
        return None
    age = shown["age"].drop_nulls()
    years = "age unknown"
    if age.len() and evidence.minimum is not None and age.len() < evidence.minimum:
        years = f"age hidden: of fewer than {evidence.minimum}"
    elif age.len():
        years = f"age median {_median(age):g} (known of {age.len():,})"
    kind = "procedural hosts (no people)" if evidence.anatomy == "procedural" else "people"
    return FoundValue(
        f"{count(evidence, shown.height)} {kind}: {years}; sex {_counts(evidence, shown, 'sex')}; smoking "
        f"{_counts(evidence, shown, 'smoking')}; datasets {_counts(evidence, shown, 'dataset')}",
        "tables cases, hosts",
    )


def sizes(evidence: Evidence) -> FoundValue | None:
    """Nodules by size."""
    rows = evidence.insertions if evidence.insertions.height else None
    if rows is None:
        return None
    n = dict(rows.group_by("size_bucket").agg(pl.len()).iter_rows())
    text = ", ".join(f"{b} {count(evidence, n[b])}" for b in SIZE_BUCKETS if b in n)
    labels = _counts(evidence, rows, "label")
    return FoundValue(f"inserted nodules by size: {text}; by label: {labels}", "table insertions")


def negatives(evidence: Evidence) -> FoundValue | None:
    """Pictures that show no target."""
    own = evidence.slices.filter(pl.col("control") == "none", pl.col("condition") == "plain")
    if not own.height:
        return None
    n = dict(own.group_by("presence").agg(pl.col("pictures").sum()).iter_rows())
    shown, none = (count(evidence, n.get(word, 0)) for word in ("present", "absent"))
    return FoundValue(f"plain pictures: present {shown}, absent {none}", "table slices")


def representative(evidence: Evidence) -> FoundValue | None:
    """Which marginals follow a stated population."""
    if not evidence.balance.height:
        return None
    by = evidence.balance.select("arm", "mode", "marginal", "status").unique()
    return FoundValue(
        "marginals over arms: "
        + ", ".join(f"{s} {n}" for s, n in by.group_by("status").agg(pl.len()).sort("status").iter_rows())
        + "; a calibrated marginal follows its stated population, the others do not claim to",
        "table balance, status",
    )


def primary_estimate(evidence: Evidence) -> FoundValue | None:
    """The primary endpoint with its limits."""
    rows = _primary(evidence)
    return FoundValue(_estimates(rows), "table metrics, stratum all") if rows.height else None


def accuracy_estimates(evidence: Evidence) -> FoundValue | None:
    """Measures of correctness in the primary task and condition."""
    endpoint = evidence.study.primary
    rows = evidence.metrics.filter(
        pl.col("stratum") == "all",
        pl.col("task") == endpoint.task,
        pl.col("condition") == endpoint.condition,
        pl.col("metric").is_in(_ACCURACY),
    ).sort("analysis", "source", "reader", "metric")
    return FoundValue(_estimates(rows), "table metrics") if rows.height else None


def failures(evidence: Evidence) -> FoundValue | None:
    """Missed nodules and false alarms in the primary condition."""
    rows = evidence.metrics.filter(
        pl.col("stratum") == "all",
        pl.col("task") == "presence",
        pl.col("condition") == evidence.study.primary.condition,
        pl.col("metric").is_in(["sensitivity", "specificity"]),
        pl.col("k").is_not_null(),
        pl.col("n_slices") > 0,
    ).sort("analysis", "source", "reader", "metric")
    if not rows.height:
        return None
    what = {"sensitivity": "missed", "specificity": "false alarms"}
    return FoundValue(
        _joined(
            f"{r['analysis']}, {r['source']}, {r['reader']}: {what[r['metric']]} "
            + _share(evidence, r["n_slices"] - r["k"], r["n_slices"])
            for r in rows.iter_rows(named=True)
        ),
        "table metrics, n_slices less k",
    )


def cross_table(evidence: Evidence) -> FoundValue | None:
    """Where answers are counted by truth."""
    rows = evidence.metrics.filter(pl.col("metric").is_in(["sensitivity", "specificity"]), pl.col("k").is_not_null())
    return (
        FoundValue("right answers k of n by truth in every cell", "table metrics, k and n_slices")
        if rows.height
        else None
    )


def limits(evidence: Evidence) -> FoundValue | None:
    """Limits that the tables themselves show; authors add theirs."""
    told = []
    if evidence.anatomy == "procedural":
        told.append("anatomy is procedural: nothing here is a result about people")
    if evidence.changed:
        told.append("the study file changed after it was locked")
    flagged = evidence.metrics.filter(pl.col("flag").is_not_null()).height
    if evidence.metrics.height:
        told.append(f"{flagged:,} of {evidence.metrics.height:,} numbers carry a flag")
    unmeasured = evidence.fidelity.filter(pl.col("value").is_null()).height
    if evidence.fidelity.height:
        told.append(
            f"fidelity comparisons without a value: {unmeasured:,}, with one: {evidence.fidelity.height - unmeasured:,}"
        )
    return FoundValue("; ".join(told), "tables metrics, fidelity; lock of the study") if told else None


def protocol(evidence: Evidence) -> FoundValue | None:
    """Hash of the study, and whether it was locked."""
    locked = "changed since locked" if evidence.changed else "locked with the split"
    return FoundValue(
        f"study {evidence.study.study}, SHA-256 {evidence.study.sha256[:16]}…, {locked}", "lock of the study"
    )


def availability(evidence: Evidence) -> FoundValue | None:
    """Licence of the software, and which datasets may be passed on."""
    kept = [t.dataset for t in evidence.terms if not t.redistributable]
    told = f"not to be passed on: {', '.join(kept)}" if kept else "all may be passed on"
    return FoundValue(f"software Apache-2.0; datasets: {told}", "LICENSE; datasets.yaml, redistributable")


def auditable(evidence: Evidence) -> FoundValue | None:
    """Everything that a reader returned is kept."""
    n = evidence.asked["n"].sum()
    return FoundValue(f"{n:,} requests kept with what was returned", "table generations; ledger") if n else None


def rendered_by(evidence: Evidence) -> FoundValue | None:
    """Renderers, and what each was trained on."""
    if not evidence.cts.height:
        return None
    rows = evidence.cts.select("source", "trained_on").unique().sort("source", "trained_on")
    return FoundValue(_joined(f"{s}, trained on {t}" for s, t in rows.iter_rows()), "table cts, trained_on")


def devices(evidence: Evidence) -> FoundValue | None:
    """Rendered images have no device."""
    found = rendered_by(evidence)
    if found is None or evidence.scope.datasets:
        return None
    return FoundValue(f"no scanner: {found.value}; itrialspace-assets {__version__}", found.place)


def clearances(evidence: Evidence) -> FoundValue | None:
    """What the insertion audits found."""
    rows = evidence.insertions
    if not rows.height:
        return None
    n, measured = rows.height, rows.filter(pl.col("placement") == "profile")
    outside, over = (count(evidence, int((rows[c] > 0).sum())) for c in ("outside_lung", "overlap"))
    margin = (
        ""
        if measured["margin_mm"].len() == 0
        else f"; least distance to the lung's outline {_least(measured['margin_mm']):.2f} mm"
    )
    return FoundValue(
        f"of {count(evidence, n)} inserted nodules {outside} reach outside the lobes and {over} lie in another nodule; "
        f"moved from the asked place by median {_median(rows['shift_mm']):.2f} mm, at most "
        f"{_most(rows['shift_mm']):.2f} mm{margin}",
        "table insertions",
    )


def as_planned(evidence: Evidence) -> FoundValue | None:
    """Nodules whose realised size and lobe are those planned."""
    rows = evidence.insertions
    if not rows.height:
        return None
    gap = _median((rows["diameter_mm"] - rows["planned_diameter_mm"]).abs())
    lobe = int((rows["lobe"] == rows["asked_lobe"]).sum())
    return FoundValue(
        f"lobe as asked {_share(evidence, lobe, rows.height)}; diameter {gap:.2f} mm (median) from the planned one",
        "table insertions",
    )


def image_pairs(evidence: Evidence) -> FoundValue | None:
    """Images that differ from their lesion-free twin at the lesion alone."""
    rows = evidence.cts.filter(pl.col("paired").is_not_null())
    if not rows.height:
        return None
    return FoundValue(
        "images that differ from their lesion-free twin at the lesion alone: "
        f"{_share(evidence, int(rows['paired'].sum()), rows.height)}",
        "table cts, paired",
    )


def fidelity(evidence: Evidence) -> FoundValue | None:
    """Distances of rendered from real images."""
    rows = evidence.fidelity.filter(pl.col("kind") == "real_to_synthetic")
    if evidence.scope.modes and "all" not in rows["compared"]:
        rows = rows.filter(pl.col("compared").str.split("/").list.last().is_in(evidence.scope.modes))
    rows = rows.filter(pl.col("value").is_not_null())
    if not rows.height:
        return None
    told = [
        f"{r['compared']} from {r['reference']}: {r['metric']} {r['value']:.3g}"
        for r in rows.sort("compared", "reference").iter_rows(named=True)
    ]
    return FoundValue(_joined(told), "table fidelity")


def transfer(evidence: Evidence) -> FoundValue | None:
    """Whether results carry over to real images."""
    named = pl.col("metric").str.contains("transfer|equivalen|spearman|kendall")
    rows = evidence.metrics.filter(named, pl.col("estimate").is_not_null())
    if not rows.height:
        return None
    return FoundValue(_estimates(rows.sort("analysis", "source", "reader", "metric")), "table metrics")


def interval_coverage(evidence: Evidence) -> FoundValue | None:
    """Coverage of the intervals is simulated outside the report."""
    text = "the coverage of the intervals is simulated outside this report, by bench/coverage.py"
    return FoundValue(text, "docs/coverage.md") if evidence.metrics.height else None


def code_checks(evidence: Evidence) -> FoundValue | None:
    """What ties results to code: contracts of the tables, frozen lists, the study's hash."""
    return FoundValue(
        f"itrialspace-assets {__version__}; {len(TABLES)} tables, each accepted under the hash of its contract; frozen "
        f"lists with the SHA-256 of every picture: {len(evidence.lists)}; CI runs the tests, not this report",
        "records/tables.py; lock of the split; tests/",
    )


def influence(evidence: Evidence) -> FoundValue | None:
    """How much the decision rests on the model, as stated."""
    stated = evidence.stated.model_influence
    return FoundValue(stated, "study file") if stated else None


def consequence(evidence: Evidence) -> FoundValue | None:
    """What follows from a wrong decision, as stated."""
    stated = evidence.stated.decision_consequence
    return FoundValue(stated, "study file") if stated else None


def has_real(evidence: Evidence) -> FoundValue | None:
    """Whether real images of the same analysis exist to compare with."""
    if evidence.anatomy != REAL or not evidence.scope.datasets:
        return None
    n = evidence.slices.filter(pl.col("source") == REAL)["pictures"].sum()
    return FoundValue(f"{n:,} pictures of real scans from {len(evidence.scope.datasets)} datasets", "table slices")


#: Every extractor by the name that the YAML files use.
EXTRACTORS: Mapping[str, ValueExtractor] = {
    f.__name__: f
    for f in (
        kind_of_ai,
        background,
        question,
        design,
        goal,
        data_sources,
        eligibility,
        preprocessing,
        subsets,
        no_person,
        missing,
        acquisition,
        reference,
        reference_reason,
        reference_cutoffs,
        categories,
        annotators,
        partitions,
        sample_size,
        software,
        metric_names,
        uncertainty,
        robustness,
        flow,
        people,
        sizes,
        negatives,
        representative,
        primary_estimate,
        accuracy_estimates,
        failures,
        cross_table,
        limits,
        protocol,
        availability,
        auditable,
        rendered_by,
        devices,
        clearances,
        as_planned,
        image_pairs,
        fidelity,
        transfer,
        interval_coverage,
        code_checks,
        influence,
        consequence,
        has_real,
    )
}
