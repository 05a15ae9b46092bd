"""Builds the procedural donors: drawn nodules for sizes that no donor covers, marked as such everywhere.

They carry no label and belong to nobody; a trial takes them only where it says so (``donors.procedural``).
"""

from typing import Any

import numpy as np
import polars as pl

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Options, Partition, Result, Step
from itrialspace_assets.hosts.shapes import NoduleShape, draw_shape
from itrialspace_assets.hosts.store import donor_columns
from itrialspace_assets.imaging import pictures
from itrialspace_assets.imaging.anatomy import LOBES
from itrialspace_assets.imaging.volumes import Lesion
from itrialspace_assets.records.store import write_table

VERSION = "2"
#: Stands where a dataset's key does; no dataset may take the name.
PROCEDURAL = "PROCEDURAL"
SPACING_MM = 0.7
DIAMETERS_MM = (3.0, 4.0, 5.5, 7.0, 8.5, 10.5, 12.0, 13.5, 15.5, 17.0, 18.5, 21.0, 24.0, 27.0, 31.0, 35.0, 40.0)
#: (lobulation, spiculation) of the kinds that are drawn.
KINDS = {"smooth": (0.02, 0.0), "lobulated": (0.15, 0.0), "spiculated": (0.06, 0.45)}


def rows(seed: int) -> list[dict[str, Any]]:
    """The procedural donors of a root seed, as rows of ``donors``: every diameter in every kind and lobe.

    Where one lies in its lobe is drawn between 20 and 80 per cent.
    """
    out = []
    spacing = np.full(3, SPACING_MM)
    for d, diameter in enumerate(DIAMETERS_MM):
        for k, (kind, (lobulation, spiculation)) in enumerate(KINDS.items()):
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(7, d, k)))
            mask = draw_shape(NoduleShape(diameter, lobulation, spiculation), spacing, rng)
            shape = {
                "dataset": PROCEDURAL,
                "mask_from": "procedural",
                **donor_columns(Lesion((0, 0, 0), mask), spacing),
            }
            for lobe in LOBES:
                name = f"{PROCEDURAL}/{kind}_{diameter:g}mm_{lobe}"
                place = {
                    f"{a}_pct": round(float(v), 4)
                    for a, v in zip(("cc", "ml", "ap"), rng.uniform(20, 80, 3), strict=True)
                }
                out.append(shape | {"nodule_uid": name, "scan_uid": name, "person_uid": name, "lobe": lobe} | place)
    return out


def options(settings: Settings) -> Options:
    return {"seed": str(settings.seed)}


#: Runs with the index: it belongs to no dataset.
STEP = Step(("procedural_donors",), "index", (), VERSION, options)


def build(settings: Settings, partition: Partition, run_id: str) -> Result:
    """Draw the procedural donors and write them beside the others."""
    made = rows(settings.seed)
    path = write_table(settings.output, "donors", made, dataset=PROCEDURAL)
    shown = pl.DataFrame(made).unique("lesion_sha256", maintain_order=True)
    preview = pictures.markdown(
        shown.select("nodule_uid", "diameter_mm", "sphericity", "solidity", "elongation").head(12)
    )
    return Result({"donors": len(made)}, len(made), note="drawn, of nobody", preview=preview, written=(path,))
