"""The steps of the reports, and what decides whether a report is up to date."""

from collections.abc import Sequence

from itrialspace_assets.analysis.splits import REAL, list_path
from itrialspace_assets.analysis.study import load_study
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Inputs, Partition, Step
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.records.store import file_digests, table_files
from itrialspace_assets.synthesis.renderers import enabled
from itrialspace_assets.trials.files import load_trial

VERSION = "1"


def _inputs(settings: Settings, sources: Sequence[str], mode: str, **more: str) -> Inputs:
    files = [
        f
        for s in sources
        for t in ("slices", "predictions")
        for f in table_files(settings.output, t, source=s, mode=mode, **more)
    ]
    lists = [list_path(settings, s, f"{REAL}-{more['dataset']}" if s == REAL else mode) for s in sources]
    if mode != REAL:
        files += [
            f
            for t in ("trials", "cases", "arms", "insertions", "cts")
            for f in table_files(settings.output, t, mode=mode)
        ]
    return file_digests(settings.output, [*files, *lists]) | {
        "study": load_study(settings).sha256,
        "split": settings.split,
        "readers": digest({name: r.revision for name, r in readers(settings).items()}),
        "trial": digest(load_trial(settings, mode).model_dump(mode="json")) if mode != REAL else "",
    }


def mode_inputs(settings: Settings, partition: Partition) -> Inputs:
    return _inputs(settings, [r.name for r in enabled(settings)], partition["mode"])


def real_inputs(settings: Settings, partition: Partition) -> Inputs:
    return _inputs(settings, [REAL], REAL, dataset=partition["dataset"])


def study_inputs(settings: Settings, partition: Partition) -> Inputs:
    files = [f for table in ("metrics", "fidelity") for f in table_files(settings.output, table)]
    return file_digests(settings.output, files) | {"study": load_study(settings).sha256}


MODE_STEP = Step(("mode_report",), "report", ("mode",), VERSION, mode_inputs)
REAL_STEP = Step(("real_report",), "report", ("dataset",), VERSION, real_inputs)
STUDY_STEP = Step(("study_report",), "report", (), "2", study_inputs)
