"""Small reports of made-up data: one of every block, and one of each kind that the platform forms."""

import dataclasses
import io

import numpy as np
import polars as pl
from PIL import Image

from itrialspace_assets.analysis.protocol.study import LockState, load_study
from itrialspace_assets.analysis.reports.charts import Axes, Point, levels_chart, scale_chart
from itrialspace_assets.analysis.reports.document import (
    Chart,
    Estimate,
    Gallery,
    Headline,
    Link,
    Number,
    Paragraph,
    Picture,
    Report,
    Section,
    Table,
)
from itrialspace_assets.analysis.reports.headline import headline
from itrialspace_assets.analysis.reports.level_charts import condition_section, factor_section
from itrialspace_assets.analysis.reports.metric_tables import metric_sections
from itrialspace_assets.analysis.reports.published import published_section
from itrialspace_assets.analysis.scoring.metrics import score_cells
from itrialspace_assets.analysis.scoring.observations import strata_of
from itrialspace_assets.analysis.scoring.rows import Analysis, MetricRow
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.imaging.anatomy import LOBES, SIZE_BUCKETS
from tests.analysis.oracles import table

MARK = "PROCEDURAL anatomy, no real people; CT rendered by 'tissue'; not a clinical result"
#: Text that is taken for something else where it is not escaped.
#: State of a study that was locked in time.
LOCKED = LockState("locked", "demo", "demo_v1", "0" * 64)
HOSTILE = "<script>alert(1)</script> a|b *c* \"d\" 'e' & `f` </script>"
LONG = "A caveat that is long, so long that it has to be wrapped at every width that people read it at. " * 5
LEVELS = ["lt5mm", "5_10mm", "10_15mm", "15_20mm"]


def chart(name: str = "by_arm", panels: tuple[str, ...] = ("",)) -> Chart:
    """Two readers over four arms, of which one is flagged and one has no estimate."""
    points = [
        Point(level, reader, (None if at == 3 else 0.5 + at / 10), 0.4, 0.9, 12 + at, flag, panel, 6)
        for panel in panels
        for reader in ("blob", HOSTILE)
        for at, (level, flag) in enumerate(
            zip(LEVELS, (None, "fewer than 10 clusters", None, "no negatives"), strict=True)
        )
    ]
    found = levels_chart(
        name, f"Sensitivity by arm. {LONG}", points, LEVELS, Axes("arm", "sensitivity", reference=0.5), MARK
    )
    assert found is not None
    return found


def bare() -> Chart:
    """Differences without limits."""
    points = [Point(level, "blob", 0.01 * at, flag="not tested") for at, level in enumerate(LEVELS)]
    found = levels_chart("bare", "Differences", points, LEVELS, Axes("arm", "difference", None, 0.0), MARK)
    assert found is not None
    return found


def curve() -> Chart:
    """A FROC curve of two readers."""
    points = [Point(2.0**x, r, 0.5 + x / 20, 0.3, 0.9, 30, k=15) for r in ("blob", "other") for x in range(-3, 4)]
    found = scale_chart("froc", "FROC", points, Axes("false marks a scan", "sensitivity", is_log=True), MARK)
    assert found is not None
    return found


def png() -> bytes:
    """A small grey picture."""
    out = io.BytesIO()
    Image.fromarray((np.arange(64 * 80) % 256).astype(np.uint8).reshape(64, 80)).save(out, "png")
    return out.getvalue()


def every_block() -> Report:
    """One of every block, with text that is long or hostile, numbers that are missing or flagged."""
    missing = Estimate(None, n=9, flag="no negatives")
    flagged = Estimate(0.5, 0.1, 0.9, 5, 10, "fewer than 10 clusters")
    whole = Table(
        "numbers",
        ("reader", "AUC", "n", "page", HOSTILE),
        (
            ("blob", Estimate(0.912345, 0.8, 0.95, 38, 45), 45, Link("its page", "../../cases/x.html"), None),
            (HOSTILE, flagged, None, None, LONG),
            ("other", missing, 3, None, "x"),
        ),
        LONG,
    )
    folded = Table("many", ("row", "value"), tuple((i, i / 7) for i in range(60)), folded=True)
    numbers = (
        Number("blob on tissue", flagged),
        Number(HOSTILE, missing),
        Number("other", Estimate(0.7, 0.6, 0.8, 7, 10)),
    )
    pictures = (
        Picture(png(), "a slice", f"Miss. {HOSTILE}", Link("its page", "../../cases/x.html")),
        Picture(png(), "b", LONG),
    )
    sections = (
        Section("Primary endpoint", (Headline("primary", "AUC of presence", numbers),), "primary"),
        Section(HOSTILE, (Paragraph(LONG), Paragraph(HOSTILE, "warning"), Paragraph("note", "note"), whole), "planned"),
        Section("Charts", (chart(), chart("panels", ("one", "two", "three")), curve(), bare(), folded)),
        Section("Pictures", (Gallery("pictures", pictures),), "context"),
    )
    return Report("every", f"Every block {HOSTILE}", "What is shown?", (MARK, MARK), (LONG, "Split a."), sections)


def observations(n: int = 96, readers: tuple[str, ...] = ("blob", "mock"), negatives: bool = True) -> pl.DataFrame:
    """Answers of readers to slices of six sizes and five lobes under two conditions; every fifth is wrong."""
    rng, parts = np.random.default_rng(3), []
    for reader in readers:
        for condition in ("plain", "bbox"):
            shown = np.array(["present", "absent"] * (n // 2)) if negatives else np.array(["present"] * n)
            wrong = rng.random(n) < 0.2
            said = np.where(wrong == (shown == "absent"), "present", "absent")
            score = np.where(said == "present", 1.0, -1.0) * (1 + rng.random(n))
            rows = table(n, presence=shown.tolist(), answer=said.tolist(), score=score.tolist())
            parts.append(rows.with_columns(reader=pl.lit(reader), condition=pl.lit(condition)))
    at = pl.col("slice_uid").cast(pl.Int64) // 2
    levels = {"size_bucket": SIZE_BUCKETS, "lobe": LOBES, "arm": (*LEVELS, "20_30mm", "gt30mm")}
    named = {
        name: (at % len(values)).replace_strict(dict(enumerate(values)), return_dtype=pl.String).alias(name)
        for name, values in levels.items()
    }
    persons = [pl.format("{}{}", pl.lit(kind[0]), at % 12).alias(f"{kind}_person_uid") for kind in ("host", "donor")]
    return pl.concat(parts).with_columns(*named.values(), *persons)


def rows_of(seen: pl.DataFrame, name: str = "m02_size_detection_curve") -> list[MetricRow]:
    """Rows of ``metrics`` of made-up answers."""
    analysis = Analysis(name, "split", "procedural")
    return score_cells(seen, strata_of(seen, ["size_bucket", "lobe", "arm"]), load_study(load_settings()), analysis)


def mode_like(name: str, seen: pl.DataFrame) -> Report:
    """A report of made-up answers with the sections that mode and real reports share."""
    rows, study = rows_of(seen, name), load_study(load_settings())
    arms = (*LEVELS, "20_30mm", "gt30mm")
    sections = (
        headline(rows, study, exploratory=False),
        condition_section(rows, study, "procedural"),
        *(factor_section(rows, factor, arms, study, "procedural") for factor in ("size_bucket", "lobe", "arm")),
        published_section(rows),
        *metric_sections(rows, study, LOCKED, arms),
    )
    return dataclasses.replace(every_block(), name=name, title=f"Report: {name}", sections=sections)
