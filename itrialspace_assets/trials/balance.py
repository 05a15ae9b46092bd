"""Compares the planned cases with the asked ones: shares by marginal, standardised differences, a picture.

Reads planned frames; plans nothing and writes no file.
"""

import io
from collections.abc import Mapping

import polars as pl

from itrialspace_assets.imaging.anatomy import LOBES, SIZE_BUCKETS
from itrialspace_assets.trials.aims import host_strata, lobe_law, size_law
from itrialspace_assets.trials.model import Cohort
from itrialspace_assets.trials.pool import CandidatePool, never_stating
from itrialspace_assets.trials.resolve import PlannedArm, Resolved
from itrialspace_assets.trials.rows import BalanceRow
from itrialspace_assets.trials.sites import AGE_BAND, Site

#: Shares that are asked for, by marginal and level.
AskedShares = dict[str, dict[str, float]]
_HOST = ("sex", "age", "smoking")


def asked_shares(resolved: Resolved, cohort: Cohort, site: Site | None) -> AskedShares:
    """Shares that a cohort states, by marginal and level.

    Args:
        resolved: the trial; arms that share lobes need a law of lobes.
        cohort: an arm's cohort.
        site: its site, if it names one.
    """
    out: AskedShares = {}
    p = cohort.prevalence
    if p is not None and p.value is not None:
        out["presence" if p.of == "nodule" else "label"] = {
            ("nodule" if p.of == "nodule" else "malignant"): p.value,
            ("clean" if p.of == "nodule" else "benign"): 1 - p.value,
        }
    elif cohort.label is not None:
        out["label"] = {"malignant": float(cohort.label), "benign": 1.0 - cohort.label}
    if sizes := size_law(cohort, site):
        out["size"] = dict(sizes)
    if lobes := lobe_law(cohort, site, "lobe" in resolved.trial.share):
        out["lobe"] = dict(lobes)
    elif cohort.placement.lobe:
        out["lobe"] = {cohort.placement.lobe: 1.0}
    if cohort.calibrate:
        strata, (sexes, ages) = host_strata(cohort, site)
        if "sex" in cohort.calibrate:
            out["sex"] = dict(zip(("M", "F"), sexes, strict=True))
        if "age" in cohort.calibrate:
            out["age"] = {
                f"{s.age[0]:g}-{s.age[1]:g}": share for s, share in zip(strata[: len(ages)], ages, strict=True) if s.age
            }
    return out


def statuses(pool: CandidatePool, resolved: Resolved, cohort: Cohort, site: Site | None) -> dict[str, str]:
    """Each marginal as ``calibrated``, ``constrained``, ``free`` or ``unavailable``.

    Args:
        pool: tells what the datasets of the hosts state.
        resolved: the trial.
        cohort: an arm's cohort.
        site: its site, if it names one.
    """
    out = {}
    asked = asked_shares(resolved, cohort, site)
    for name in ("label", "presence", "size", "lobe", *_HOST):
        column = {"sex": cohort.hosts.sex, "age": cohort.hosts.age, "smoking": cohort.hosts.smoking}.get(name)
        d = cohort.donors
        limited = {"size": d.diameter_mm, "lobe": d.lobes or d.side, "label": cohort.label is not None or None}.get(
            name, column
        )
        if name in asked and not (name == "label" and cohort.label is not None):
            out[name] = "calibrated"
        elif limited is not None:
            out[name] = "constrained"
        elif name in _HOST and never_stating(pool, cohort, name):
            out[name] = "unavailable"
        else:
            out[name] = "free"
    return out


def balance_rows(
    resolved: Resolved,
    arm: PlannedArm,
    cases: pl.DataFrame,
    nodules: pl.DataFrame,
    site: Site | None,
    status: Mapping[str, str],
) -> list[BalanceRow]:
    """Rows of ``balance`` of an arm, over primary nodules and cases.

    Args:
        resolved: the trial.
        arm: the arm.
        cases: its ``cases``.
        nodules: its ``case_nodules``.
        site: the arm's site, if it names one.
        status: of each marginal, as ``statuses`` gives it.
    """
    first = nodules.filter(pl.col("nodule_idx") == 0)
    asked = asked_shares(resolved, arm.cohort, site) if resolved.trial.planner == "sampled" else {}
    twenty = ">20mm" in asked.get("size", {})
    bucket = (
        pl.when(pl.col("size_bucket").is_in(["20-30mm", ">30mm"]) & twenty)
        .then(pl.lit(">20mm"))
        .otherwise("size_bucket")
    )
    band = (pl.col("host_age") // AGE_BAND * AGE_BAND).cast(pl.Int64)
    got = {
        "presence": first.select(pl.when("present").then(pl.lit("nodule")).otherwise(pl.lit("clean"))),
        "label": first.filter("present").select(
            pl.col("label").replace_strict({1: "malignant", 0: "benign"}, default=None, return_dtype=pl.String)
        ),
        "size": first.select(bucket),
        "lobe": first.select("lobe"),
        "sex": cases.select("host_sex"),
        "age": cases.select(pl.concat_str(band.cast(pl.String), pl.lit("-"), (band + AGE_BAND).cast(pl.String))),
        "smoking": cases.select("host_smoking"),
        "host_dataset": cases.select("host_dataset"),
        "donor_dataset": first.select("donor_dataset"),
    }
    rows: list[BalanceRow] = []
    for marginal, frame in got.items():
        values = frame.to_series().fill_null("(not stated)")
        found = {str(level): int(count) for level, count in values.value_counts().iter_rows()}
        wanted = asked.get(marginal, {})
        total = max(1, len(values))
        for level in sorted({*found, *(k for k, v in wanted.items() if v > 0)}, key=lambda x: (_order(x), x)):
            share, target = found.get(level, 0) / total, wanted.get(level)
            rows.append(
                BalanceRow(
                    mode=resolved.trial.mode,
                    trial=resolved.trial.trial,
                    arm=arm.name,
                    marginal=marginal,
                    level=level,
                    status=status.get(marginal, "free"),
                    asked_share=None if target is None else round(target, 6),
                    got_share=round(share, 6),
                    asked=None if target is None else round(target * total),
                    got=found.get(level, 0),
                    standardised_difference=_difference(target, share),
                )
            )
    return rows


def _order(level: str) -> int:
    return (*SIZE_BUCKETS, *LOBES).index(level) if level in (*SIZE_BUCKETS, *LOBES) else 99


def _difference(asked: float | None, got: float) -> float | None:
    if asked is None:
        return None
    spread = ((asked * (1 - asked) + got * (1 - got)) / 2) ** 0.5
    return 0.0 if asked == got else None if spread == 0 else round((got - asked) / spread, 4)


_PANEL, _HEIGHT, _TOP, _BASE = 210, 250, 44, 150  # pixels
_COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b")


def picture(balance: pl.DataFrame, arms: pl.DataFrame, anatomy: str) -> bytes:
    """PNG: got (dot) and asked (dash) shares of the first six arms by marginal, and effective donors and host people.

    Drawn with Pillow: a chart of this kind costs matplotlib more than the planning of a paper-size mode.

    Args:
        balance: rows of ``balance`` of one trial.
        arms: rows of ``arms`` of the same trial.
        anatomy: ``real`` or ``procedural``, shown in the title.
    """
    from PIL import Image, ImageDraw, ImageFont

    font, small = ImageFont.load_default(11), ImageFont.load_default(9)
    ordered = arms.sort("number").head(len(_COLOURS))
    names = ordered["arm"].to_list()
    panels = [m for m in ("label", "size", "lobe", "sex", "age") if balance.filter(pl.col("marginal") == m).height]
    image = Image.new("RGB", (_PANEL * (len(panels) + 1) + 20, _HEIGHT + 14 * len(names)), "white")
    pen = ImageDraw.Draw(image)
    pen.text((10, 6), f"got (dot) and asked (dash) shares; {anatomy} anatomy", "black", font)

    def frame(left: int, title: str, levels: list[str]) -> list[int]:
        pen.text((left, 24), title, "black", font)
        pen.rectangle((left, _TOP, left + _PANEL - 30, _BASE), outline="#bbbbbb")
        at = [left + 12 + round((_PANEL - 54) * i / max(1, len(levels) - 1)) for i in range(len(levels))]
        for x, level in zip(at, levels, strict=True):
            word = Image.new("L", (92, 12), 255)
            ImageDraw.Draw(word).text(
                (92, 0), level.replace("_lung_", " ").replace("_lobe", "")[:16], 0, small, anchor="ra"
            )
            image.paste(word.rotate(90, expand=True).convert("RGB"), (x - 6, _BASE + 4))
        return at

    for number, marginal in enumerate(panels):
        rows = balance.filter(pl.col("marginal") == marginal, pl.col("arm").is_in(names))
        levels = rows["level"].unique(maintain_order=True).to_list()
        place = dict(zip(levels, frame(10 + number * _PANEL, f"{marginal} ({rows['status'][0]})", levels), strict=True))
        for r in rows.iter_rows(named=True):
            i = names.index(r["arm"])
            x, colour = place[r["level"]] + 2 * i - len(names), _COLOURS[i]
            y = _BASE - 4 - round((_BASE - _TOP - 8) * r["got_share"])
            pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)
            if r["asked_share"] is not None:
                y = _BASE - 4 - round((_BASE - _TOP - 8) * r["asked_share"])
                pen.line((x - 5, y, x + 5, y), fill=colour, width=1)
    at = frame(10 + len(panels) * _PANEL, "effective donors (dark), host people", names) if names else []
    most = max([1.0, *ordered["donors_effective"], *ordered["hosts_effective"]])
    for x, donors, hosts in zip(at, ordered["donors_effective"], ordered["hosts_effective"], strict=True):
        for shift, value, colour in ((-5, donors, "#444444"), (1, hosts, "#aaaaaa")):
            pen.rectangle(
                (x + shift, _BASE - round((_BASE - _TOP - 8) * value / most), x + shift + 4, _BASE), fill=colour
            )
    for i, row in enumerate(ordered.iter_rows(named=True)):
        told = (
            f"{row['arm']}: {row['got_cases']} cases, {row['donors_effective']:.0f} effective donors, "
            f"{row['hosts_effective']:.0f} effective host people"
        )
        pen.text((10, _HEIGHT + 14 * i), told, _COLOURS[i], small)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
