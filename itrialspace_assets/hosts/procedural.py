"""Builds the procedural donors: drawn nodules for sizes that no donor covers, marked as such everywhere.

They have no label and no person; a trial takes them only where it says so (``donors.procedural``).
"""

from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl

from itrialspace_assets.base.seeds import sequence
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Options, Partition, Result, Step
from itrialspace_assets.hosts.rows import DonorRow
from itrialspace_assets.hosts.shapes import NoduleShape, draw_shape
from itrialspace_assets.hosts.store import donor_columns
from itrialspace_assets.imaging import pictures
from itrialspace_assets.imaging.anatomy import LOBES
from itrialspace_assets.imaging.lesions import Lesion
from itrialspace_assets.records.layout import PROCEDURAL
from itrialspace_assets.records.store import write_table

VERSION = "2"
#: Edge (mm) of the cubic voxels that they are drawn on; ours.
SPACING_MM = 0.7
#: Two or three diameters (mm) in each size bucket; ours.
DIAMETERS_MM = (3.0, 4.0, 5.5, 7.0, 8.5, 10.5, 12.0, 13.5, 15.5, 17.0, 18.5, 21.0, 24.0, 27.0, 31.0, 35.0, 40.0)
#: (lobulation, spiculation) of the kinds that are drawn; ours.
KINDS = {"smooth": (0.02, 0.0), "lobulated": (0.15, 0.0), "spiculated": (0.06, 0.45)}
#: Percentages of a lobe's box between which a place is drawn; ours.
PLACES_PCT = (20, 80)
#: First key of the seeds of these draws.
_SEED_KEY = 7


def rows(seed: int) -> list[dict[str, Any]]:
    """The procedural donors of a root seed, as rows of ``donors``: every diameter in every kind and lobe."""
    out = []
    spacing = np.full(3, SPACING_MM)
    for d, diameter in enumerate(DIAMETERS_MM):
        for k, (kind, (lobulation, spiculation)) in enumerate(KINDS.items()):
            rng = np.random.default_rng(sequence(seed, _SEED_KEY, d, k))
            mask = draw_shape(NoduleShape(diameter, lobulation, spiculation), spacing, rng)
            lesion = donor_columns(Lesion((0, 0, 0), mask), spacing)
            for lobe in LOBES:
                name = f"{PROCEDURAL}/{kind}_{diameter:g}mm_{lobe}"
                cc, ml, ap = (round(float(v), 4) for v in rng.uniform(*PLACES_PCT, 3))
                row = DonorRow(
                    **lesion,
                    nodule_uid=name,
                    dataset=PROCEDURAL,
                    scan_uid=name,
                    person_uid=name,
                    mask_from="procedural",
                    lobe=lobe,
                    cc_pct=cc,
                    ml_pct=ml,
                    ap_pct=ap,
                )
                out.append(asdict(row))
    return out


def options(settings: Settings) -> Options:
    return {"seed": str(settings.seed)}


#: Runs with the index: it belongs to no dataset.
STEP = Step(("procedural_donors",), "index", (), VERSION, options)


def build(settings: Settings, partition: Partition, run_id: str) -> Result:
    """Draw the procedural donors and write them beside the others.

    Args:
        settings: data root, outputs and seed.
        partition: empty: the asset has none.
        run_id: of the run that builds it.
    """
    made = rows(settings.seed)
    path = write_table(settings.output, "donors", made, dataset=PROCEDURAL)
    shown = pl.DataFrame(made).unique("lesion_sha256", maintain_order=True)
    preview = pictures.markdown(
        shown.select("nodule_uid", "diameter_mm", "sphericity", "solidity", "elongation").head(12)
    )
    return Result(
        {"donors": len(made)}, len(made), note="drawn; without a person or a label", preview=preview, written=(path,)
    )
