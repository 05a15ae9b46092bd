"""An output folder with an index, a trial of six cases, their slices, two readers' answers, numbers and a catalog."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import itrialspace_assets.api as its
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.catalog import rebuild
from itrialspace_assets.imaging.pictures import png
from itrialspace_assets.index import build as index
from itrialspace_assets.profiles import build as profiles
from itrialspace_assets.records.store import read_table, write_table
from itrialspace_assets.records.tables import TABLES

from ..analysis.small_run import DATASET, MODE, READERS, SOURCE, answers, slices, write_answers, write_slices

CASES = 6
PLACE = {"analysis": MODE, "split": "demo_v1", "source": SOURCE, "task": "presence", "condition": "plain"}


def picture(number: int) -> np.ndarray:
    """Grey values that tell pictures, rows and columns apart."""
    return (np.arange(48, dtype=np.uint8).reshape(6, 8) + 10 * number).astype(np.uint8)


def _trial(settings: Settings) -> None:
    case: dict[str, Any] = {
        "mode": MODE, "trial": "size_detection_curve", "arm": "a", "cohort_mode": "cross", "host_dataset": DATASET,
        "n_nodules": 1, "lesion_free_twin": True, "attenuation": "solid", "mtf50_per_mm": 0.4, "dose": 1.0,
        "render_replicate": 0, "seed": 1, "anatomy": "procedural",
    }  # fmt: skip
    cases = [
        case
        | {"case_uid": f"size_detection_curve/a/{i:05d}", "number": i}
        | {"host_scan_uid": f"{DATASET}/s{i}", "host_person_uid": f"host/{i}"}
        for i in range(CASES)
    ]
    write_table(settings.output, "cases", cases, mode=MODE)
    trial = {"mode": MODE, "trial": "size_detection_curve", "arm": "a"}
    shares = {"marginal": "label", "status": "constrained", "standardised_difference": None}
    balance = [
        trial | shares | {"level": level, "asked_share": 0.5, "got_share": got, "asked": 3, "got": int(6 * got)}
        for level, got in (("malignant", 0.5), ("benign", 0.5))
    ]
    write_table(settings.output, "balance", balance, mode=MODE)


def _answers(settings: Settings) -> None:
    rows = slices(CASES)
    for number, path in enumerate(rows["path"].unique().sort()):
        file = settings.output / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(picture(number)))
    write_slices(settings, rows)
    # mock is right everywhere but in case 0; blob is wrong in cases 0 and 1: they differ in case 1 alone
    said = rows.with_columns(status=pl.lit("ok"), answer="presence")
    wrong = pl.when(pl.col("presence") == "present").then(pl.lit("absent")).otherwise(pl.lit("present"))
    for reader, missed in (("mock", ("00000",)), ("blob", ("00000", "00001"))):
        missing = pl.col("case_uid").str.slice(-5).is_in(missed)
        given = said.with_columns(answer=pl.when(missing).then(wrong).otherwise(pl.col("answer")))
        write_answers(settings, reader, answers(settings, reader, given))


def _numbers(settings: Settings) -> None:
    plain = read_table(settings.output, "slices", source=SOURCE, mode=MODE, dataset=DATASET).filter(condition="plain")
    behind = [
        PLACE
        | {"reader": "mock", "slice_uid": s["slice_uid"], "case_uid": s["case_uid"], "sha256": s["sha256"]}
        | {"truth": s["presence"], "answer": s["presence"], "status": "ok", "score": None}
        | {"right": True, "one_n": True, "negative": s["presence"] == "absent", "strata": ["all"]}
        | {"diameter_mm": s["diameter_mm"], "host_person_uid": s["host_person_uid"], "donor_person_uid": None}
        for s in plain.iter_rows(named=True)
    ]
    missed = [s for s in behind if s["case_uid"].endswith("00000")]
    for row in missed:
        row |= {"answer": "absent" if row["truth"] == "present" else "present", "right": False}
    write_table(settings.output, "metric_cases", behind, analysis=MODE)
    number = PLACE | {"reader": "mock", "stratum": "all", "method": "by hand", "anatomy": "procedural"}
    counts = dict.fromkeys(("n_slices", "n_pictures", "n_cases", "n_hosts", "n_donors"), CASES)
    numbers = [
        number | counts | {"metric": "sensitivity", "estimate": 5 / 6, "low": 0.4, "high": 0.98, "k": 5},
        number | counts | {"metric": "auc", "estimate": None, "flag": "no scores"},
    ]
    filled = [{c: row.get(c) for c in TABLES["metrics"].schema} | {"n_unanswered": 0} for row in numbers]
    write_table(settings.output, "metrics", filled, analysis=MODE)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> its.Root:
    folder = tmp_path_factory.mktemp("api")
    (folder / "readers.yaml").write_text(READERS)
    settings = load_settings(
        data_dir=data_root, output_dir=folder / "out", readers_config=folder / "readers.yaml", workers=1
    )
    for name in ("LUNA16", DATASET):
        profiles.build(settings, {"dataset": name})
    index.build(settings, {})
    nodules = read_table(settings.output, "nodules").select("nodule_uid", "dataset").with_row_index("x")
    points = nodules.with_columns(pl.col("x").cast(pl.Float64), y=-pl.col("x").cast(pl.Float64))
    write_table(settings.output, "nodule_map", points)
    _trial(settings)
    _answers(settings)
    _numbers(settings)
    rebuild.build(settings, {})
    return its.Root(settings)
