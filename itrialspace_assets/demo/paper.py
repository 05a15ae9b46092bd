"""A planning root of the published size: 13,140 procedural profiles with the published counts and defects.

For benchmarks and tests of the index and of planning. It has tables but no volumes: the measures of hosts and donors
that planning reads are drawn here. Everything in it is marked procedural.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.base.fingerprints import replace_file
from itrialspace_assets.base.seeds import sequence
from itrialspace_assets.base.settings import PROCEDURAL_MARK, Settings, load_settings
from itrialspace_assets.imaging.anatomy import LOBES
from itrialspace_assets.profiles.persons import alias_table
from itrialspace_assets.profiles.registry import Dataset, datasets
from itrialspace_assets.profiles.siblings import SIBLING_COLUMNS, add_siblings
from itrialspace_assets.records.store import read_table, write_table
from itrialspace_assets.records.tables import PROFILE_COLUMNS, TABLES

#: Median diameter (mm) and spread of its logarithm, and share of malignant nodules, of each dataset. LUNGx,
#: LUNA25 and NSCLCR as published (docs/facts/datasets.md#label-shares, and the LUNA25 challenge: 555 of 6,163); the
#: rest plausible.
_KIND = {
    "DLCS24": (7.0, 0.55, 0.12),
    "LUNA25": (7.0, 0.5, 555 / 6163),
    "LUNA16": (6.4, 0.5, 0.0),
    "LUNGx": (14.0, 0.45, 0.494),
    "LNDbv4": (5.0, 0.5, 0.2),
    "NSCLCR": (52.0, 0.35, 1.0),
    "IMDCT": (16.0, 0.4, 0.7),
}
#: Nodules of a scan, on average; scans of a person, at most.
_PER_SCAN = {"DLCS24": 1.54, "LUNA25": 1.51, "LUNA16": 1.97, "LUNGx": 1.2, "LNDbv4": 3.6, "NSCLCR": 1.0, "IMDCT": 1.0}
_LOBE_SHARES = (0.28, 0.16, 0.30, 0.08, 0.18)  # in the order of LOBES (docs/facts/trials.md#sites)
#: Median radius (mm) of the largest sphere in each lobe, in the order of LOBES; ours, plausible.
_FIT_RADIUS = (36.0, 38.0, 36.0, 25.0, 38.0)


def make_profiles(name: str, entry: Dataset, seed: int = 42) -> pl.DataFrame:
    """A profile CSV of the published number of rows, under the published column names.

    Args:
        name: one of the published datasets.
        entry: its entry in the registry.
        seed: root of every draw.
    """
    n = entry.release_rows or 0
    rng = np.random.default_rng(sequence(seed, *name.encode()))
    median, spread, malignant = _KIND[name]
    scans = max(1, round(n / _PER_SCAN[name]))
    scan = np.sort(np.concatenate([np.arange(scans), rng.integers(0, scans, n - scans)])) if scans < n else np.arange(n)
    person = scan // 2 if name == "LUNA25" else scan
    diameter = np.round(np.clip(np.exp(rng.normal(np.log(median), spread, n)), 2.6, 130), 4)
    lobe = rng.choice(len(LOBES), n, p=_LOBE_SHARES)
    names = np.array(LOBES)[lobe]
    side = np.where(lobe < 2, "left", "right")
    pct = {a: np.round(rng.uniform(2, 98, n), 4) for a in ("cc", "ml", "ap")}
    lung = {a: np.round(rng.uniform(2, 98, n), 4) for a in ("cc", "ml", "ap")}
    zone = np.array(["lower_zone", "middle_zone", "upper_zone"])[np.minimum(2, (lung["cc"] // (100 / 3)).astype(int))]
    pleural = np.round(rng.gamma(2.0, 6.0, n), 4)
    centre = {
        "x": np.where(lobe < 2, -1, 1) * rng.uniform(25, 130, n),
        "y": rng.uniform(-90, 90, n),
        "z": rng.uniform(-260, -20, n),
    }
    centre = {a: np.round(v, 4) for a, v in centre.items()}
    ids = _ids(name, scan)
    siblings = add_siblings(pl.DataFrame({"scan": scan, "id": ids, **centre, "lung_side": side, "lobe_name": names}))
    columns: dict[str, Any] = {
        "ct_path": [f"{name}/{name}_{s:05d}.nii.gz" for s in scan],
        **{f"coord{a.upper()}": v for a, v in centre.items()},
        **{c: np.round(diameter * rng.uniform(0.85, 1.25, n), 4) for c in "whd"},
        "nodule_mean_diam_mm": diameter,
        "nodule_vol_mm3": np.round(np.pi / 6 * diameter**3, 4),
        "organ_label_id": np.array([28, 29, 30, 31, 32])[lobe],
        "organ_label_name": names,
        "nearby_organs_10mm": names,
        "lung_side": side,
        "lobe_name": names,
        "lung_zone": zone,
        "central_peripheral": np.where(pleural <= 10, "peripheral", "central"),
        "cranio_caudal_pct": lung["cc"],
        "mediolateral_pct": lung["ml"],
        "anteroposterior_pct": lung["ap"],
        **{
            f"dist_to_{o}_mm": np.round(rng.uniform(8, 160, n), 4)
            for o in ("trachea", "aorta", "heart", "esophagus", "pulmonary_vein", "superior_vena_cava")
        },
        "pleural_distance_mm": pleural,
        "airway_distance_mm": np.round(rng.uniform(4, 110, n), 4),
        **{c: siblings[c] for c in SIBLING_COLUMNS},
        "reinsertion_lobe": names,
        "reinsertion_lung_side": side,
        "reinsertion_lung_zone": zone,
        **{f"reinsertion_lung_{a}_pct": lung[a] for a in lung},
        "reinsertion_pleural_dist_mm": pleural,
        "reinsertion_nodule_diam_mm": diameter,
    }
    columns["reinsertion_airway_dist_mm"] = columns["airway_distance_mm"]
    if name == "DLCS24":  # the published defect: 93 % of ml and 50.7 % of ap lie outside the lobe's box
        pct["ml"] = _spoiled(pct["ml"], 0.93, rng)
        pct["ap"] = _spoiled(pct["ap"], 0.507, rng)
    for a, values in pct.items():
        columns[f"lobe_{a}_pct"] = columns[f"reinsertion_lobe_{a}_pct"] = values
    frame = pl.DataFrame({c.name: columns[c.name] for c in PROFILE_COLUMNS})
    return frame.with_columns(**_native(name, entry, scan, person, ids, rng.random(n) < malignant, rng))


def _ids(name: str, scan: npt.NDArray[np.int64]) -> list[str]:
    number = pl.Series(scan).to_frame("s").select(pl.int_range(1, pl.len() + 1).over("s")).to_series()
    return [f"{name}_{s:05d}" if name == "IMDCT" else f"{name}_{s:05d}_{k}" for s, k in zip(scan, number, strict=True)]


def _spoiled(values: npt.NDArray[np.float64], share: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Move a share of percentages (rounded to whole rows) out of 0-100."""
    at = rng.permutation(len(values))[: round(share * len(values))]
    out = values.copy()
    out[at] = np.round(rng.choice([-1, 1], len(at)) * rng.uniform(101, 400, len(at)), 4)
    return out


def _native(
    name: str,
    entry: Dataset,
    scan: npt.NDArray[np.int64],
    person: npt.NDArray[np.int64],
    ids: list[str],
    cancer: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> dict[str, Any]:
    n = len(ids)
    columns: dict[str, Any] = {}
    if entry.patient:
        columns[entry.patient] = [f"{name}-P{p:05d}" for p in person]
    if entry.scan_person:
        series = sorted(alias_table("lidc_series_patients"))
        columns[entry.scan_person] = [series[s % len(series)] for s in scan]
    if entry.annotation:
        columns[entry.annotation] = ids
    if entry.lesion:
        columns[entry.lesion] = [f"L{k % 7}" if name == "LUNA25" else f"{i}" for k, i in enumerate(ids)]
    rule = entry.label
    if rule and rule.column:
        if rule.rule == "words":
            columns[rule.column] = np.where(cancer, "Cancer", "benign")
        elif rule.rule == "at_least":  # readers' means in quarters, some of exactly 3
            columns[rule.column] = np.where(cancer, rng.integers(12, 21, n) / 4, rng.integers(4, 12, n) / 4)
        else:
            columns[rule.column] = cancer.astype(int)
    d = entry.demographics
    age = np.random.default_rng(7).integers(55, 75, int(person.max()) + 1)[person]
    sex = np.random.default_rng(8).integers(0, 2, int(person.max()) + 1)[person]
    if d.age:
        columns[d.age] = age
    if d.sex:
        columns[d.sex] = np.array(["Male", "Female"] if name == "DLCS24" else ["M", "F"])[sex]
    if d.smoking:
        columns[d.smoking] = np.array(["Current", "Former", "Unknown"])[
            np.random.default_rng(9).integers(0, 3, int(person.max()) + 1)[person]
        ]
    return {k: pl.Series(k, v) for k, v in columns.items()}


def _list(values: list[int]) -> pl.Expr:
    return pl.lit(pl.Series([values], dtype=pl.List(pl.Int64))).first()


def write_root(data: Path, seed: int = 42) -> None:
    """Write the seven profile tables and the mark ``PROCEDURAL.json`` below ``data``; no volume."""
    for name, entry in list(datasets(load_settings()).items())[:7]:
        replace_file(entry.profile_csv(data), make_profiles(name, entry, seed).write_csv().encode())
    note = {
        "anatomy": "procedural",
        "note": "tables for planning, drawn; no volumes",
        "options": {"seed": seed},
        "files": {},
    }
    replace_file(data / PROCEDURAL_MARK, json.dumps(note, indent=1).encode())


def write_hosts_and_donors(settings: Settings, seed: int = 42) -> None:
    """Write ``hosts``, ``host_lobes`` and ``donors`` for every scan and nodule of ``profiles`` (drawn, not
    measured)."""
    for name in list(datasets(settings))[:7]:
        profiles = read_table(settings.output, "profiles", dataset=name)
        scans = profiles.group_by("scan_uid", maintain_order=True).agg(
            pl.col("dataset", "person_uid", "age", "sex", "smoking", "anatomy").first()
        )
        rng = np.random.default_rng(sequence(seed, 9, *name.encode()))
        n, size = scans.height, rng.normal(1.0, 0.12, scans.height).clip(0.7, 1.4)
        spacing = {f"spacing_{a}": pl.lit(v) for a, v in zip("xyz", (0.7, 0.7, 1.25), strict=True)}
        origin = {f"origin_{a}": pl.lit(0.0) for a in "xyz"}
        whole = _list([0, 512, 0, 512, 0, 256])
        hosts = scans.with_columns(
            map_sha256=pl.lit("0" * 64),
            room_sha256=pl.lit(None, pl.String),
            shape=_list([512, 512, 256]),
            lung_box=whole,
            native_nodules=pl.lit(0, pl.Int64),
            cleared=pl.lit('[[0,0,0],[0,0,0],"eJwDAAAAAAE="]'),
            **spacing,
            **origin,
        )
        lobes = pl.concat(
            scans.select("scan_uid", "dataset").with_columns(
                lobe=pl.lit(lobe),
                voxels=pl.lit(2_000_000, pl.Int64),
                box=whole,
                occupied=_list([0, 255]),
                fit_radius_mm=pl.Series(np.round(radius * size * rng.normal(1, 0.08, n).clip(0.7, 1.3), 4)),
            )
            for lobe, radius in zip(LOBES, _FIT_RADIUS, strict=True)
        )
        donors = profiles.select("nodule_uid", "dataset", "scan_uid", "person_uid").with_columns(
            lesion=pl.lit('[[0,0,0],[1,1,1],"eJxrAAAAgQCB"]'),
            **spacing,
            voxels=pl.lit(1, pl.Int64),
            volume_mm3=profiles["nodule_vol_mm3"],
            diameter_mm=profiles["reinsertion_nodule_diam_mm"],
            sphericity=pl.lit(0.9),
            solidity=pl.lit(0.9),
            elongation=pl.lit(1.2),
            longest_mm=profiles["reinsertion_nodule_diam_mm"] * 1.2,
            reach_mm=profiles["reinsertion_nodule_diam_mm"] * 0.6,
            lesion_sha256=pl.lit("0" * 64),
            mask_from=pl.lit("nodule_seg"),
            lobe=profiles["reinsertion_lobe"],
            **{f"{a}_pct": pl.Series(np.round(rng.uniform(2, 98, profiles.height), 4)) for a in ("cc", "ml", "ap")},
        )
        for table, frame in (("hosts", hosts), ("host_lobes", lobes), ("donors", donors)):
            schema = TABLES[table].schema
            write_table(
                settings.output, table, frame.select(pl.col(c).cast(t) for c, t in schema.items()), dataset=name
            )
