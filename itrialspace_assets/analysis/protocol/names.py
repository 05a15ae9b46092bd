"""Names of metrics that a study may ask for, by task, and of what negatives there are.

``scoring`` makes these metrics; a test compares. Here, because a study is checked before anything is scored.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Literal, get_args

from itrialspace_assets.records.tables import PICTURE_CONTROLS, REQUEST_CONTROLS, TASKS

StudyTask = Literal["presence", "lobe", "size", "malignancy", "detection"]
Negative = Literal["twin", "level", "clean_scan"]
ControlName = Literal["blank", "box_only", "contralateral_box", "text_only", "options_rotated", "prompt_paraphrase"]
assert (
    set(get_args(StudyTask)) == {*TASKS, "detection"} and get_args(ControlName) == PICTURE_CONTROLS + REQUEST_CONTROLS
)

#: Ends the name of a metric over the slices that got an answer alone.
DROPPED = "_refused_dropped"
_BINARY = (
    *("auc", "auc_refused_dropped", "auc_refused_half", "sensitivity_at_specificity_0.9"),
    *("sensitivity", "specificity", "balanced_accuracy", "accuracy", "accuracy_one_n", "ppv", "npv"),
    *("brier", "calibration_error", "calibration_slope"),
)
_CLASSES = ("accuracy", "accuracy_one_n", "macro_recall", "macro_f1")
_RATES = ("0.125", "0.25", "0.5", "1", "2", "4", "8")
#: Metrics that a study may ask for, by task. Baselines (``accuracy_majority``) and ``answer_entropy`` are shown beside
#: them and are no endpoints.
METRICS: Mapping[StudyTask, tuple[str, ...]] = {
    "presence": _BINARY,
    "malignancy": _BINARY,
    "lobe": _CLASSES,
    "size": (*_CLASSES, "weighted_kappa", "bin_error", "error_mm"),
    "detection": (
        *(f"froc_{rate}" for rate in _RATES),
        *(f"fp_per_lesion_free_scan_{rate}" for rate in _RATES),
        *("cpm", "afroc", "wafroc", "sensitivity_at_1_fp_per_lesion_free_scan"),
    ),
}
#: Metrics of two options whose names hold a number: predictive values at a prevalence that a trial's weights stand for.
_WEIGHTED = re.compile(r"[pn]pv_prevalence=0?\.\d+")


def wrong_metric(task: StudyTask, metric: str) -> str | None:
    """What is wrong with the metric of a task, with the nearest that there is; None: nothing.

    Args:
        task: what is asked.
        metric: name in the table ``metrics``.
    """
    known = METRICS[task]
    if metric in known or (known is _BINARY and _WEIGHTED.fullmatch(metric)):
        return None
    near = difflib.get_close_matches(metric, known, 1, 0.5)
    hint = f"; did you mean {near[0]!r}" if near else ""
    return f"{metric!r} is no metric of {task}{hint}; expected one of {', '.join(known)}"
