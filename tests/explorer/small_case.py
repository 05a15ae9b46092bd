"""A case of one nodule on the small chest, inserted and rendered, as the tables and files of an output folder."""

from pathlib import Path
from typing import Any

from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.hosts.store import prepare_host
from itrialspace_assets.insertion.insert import insert_case
from itrialspace_assets.records.store import write_table
from itrialspace_assets.synthesis import rendering
from itrialspace_assets.synthesis.acquisition import STANDARD
from itrialspace_assets.synthesis.case import RenderCase
from itrialspace_assets.synthesis.rendering import render_case

from ..conftest import small_chest
from ..insertion.test_insert import insertion_case, nodule

PAIR = {"mode": "x_t", "dataset": "D"}


def write_case(folder: Path, cts: str = "nifti") -> tuple[Settings, str]:
    """The settings of a fresh root and the ``case_uid``; ``cts`` is how images are kept."""
    settings = load_settings(data_dir=folder, output_dir=folder / cts, cts=cts, workers=1)
    (folder / "profiles").mkdir(parents=True)
    made = prepare_host(settings, small_chest(), "D/s", "procedural")
    planned = insertion_case(made, [nodule(0, 8)], 0)
    insertions = insert_case(planned, settings).rows["insertions"]
    write_table(settings.output, "insertions", insertions, **PAIR)
    case: dict[str, Any] = {
        "case_uid": planned.case_uid,
        "mode": "x_t",
        "trial": "t",
        "arm": "a",
        "number": 0,
        "cohort_mode": "cross",
        "host_dataset": "D",
        "host_scan_uid": "D/s",
        "host_person_uid": "D/h",
        "n_nodules": 1,
        "lesion_free_twin": True,
        "attenuation": "solid",
        "mtf50_per_mm": 0.4,
        "dose": 1.0,
        "render_replicate": 0,
        "seed": planned.seed,
        "anatomy": "procedural",
    }
    write_table(settings.output, "cases", [case], mode="x_t")
    host = {"scan_uid": "D/s", "dataset": "D", "person_uid": "D/h", "anatomy": "procedural"}
    write_table(settings.output, "hosts", [host | made.columns], dataset="D")
    rendered = RenderCase(
        case_uid=planned.case_uid,
        source="tissue",
        mode="x_t",
        dataset="D",
        map_sha256=made.columns["map_sha256"],
        lesions=(insertions[0]["lesion"],),
        anatomy="procedural",
        attenuation="solid",
        acquisition=STANDARD,
        seed=42,
    )
    rendering._TWINS.clear()
    write_table(settings.output, "cts", render_case(rendered, settings).rows["cts"], source="tissue", **PAIR)
    return settings, planned.case_uid
