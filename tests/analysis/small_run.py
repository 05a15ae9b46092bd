"""A run of a few slices, written as its tables alone: pictures are names, answers are what a test says."""

import hashlib
from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets.analysis.frozen import ListKey, freeze
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.readers.requests import NOTHING
from itrialspace_assets.records.store import write_table
from itrialspace_assets.records.tables import TABLES

MODE, DATASET, SOURCE = "m02_size_detection_curve", "LUNA25", "tissue"
READERS = """
readers:
  mock:
    kind: mock
    enabled: true
    tasks: [presence]
    controls: [text_only, options_rotated, prompt_paraphrase]
    prompts: {presence: {id: p, text: "Is there a nodule? {options}", paraphrase: "A nodule? {options}"}}
"""


def sha(*words: object) -> str:
    return hashlib.sha256("|".join(map(str, words)).encode()).hexdigest()


def run_settings(folder: Path, readers_yaml: str = READERS) -> Settings:
    """Settings of an empty run in a folder."""
    (folder / "data" / "profiles").mkdir(parents=True, exist_ok=True)
    (folder / "readers.yaml").write_text(readers_yaml)
    return load_settings(
        data_dir=folder / "data", output_dir=folder / "out", readers_config=folder / "readers.yaml", workers=1
    )


def slices(cases: int, pictures: str = "", controls: tuple[tuple[str, str], ...] = ()) -> pl.DataFrame:
    """A lesion's slice and its twin's for each case, plain and boxed.

    Args:
        cases: how many; every case has a host and a donor of its own.
        pictures: another text gives other pictures.
        controls: (control, condition) of further pictures.
    """
    rows = []
    for case in range(cases):
        for presence in ("present", "absent"):
            target = sha("target", case, presence)[:32]
            for control, condition in (("none", "plain"), ("none", "bbox"), *controls):
                picture = sha("picture", case, presence, condition, control, pictures)
                rows.append(_slice(case, presence, target, control, condition, picture))
    table = TABLES["slices"]
    return pl.DataFrame(rows, schema=table.schema)


def _slice(case: int, presence: str, target: str, control: str, condition: str, picture: str) -> dict[str, Any]:
    shown = presence == "present"
    return {
        "slice_uid": sha("slice", target)[:32], "target_uid": target, "condition": condition, "control": control,
        "source": SOURCE, "mode": MODE, "dataset": DATASET, "case_uid": f"size_detection_curve/a/{case:05d}",
        "image_uid": sha("image", case, presence)[:32], "published_id": f"{MODE}/C{case:04d}_{presence}",
        "path": f"store/slices/{picture}.png", "sha256": picture, "profile": "lung_axial", "slice_z": 4, "z_offset": 0,
        "pixel_x_mm": 0.7, "pixel_y_mm": 0.7, "width": 8, "height": 8, "affine": [0.0] * 12, "presence": presence,
        "lobe": "left_lung_upper_lobe" if shown else None, "size_class": "5-10mm" if shown else None,
        "size_bucket": "5-10mm" if shown else None, "diameter_mm": 7.0 if shown else None, "target_pixels": 9,
        "negative_type": None if shown else "twin", "guidance_site": "lesion" if shown else "cleared_lesion",
        "guidance_covers_target": False, "pair_uid": f"pair/{case}", "paired": True, "other_lesions_in_slice": False,
        "host_person_uid": f"host/{case}", "donor_person_uid": f"donor/{case}", "arm": "a", "anatomy": "procedural",
    }  # fmt: skip


def write_slices(settings: Settings, rows: pl.DataFrame) -> None:
    """Write ``slices`` and freeze their list."""
    write_table(settings.output, "slices", rows, source=SOURCE, mode=MODE, dataset=DATASET)
    freeze(settings, ListKey(settings.split, SOURCE, MODE), rows, "all")


def answers(settings: Settings, reader: str, said: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``answers`` about presence.

    Args:
        settings: which readers there are.
        reader: who answers.
        said: rows of slices with the ``control`` that was asked, ``answer`` and ``status``; ``score`` if there is one.
    """
    scorer = readers(settings)[reader].scorer
    text_only = pl.col("control") == "text_only"
    score = pl.col("score") if "score" in said.columns else pl.lit(None, pl.Float64)
    return said.select(
        "target_uid", "slice_uid", "profile", z_offsets=pl.lit("0"), condition="condition", control="control",
        task=pl.lit("presence"), scorer=pl.lit(scorer), source="source", reader=pl.lit(reader), mode="mode",
        dataset="dataset", generation_key=pl.lit("key"),
        picture_sha256=pl.when(text_only).then(pl.lit(NOTHING)).otherwise(pl.col("sha256")),
        scorer_version=pl.lit("1"), answer="answer", score=score, status="status",
        reason=pl.when(pl.col("status") != "ok").then(pl.lit("said no option")),
    )  # fmt: skip


def write_answers(settings: Settings, reader: str, rows: pl.DataFrame) -> None:
    write_table(settings.output, "answers", rows, source=SOURCE, reader=reader, mode=MODE, dataset=DATASET)
