"""Builds reports: of a mode, of a real dataset, and of the study. Numbers come from ``metrics`` only."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets.analysis.figures import level_figure, mark_of
from itrialspace_assets.analysis.metrics import score_cells
from itrialspace_assets.analysis.splits import list_path, missing_pairs, options, read_list
from itrialspace_assets.analysis.study import Study, changed_since_lock, load_study
from itrialspace_assets.base.errors import TableError
from itrialspace_assets.base.fingerprints import replace_file, sha256_bytes
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import Partition, Result, Step
from itrialspace_assets.imaging.anatomy import SIZE_BUCKETS
from itrialspace_assets.imaging.pictures import markdown
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import read_all, read_table, write_table
from itrialspace_assets.synthesis.renderers import enabled
from itrialspace_assets.trials.files import load_trial

VERSION = "1"


MODE_STEP = Step(("mode_report",), "report", ("mode",), VERSION, options)
REAL_STEP = Step(("real_report",), "report", ("dataset",), VERSION, options)
STUDY_STEP = Step(("study_report",), "report", (), "2", options)


def observe(settings: Settings, source: str, mode: str, name: str, reader: str) -> pl.DataFrame:
    """One row per slice of the frozen list, condition and task, with the answer or null.

    Raises:
        TableError: there is no frozen list, or a frozen slice is gone.
    """
    path = list_path(settings, source, name)
    if not path.exists():
        missing = missing_pairs(settings, source, mode) if mode != REAL else [name]
        raise TableError(
            f"report of {source}/{name}: split {settings.split} holds no list for it; still missing: "
            f"{', '.join(missing) or 'the stage splits'}"
        )
    wanted = pl.DataFrame({"slice_uid": read_list(path)}, schema={"slice_uid": pl.String})
    where = {"dataset": name.removeprefix(f"{REAL}-")} if mode == REAL else {}
    slices = read_all(settings.output, "slices", source=source, mode=mode, **where)
    gone = wanted.join(slices, on="slice_uid", how="anti").height
    if gone:
        raise TableError(
            f"report of {source}/{name}: {gone} slices of the frozen split {settings.split} are gone; give "
            "ITRIALSPACE_SPLIT a new name"
        )
    answers = read_all(settings.output, "predictions", source=source, reader=reader, mode=mode, **where)
    tasks = pl.DataFrame({"task": ["presence", "size", "lobe"]})
    frame = slices.join(wanted, on="slice_uid", how="semi").join(tasks, how="cross")
    kept = answers.select(
        "slice_uid", "condition", "task", "answer", "score", "status", pl.col("slice_sha256").alias("sha256")
    )
    return frame.join(kept, on=["slice_uid", "condition", "task", "sha256"], how="left").sort(
        "slice_uid", "condition", "task"
    )


def strata_of(observations: pl.DataFrame, factors: Sequence[str]) -> dict[str, pl.Series]:
    """``all`` and one mask per level of each factor; a negative goes with its pair's level."""
    masks = {"all": pl.Series([True] * observations.height, dtype=pl.Boolean())}
    for factor in factors:
        level = (
            observations.filter(pl.col("presence") == "present")
            .select("pair_uid", pl.col(factor).alias("_level"))
            .unique()
        )
        joined = observations.select("pair_uid").join(level, on="pair_uid", how="left", maintain_order="left")
        for value in sorted(v for v in joined["_level"].unique() if v is not None):
            masks[f"{factor}={value}"] = (joined["_level"] == value).fill_null(False)
    return masks


def _labels(settings: Settings, analysis: str, source: str, reader: str) -> dict[str, str]:
    return {
        "analysis": analysis,
        "split": settings.split,
        "source": source,
        "reader": reader,
        "anatomy": settings.anatomy,
    }


def build_mode(settings: Settings, partition: Partition) -> Result:
    """Metrics, figure and page of a mode over all sources and readers."""
    require_data_root(settings)
    mode = partition["mode"]
    trial, study = load_trial(settings, mode), load_study(settings)
    rows, figures = [], []
    factors = ["size_bucket", "lobe", "dataset"] + (
        ["arm"] if trial.contrast not in ("none", "size_bucket", "dataset") else []
    )
    for source in (r.name for r in enabled(settings)):
        for reader in readers(settings):
            seen = observe(settings, source, mode, mode, reader)
            found = score_cells(seen, strata_of(seen, factors), study, _labels(settings, mode, source, reader))
            rows += found
            figures.append(
                (
                    f"{source}, {reader}",
                    _figure(found, f"{mode}: {reader} on {source}", mark_of(settings.anatomy, source)),
                )
            )
    flow = flow_table(settings, mode)
    page = settings.output / "reports" / mode / "report.html"
    sections = [
        ("From plan to answer", flow.columns, flow.rows(), "Rejected cases are not replaced. Counts are cases."),
        *_metric_sections(rows),
    ]
    arms = read_table(settings.output, "arms", mode=mode).select(
        "arm", "level", "asked_cases", "got_cases", "asked_malignant", "got_malignant", "note"
    )
    sections.insert(0, ("Asked and planned", arms.columns, arms.rows(), ""))
    sources = "; ".join(mark_of(settings.anatomy, r.name) for r in enabled(settings))
    return _finish(settings, mode, rows, figures, page, trial.question, sources, sections, study)


def build_real(settings: Settings, partition: Partition) -> Result:
    """Metrics, figure and page of the real slices of a dataset."""
    require_data_root(settings)
    name = partition["dataset"]
    study = load_study(settings)
    rows, figures = [], []
    for reader in readers(settings):
        seen = observe(settings, REAL, REAL, f"{REAL}-{name}", reader)
        found = score_cells(
            seen, strata_of(seen, ["size_bucket", "lobe"]), study, _labels(settings, f"{REAL}-{name}", REAL, reader)
        )
        rows += found
        if found:
            figures.append((reader, _figure(found, f"{name}: {reader}", mark_of(settings.anatomy, REAL))))
    page = settings.output / "reports" / f"{REAL}-{name}" / "report.html"
    question = f"How do the readers do on the CTs of {name} themselves?"
    return _finish(
        settings,
        f"{REAL}-{name}",
        rows,
        figures,
        page,
        question,
        mark_of(settings.anatomy, REAL),
        _metric_sections(rows),
        study,
    )


def build_study(settings: Settings, partition: Partition) -> Result:
    """One page over all modes and datasets; transfer only where it can be estimated at all."""
    require_data_root(settings)
    study = load_study(settings)
    metrics = read_all(settings.output, "metrics").filter(pl.col("stratum") == "all")
    primary = metrics.filter(
        pl.col("metric") == study.primary.metric,
        pl.col("task") == study.primary.task,
        pl.col("condition") == study.primary.condition,
    )
    columns = ["analysis", "source", "reader", "estimate", "low", "high", "n_cases", "n_persons", "n_negatives", "flag"]
    shown = primary.select(columns).with_columns(pl.col("estimate", "low", "high").round(3))
    procedural = "not estimable by construction: anatomy is procedural" if settings.anatomy == "procedural" else None
    transfer = ["transfer", "equivalence"], [[procedural or "not built in this version"] * 2]
    fidelity, said = _fidelity(settings)
    sections = [
        (
            "Primary endpoint",
            shown.columns,
            shown.rows(),
            f"{study.primary.metric} of {study.primary.task}, condition {study.primary.condition}",
        ),
        ("Real against synthetic", *transfer, ""),
        ("Fidelity of rendered CTs", fidelity.columns, fidelity.rows(), said),
    ]
    page = settings.output / "reports" / "study" / "report.html"
    html = _render(
        settings,
        "Study report",
        "What was estimated over all modes and datasets?",
        mark_of(settings.anatomy, "all sources"),
        [],
        sections,
        study,
    )
    replace_file(page, html.encode())
    return Result(
        {},
        computed=1,
        preview=markdown(shown),
        files={str(page.relative_to(settings.output)): sha256_bytes(html.encode())},
    )


def _fidelity(settings: Settings) -> tuple[pl.DataFrame, str]:
    """Mean distances over the three planes, and how to read them."""
    rows = read_all(settings.output, "fidelity").filter(pl.col("plane") == "average").sort("kind", "value", "compared")
    band = rows.filter(pl.col("kind") == "real_to_real", pl.col("value").is_not_null())["value"].to_list()
    said = "; ".join(rows["note"].drop_nulls().unique().sort())
    if band:
        said = f"Real datasets lie {min(band):.3g} to {max(band):.3g} apart: the yardstick of the rest. {said}"
    if "descriptor_distance" in rows["metric"]:
        said += " Measured with a descriptor that needs no weights: not FID, and not to be compared with published FID."
    return rows.select(
        "kind", "reference", "compared", "metric", "value", "images_reference", "images_compared"
    ), said.strip()


def _figure(rows: list[dict[str, Any]], title: str, mark: str) -> bytes:
    metrics = pl.DataFrame(rows, infer_schema_length=None)
    present = set(metrics["stratum"].to_list())
    levels = [b for b in SIZE_BUCKETS if f"size_bucket={b}" in present]
    return level_figure(metrics, "size_bucket", levels, title, mark)


def flow_table(settings: Settings, mode: str) -> pl.DataFrame:
    """Cases by arm at each stage: planned, inserted, rendered, sliced, answered."""
    root = settings.output
    cases = read_table(root, "cases", mode=mode).select("case_uid", "arm")
    counts = {"planned": cases}
    counts["inserted"] = read_all(root, "insertions", mode=mode).select("case_uid").unique()
    for table, stage in (("cts", "rendered"), ("slices", "sliced")):
        found = read_all(root, table, mode=mode)
        counts[stage] = found.select("case_uid").unique()
    slices = read_all(root, "slices", mode=mode).select("slice_uid", "condition", "case_uid")
    answers = read_all(root, "predictions", mode=mode).filter(pl.col("status") == "ok")
    counts["answered"] = slices.join(answers, on=["slice_uid", "condition"], how="semi").select("case_uid").unique()
    out = cases.group_by("arm").agg(pl.len().alias("planned")).sort("arm")
    for stage, frame in list(counts.items())[1:]:
        got = cases.join(frame, on="case_uid", how="semi").group_by("arm").agg(pl.len().alias(stage))
        out = out.join(got, on="arm", how="left")
    return out.fill_null(0)


def _metric_sections(rows: list[dict[str, Any]]) -> list[tuple[str, list[str], list[Any], str]]:
    sections = []
    for task in ("presence", "size", "lobe"):
        shown = [
            [
                r["source"],
                r["reader"],
                r["condition"],
                r["stratum"],
                r["metric"],
                *(None if r[k] is None else round(r[k], 3) for k in ("estimate", "low", "high")),
                r["n_cases"],
                r["n_negatives"],
                r["n_persons"],
                None if r["n_effective"] is None else round(r["n_effective"], 1),
                r["n_unanswered"],
                r["flag"],
            ]
            for r in rows
            if r["task"] == task and (r["stratum"] == "all" or r["condition"] == "plain")
        ]
        columns = [
            "source",
            "reader",
            "condition",
            "stratum",
            "metric",
            "estimate",
            "low",
            "high",
            "slices",
            "negatives",
            "host persons",
            "effective n",
            "unanswered",
            "note",
        ]
        if shown:
            sections.append(
                (
                    task.capitalize(),
                    columns,
                    shown,
                    "All conditions over all slices; strata under the plain condition. Intervals are two-way "
                    "cluster-robust over host and donor persons.",
                )
            )
    return sections


def _render(
    settings: Settings,
    title: str,
    question: str,
    mark: str,
    figures: list[tuple[str, bytes]],
    sections: list[Any],
    study: Study,
) -> str:
    from jinja2 import Environment

    template = Environment(autoescape=True).from_string(
        Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    )
    return template.render(
        title=title,
        question=question,
        mark=mark,
        split=settings.split,
        study=study.study,
        study_sha=study.sha256,
        exploratory=changed_since_lock(settings, study),
        primary=f"{study.primary.metric} of {study.primary.task}, condition {study.primary.condition}",
        figures=[(name, base64.b64encode(data).decode()) for name, data in figures],
        sections=sections,
    )


def _finish(
    settings: Settings,
    analysis: str,
    rows: list[dict[str, Any]],
    figures: list[tuple[str, bytes]],
    page: Path,
    question: str,
    mark: str,
    sections: list[Any],
    study: Study,
) -> Result:
    table = write_table(settings.output, "metrics", rows, analysis=analysis)
    html = _render(settings, f"Report: {analysis}", question, mark, figures, sections, study)
    replace_file(page, html.encode())
    files = {str(page.relative_to(settings.output)): sha256_bytes(html.encode())}
    for number, (_, data) in enumerate(figures):
        path = page.with_name(f"figure_{number + 1}.png")
        replace_file(path, data)
        files[str(path.relative_to(settings.output))] = sha256_bytes(data)
    headline = [r for r in rows if r["stratum"] == "all" and r["task"] == "presence"]
    shown = (
        pl.DataFrame(headline, infer_schema_length=None).select(
            "source", "reader", "condition", "metric", "estimate", "low", "high", "n_cases"
        )
        if headline
        else pl.DataFrame()
    )
    return Result(
        {"metrics": len(rows)},
        computed=len(rows),
        picture=figures[0][1] if figures else None,
        preview=markdown(shown) if headline else "",
        files=files,
        written=(table,),
    )
