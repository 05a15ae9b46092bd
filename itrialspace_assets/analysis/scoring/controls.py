"""Answers under controls beside the answers to the pictures themselves: which stay the same, with clustered limits.

A control changes what a reader sees or how it is asked: no picture, nothing but the box, the box on the other side, the
options in another order, other words. What follows for trust in a reader is said in ``reports/trust``.
"""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from itrialspace_assets.analysis.estimates.jackknife import of_mean
from itrialspace_assets.analysis.frozen import PICTURE, ListKey, read_list
from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.scoring.metrics import metric_rows, table_of
from itrialspace_assets.analysis.scoring.rows import Analysis, MetricRow
from itrialspace_assets.analysis.scoring.scored import Metric, coded, scored_of
from itrialspace_assets.analysis.splits import present_slices
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.readers.requests import NOTHING, given
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import read_all
from itrialspace_assets.records.tables import TASK_OPTIONS

#: What a control is to trust: it takes the picture away, leaves or moves the guidance, or should change nothing.
ControlKind = Literal["no picture", "guidance", "same question"]
#: A reader that said this under a control said something else than before.
_SAID = ("ok", "refused", "unparsed")


@dataclass(frozen=True)
class Control:
    """A control: its name in the tables, what it is, and what it shows or asks in words."""

    name: str
    kind: ControlKind
    says: str


CONTROLS = (
    Control("blank", "no picture", "a grey picture without anatomy"),
    Control("text_only", "no picture", "the question without a picture"),
    Control("box_only", "guidance", "the box or contour alone, on grey"),
    Control("contralateral_box", "guidance", "the box or contour on the other side"),
    Control("options_rotated", "same question", "the options in another order"),
    Control("prompt_paraphrase", "same question", "the question in other words"),
)


def under_controls(settings: Settings, observations: pl.DataFrame, name: str) -> pl.DataFrame:
    """Rows of ``observations`` once for each control that their reader is read under.

    Args:
        settings: which split, and where tables lie.
        observations: of ``observations.observe``, for all sources and readers of a report.
        name: of the frozen list: the mode, or real-<dataset>.

    Returns:
        The observations with ``control``, and with ``said`` and ``said_status``: answer and status under it; null where
        the reader has not been asked. Control pictures that are not in the frozen list are left out.
    """
    found = []
    for (source, reader), mine in observations.group_by("source", "reader", maintain_order=True):
        how = readers(settings)[str(reader)]
        frozen = read_list(settings, ListKey(settings.split, str(source), name)).filter(pl.col("control") != "none")
        slices = present_slices(settings, str(source), name).join(frozen, on=PICTURE, how="semi")
        pictures = given(how, slices, {}).select(*PICTURE, _shown="picture_sha256")
        asked = [pictures, *(_requests(mine, control) for control in how.controls)]
        where = {"dataset": name.removeprefix(f"{REAL}-")} if source == REAL else {}
        mode = REAL if source == REAL else name
        answers = read_all(settings.output, "answers", source=str(source), reader=str(reader), mode=mode, **where)
        said = answers.filter(pl.col("scorer") == how.scorer, pl.col("control") != "none").select(
            *PICTURE, "task", _shown="picture_sha256", said="answer", said_status="status"
        )
        found.append(
            mine.drop("control", strict=False)
            .join(pl.concat(asked), on=["slice_uid", "condition"])
            .join(said, on=[*PICTURE, "task", "_shown"], how="left")
            .drop("_shown")
        )
    return pl.concat(found) if found else observations.with_columns(said=pl.lit(None), said_status=pl.lit(None)).clear()


def _requests(observations: pl.DataFrame, control: str) -> pl.DataFrame:
    """What is asked under a control of requests, by the pictures that are shown."""
    of = observations.select("slice_uid", "condition", "picture_sha256").unique()
    if control == "text_only":
        of = of.filter(pl.col("condition") == "plain").with_columns(picture_sha256=pl.lit(NOTHING))
    return of.select("slice_uid", "condition", control=pl.lit(control), _shown="picture_sha256")


def control_rows(observations: pl.DataFrame, study: Study, analysis: Analysis) -> list[MetricRow]:
    """Rows of ``metrics``: ``unchanged_<control>`` and ``refused_<control>``, by source, reader, task and condition.

    Of slices that were answered and asked under the control. A refusal, or a text that names no option, is a changed
    answer, and ``refused_<control>`` is the share of those.

    Args:
        observations: of ``under_controls``.
        study: alpha and clusters.
        analysis: what is reported.
    """
    asked = observations.filter(pl.col("status").ne_missing("unsupported"), pl.col("said_status").is_not_null())
    if asked.is_empty():
        return []
    rows = coded(asked, study).with_columns(stratum=pl.lit("all"))
    found = []
    for task in TASK_OPTIONS:
        of_task = rows.filter(pl.col("task") == task)
        if of_task.is_empty():
            continue
        scored = scored_of(of_task, ("source", "reader", "condition", "stratum", "control"))
        used = scored.answered & scored.flags(pl.col("said_status").is_in(_SAID))
        same = scored.flags((pl.col("said_status") == "ok") & (pl.col("said") == pl.col("answer").cast(pl.String)))
        refused = scored.flags(pl.col("said_status") != "ok")
        why = "no slice was answered both ways"
        shares = (
            Metric("unchanged", of_mean(scored.clusters, same, used, why, share=True)),
            Metric("refused", of_mean(scored.clusters, refused, used, why, share=True)),
        )
        table = table_of(scored, shares, study, task).with_columns(_factor=pl.lit(0))
        found.append(table.with_columns(metric=pl.format("{}_{}", "metric", "control")).drop("control"))
    return metric_rows(found, analysis)
