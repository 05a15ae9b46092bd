"""Figures of reports. Each carries in the picture what its data are."""

import io
from typing import Any

import polars as pl

from itrialspace_assets.analysis.estimates.detection import Detection
from itrialspace_assets.analysis.estimates.froc import Curve

COLOURS = {"plain": "#334155", "bbox": "#16a34a", "contour": "#dc2626", "bbox_contour": "#7c3aed"}


def mark_of(anatomy: str, source: str) -> str:
    """The line that every figure and report begins with."""
    people = "PROCEDURAL anatomy, no real people" if anatomy == "procedural" else "real anatomy"
    made = (
        "real CT as acquired"
        if source == "real" and anatomy == "real"
        else f"CT rendered by '{source}'"
        if source != "real"
        else "procedural CT in the place of real CT"
    )
    return f"{people}; {made}; not a clinical result"


def level_figure(metrics: pl.DataFrame, factor: str, levels: list[str], title: str, mark: str) -> bytes:
    """PNG: sensitivity by level of a factor under each condition with intervals, and slice-ROC AUC beside it.

    Args:
        metrics: rows of ``metrics`` of one source and reader.
        factor: strata named ``factor=level`` are shown; ``all`` where there is none.
        levels: order of the levels.
        title: above the figure.
        mark: what the data are, drawn into the picture.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    names = [f"{factor}={level}" for level in levels] or ["all"]
    fig, axes = plt.subplots(
        1, 2, figsize=(10.5, 4.2), sharey=True, gridspec_kw={"width_ratios": [max(2, len(names)), 2]}
    )
    for shift, condition in enumerate(COLOURS):
        _bars(axes[0], metrics, condition, "sensitivity", names, shift)
        _bars(axes[1], metrics, condition, "auc", ["all"], shift)
        _bars(axes[1], metrics, condition, "specificity", ["all"], shift, start=1)
    axes[0].set_xticks(range(len(names)), [n.split("=", 1)[-1] for n in names])
    axes[0].set_xlabel(factor.replace("_", " ") if levels else "")
    axes[0].set_ylabel("estimate, 95 % interval")
    axes[0].set_title("sensitivity (presence)", fontsize=10)
    axes[1].set_xticks([0, 1], ["slice-ROC AUC", "specificity"])
    axes[1].set_title("all slices", fontsize=10)
    axes[1].axhline(0.5, color="#94a3b8", lw=0.8, ls=":")
    axes[0].set_ylim(-0.03, 1.03)
    handles = [Line2D([], [], color=COLOURS[c], marker="o", ls="", label=c) for c in COLOURS]
    fig.legend(handles=handles, loc="lower right", ncol=4, fontsize=8, frameon=False)
    return _png(fig, title, mark)


def froc_figure(curve: Curve, detection: Detection, title: str, mark: str) -> bytes:
    """PNG: sensitivity against false marks a scan, of all scans and of lesion-free ones, with intervals at seven rates.

    Args:
        curve: counts at every threshold.
        detection: estimates at the rates.
        title: above the figure.
        mark: what the data are, drawn into the picture.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, axis = plt.subplots(figsize=(6.4, 4.4))
    least, most = detection.rates[0].false_per_scan / 2, detection.rates[-1].false_per_scan * 2
    for x, colour, name in (
        (curve.false_per_scan, COLOURS["plain"], "all scans"),
        (curve.false_per_free_scan, COLOURS["bbox_contour"], "lesion-free scans"),
    ):
        if len(x) and len(curve.sensitivity):
            axis.step(x.clip(least, most), curve.sensitivity, where="post", color=colour, lw=1.3, label=name)
    for at in detection.rates:
        if at.sensitivity.low is not None and at.sensitivity.high is not None:
            limits = [at.sensitivity.low, at.sensitivity.high]
            axis.plot([at.false_per_scan] * 2, limits, "-", color=COLOURS["plain"], lw=1.1, alpha=0.7)
    axis.set_xscale("log", base=2)
    axis.set_xlim(least, most)
    axis.set_ylim(-0.03, 1.03)
    axis.set_xticks([at.false_per_scan for at in detection.rates], [f"{at.false_per_scan:g}" for at in detection.rates])
    axis.set_xlabel("false marks a scan")
    axis.set_ylabel("sensitivity over nodules, 95 % interval")
    axis.legend(loc="lower right", fontsize=8, frameon=False)
    return _png(fig, title, mark)


def _png(fig: Any, title: str, mark: str) -> bytes:
    """A figure with its title and mark as a picture; it is closed."""
    import matplotlib.pyplot as plt

    fig.suptitle(title, fontsize=11)
    fig.text(0.01, 0.015, mark, fontsize=8, color="#b91c1c")
    fig.tight_layout(rect=(0, 0.06, 1, 1))
    out = io.BytesIO()
    fig.savefig(out, format="png", dpi=110, metadata={"Software": None})
    plt.close(fig)
    return out.getvalue()


def _bars(
    axis: Any, metrics: pl.DataFrame, condition: str, metric: str, strata: list[str], shift: int, start: int = 0
) -> None:
    rows = metrics.filter(pl.col("condition") == condition, pl.col("metric") == metric, pl.col("task") == "presence")
    found = {r["stratum"]: r for r in rows.iter_rows(named=True)}
    for i, stratum in enumerate(strata):
        row = found.get(stratum)
        if row is None or row["estimate"] is None:
            continue
        x = start + i + (shift - 1.5) * 0.14
        axis.plot([x], [row["estimate"]], "o", color=COLOURS[condition], ms=5)
        if row["low"] is not None:
            axis.plot([x, x], [row["low"], row["high"]], "-", color=COLOURS[condition], lw=1.3, alpha=0.8)
