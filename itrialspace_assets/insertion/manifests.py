"""Inserts published manifests, ours or the original's, straight from their files: no graph, no index.

A manifest names a label map, a donor mask and a place for every row (docs/facts/insertion.md#manifest-columns). Hosts
and donors are
prepared once each, cases run as in the graph, and the result lies in the published layout with its
``audit.json``. The CT is never needed. A rerun goes on where the last one stopped.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import polars as pl

from itrialspace_assets.base.errors import CaseRejected, ConfigError, Reason
from itrialspace_assets.base.fingerprints import FileHashes, digest, link_file, replace_file
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework import journal, workers
from itrialspace_assets.casework.cases import Case, Output, Rejection, require_all
from itrialspace_assets.hosts.store import donor_columns, prepare_host
from itrialspace_assets.imaging.anatomy import LOBE_NAMES, lobe_label
from itrialspace_assets.imaging.geometry import read_labels, read_volume
from itrialspace_assets.imaging.volumes import cut_lesion
from itrialspace_assets.insertion.audit import audit, audit_record
from itrialspace_assets.insertion.build import VERSION, case_of, donor_part
from itrialspace_assets.insertion.insert import insert_case
from itrialspace_assets.records.layout import case_key

#: Columns without which a row says nothing.
NEEDED = (
    "case_id",
    "host_organ_seg_path",
    "donor_nodule_mask_path",
    "insertion_lobe",
    "insertion_lobe_cc_pct",
    "insertion_lobe_ml_pct",
    "insertion_lobe_ap_pct",
)
#: Columns that have a default where a manifest lacks them (published).
DEFAULTS: dict[str, Any] = {
    "nodule_idx": 0,
    "scale_factor": 1.0,
    "trial_name": "unnamed",
    "host_patient_id": "",
    "host_dataset": "",
    "donor_dataset": "",
    "donor_annotation_id": "",
    "host_ct_path": None,
    "donor_ct_path": None,
    "label": None,
    "effective_diam_mm": None,
    "present": "true",
    "placement": None,
    "asked_pleural_mm": None,
    "asked_airway_mm": None,
    "margin_mm": 1.0,
    "rotation_x_deg": 0.0,
    "rotation_y_deg": 0.0,
    "rotation_z_deg": 0.0,
    "mirrored": "false",
    "seed": None,
    "relaxations": "",
    "companion_group_id": None,
    "kept": "false",
}
_NUMBERS = (
    "nodule_idx",
    "scale_factor",
    "label",
    "effective_diam_mm",
    "asked_pleural_mm",
    "asked_airway_mm",
    "margin_mm",
    "rotation_x_deg",
    "rotation_y_deg",
    "rotation_z_deg",
    "insertion_lobe_cc_pct",
    "insertion_lobe_ml_pct",
    "insertion_lobe_ap_pct",
)


#: What planning writes beside its manifests.
BESIDE = ("arms.csv", "balance.csv", "trial.json")
_FLAGS, _TRUE, _FALSE = ("present", "mirrored", "kept"), ("true", "1", "yes"), ("false", "0", "no")


@dataclass(frozen=True)
class Inserted:
    """What became of one manifest: where it lies, its records, and its rows of ``insertions``."""

    folder: Path
    records: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    computed: int

    @property
    def failed(self) -> list[dict[str, Any]]:
        return [r for r in self.records if r["status"] == "failed"]


def read_manifest(path: Path) -> list[dict[str, Any]]:
    """The rows of a manifest (CSV, or JSON: a list, or an object with ``cases``), numbers as numbers, gaps filled.

    Raises:
        ConfigError: no such file, neither format, or a column is missing; names file and column.
    """
    try:
        if path.suffix == ".json":
            tree = json.loads(path.read_text(encoding="utf-8"))
            raw = tree["cases"] if isinstance(tree, dict) else tree
            frame = pl.DataFrame(raw, infer_schema_length=None).with_columns(pl.all().cast(pl.String))
        else:
            frame = pl.read_csv(path, infer_schema=False)
    except FileNotFoundError:
        raise ConfigError(f"{path}: expected a manifest (CSV or JSON), found none") from None
    except (ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        raise ConfigError(f"{path}: expected a manifest (CSV or JSON), got {error}") from None
    if lost := [c for c in NEEDED if c not in frame.columns]:
        raise ConfigError(f"{path}: expected the columns {', '.join(NEEDED)}; {', '.join(lost)} missing")
    for name, value in DEFAULTS.items():
        column = pl.col(name) if name in frame.columns else pl.lit(None, pl.String)
        frame = frame.with_columns((column if value is None else column.fill_null(str(value))).alias(name))
    values = (pl.col(c).cast(pl.Float64, strict=False) for c in _NUMBERS)
    frame = frame.with_columns(
        *(pl.when(v.is_finite()).then(v).alias(c) for c, v in zip(_NUMBERS, values, strict=True)),
        pl.col("seed").cast(pl.Int64, strict=False),
        *(pl.col(c).str.strip_chars().str.to_lowercase().alias(c) for c in _FLAGS),
    )
    for name in _FLAGS:
        if strange := sorted(set(frame[name]) - set(_TRUE) - set(_FALSE)):
            raise ConfigError(f"{path}: {name}: expected true or false, got {strange[0]!r}")
        frame = frame.with_columns(pl.col(name).is_in(_TRUE))
    rows = frame.to_dicts()
    if any(r["nodule_idx"] is None or r["nodule_idx"] < 0 or r["nodule_idx"] % 1 or r["case_id"] is None for r in rows):
        raise ConfigError(f"{path}: expected a case_id and a whole number as nodule_idx in every row")
    keys = [(r["case_id"], r["nodule_idx"]) for r in rows]
    if len(set(keys)) != len(keys):
        twice = next(k for k in keys if keys.count(k) > 1)
        raise ConfigError(f"{path}: expected each case_id and nodule_idx once, got {twice} again")
    return rows


def manifests_among(paths: Sequence[Path]) -> list[Path]:
    """Those of some files that are manifests: not what planning writes beside them, nor the JSON of a CSV.

    Raises:
        ConfigError: none is.
    """
    tables = {p.with_suffix("") for p in paths if p.suffix == ".csv"}
    kept = [p for p in paths if p.name not in BESIDE and not (p.suffix == ".json" and p.with_suffix("") in tables)]
    if not kept:
        raise ConfigError(f"expected a manifest, got {', '.join(p.name for p in paths) or 'nothing'}")
    return kept


def place_of(manifest: Path) -> tuple[str, str]:
    """(mode folder, folder of the manifest below it) in the published layout."""
    parts = manifest.absolute().with_suffix("").parts
    if above := [i for i, part in enumerate(parts[:-2]) if part == "manifests"]:
        inner = parts[above[-1] + 1 :]
        return inner[0], "/".join(inner[1:])
    return "own", manifest.stem


def _find(base: Path, text: str | None) -> Path | None:
    """A path of a manifest: as it is if absolute, else below ``base``."""
    if not text:
        return None
    path = Path(text)
    if not path.is_absolute() and ".." in path.parts:
        return None
    return path if path.is_absolute() else base / path


def prepare_map(payload: dict[str, Any], settings: Settings) -> Output:
    """A host's columns and lobes, its map put into the store.

    Raises:
        CaseRejected: the map is missing, unreadable, oblique, no label map, or holds no lobe.
    """
    made = prepare_host(settings, read_labels(Path(payload["path"])), payload["name"], payload["anatomy"])
    return Output({"hosts": [{"name": payload["name"], "host": made.columns, "lobes": made.lobes}]}, made.files)


def prepare_donor(payload: dict[str, Any], settings: Settings) -> Output:
    """A donor's voxels and what they are like.

    Raises:
        CaseRejected: the mask is missing, unreadable, oblique or empty.
    """
    volume = read_volume(Path(payload["path"]))
    mask = np.nan_to_num(volume.array) > 0 if volume.array.dtype.kind == "f" else volume.array > 0
    if not mask.any():
        raise CaseRejected(Reason.EMPTY_LESION, f"{payload['path']}: expected at least one nodule voxel, got none")
    grid = {
        "shape": list(mask.shape),
        **{f"origin_{a}": round(float(v), 6) for a, v in zip("xyz", volume.affine[:3, 3], strict=True)},
    }
    return Output({"donors": [{"name": payload["name"]} | grid | donor_columns(cut_lesion(mask), volume.spacing)]})


def insert_manifests(
    paths: Sequence[Path],
    settings: Settings,
    base: Path,
    progress: Callable[[str, int], Any],
) -> Iterator[Inserted]:
    """Insert manifests one after the other; hosts and donors are shared among them.

    Args:
        paths: the manifests.
        settings: outputs, workers, placement rules, how masks are kept.
        base: folder that relative paths of the manifests start from.
        progress: context manager of a title and a total, gives what to tell how many are done.

    Raises:
        ConfigError: before any work: a manifest cannot be read, or two would write to one folder.
    """
    manifests = {path: read_manifest(path) for path in paths}
    places: dict[tuple[str, str], Path] = {}
    for path in paths:
        if (other := places.setdefault(place_of(path), path)) != path:
            raise ConfigError(f"{path}: its masks would lie in the same folder as those of {other}")
    every = [r for rows in manifests.values() for r in rows if r["present"]]
    hosts = _prepared(
        prepare_map,
        "hosts",
        [r["host_organ_seg_path"] for rows in manifests.values() for r in rows],
        base,
        settings,
        progress,
    )
    donors = _prepared(prepare_donor, "donors", [r["donor_nodule_mask_path"] for r in every], base, settings, progress)
    for path, rows in manifests.items():
        yield _insert_one(path, rows, hosts, donors, settings, progress)


def _prepared(
    work: workers.Work,
    what: str,
    texts: Sequence[str | None],
    base: Path,
    settings: Settings,
    progress: Callable[[str, int], Any],
) -> dict[str, dict[str, Any] | Rejection]:
    """What ``work`` made of each path that manifests name, or why it made nothing."""
    named = {t: _find(base, t) for t in sorted({str(t or "") for t in texts})}
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        cases = [
            Case(
                text,
                digest([VERSION, what, text, _content(hashes, path)]),
                text,
                {"path": str(path), "name": text, "anatomy": settings.anatomy},
            )
            for text, path in named.items()
            if path is not None
        ]
    folder = journal.journal_dir(settings, "insert-manifests", what)
    todo = journal.pending(settings, cases, folder)
    with progress(what, len(todo)) as advance:
        workers.run(work, todo, settings, folder / f"{uuid4().hex[:8]}.jsonl", advance)
    made = journal.collect(settings, cases, folder)
    require_all(made, what)
    found: dict[str, dict[str, Any] | Rejection] = {
        r.uid: replace(r, detail=r.detail.replace(f"{base}/", "").replace(str(base), base.name)) for r in made.rejected
    }
    found |= {row["name"]: row for row in made.rows.get(what, [])}
    for text, path in named.items():
        if path is None:
            found[text] = Rejection(
                text, Reason.MISSING_FILE, f"{text!r}: expected a path that does not leave {base.name}"
            )
    return found


def _content(hashes: FileHashes, path: Path) -> str | None:
    """Hash of a file; of what is no file, nothing: reading it will say why."""
    try:
        return hashes.get(path)
    except OSError:
        return None


def _insert_one(
    path: Path,
    rows: list[dict[str, Any]],
    hosts: dict[str, Any],
    donors: dict[str, Any],
    settings: Settings,
    progress: Callable[[str, int], Any],
) -> Inserted:
    mode, folder = place_of(path)
    name = f"{mode}/{folder}"
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(str(row["case_id"]), []).append(row)
    cases: list[Case] = []
    reasons: dict[tuple[str, int], str] = {}
    for case_id, group in groups.items():
        group.sort(key=lambda r: r["nodule_idx"])
        case, failed = _case(settings, f"{name}/{case_id}", mode, group, hosts, donors)
        reasons |= {(case_id, idx): why for idx, why in failed.items()}
        if case is not None:
            cases.append(case)
    journals = journal.journal_dir(settings, "insert-manifest", name)
    todo = journal.pending(settings, cases, journals)
    with progress(path.stem, len(todo)) as advance:
        workers.run(insert_case, todo, settings, journals / f"{uuid4().hex[:8]}.jsonl", advance)
    made = journal.collect(settings, cases, journals)
    require_all(made, str(path))
    got = {(r["case_uid"], r["nodule_idx"]): r for r in made.rows.get("insertions", [])}
    for aside in made.rejected:
        case_id = aside.uid.removeprefix(f"{name}/")
        lost = [aside.nodule_idx] if aside.nodule_idx >= 0 else [int(r["nodule_idx"]) for r in groups[case_id]]
        told = f"{aside.reason.value}: {aside.detail}"
        reasons |= {(case_id, idx): told for idx in lost if (case_id, idx) not in reasons}
    records = []
    base = f"inserted_masks/{mode}/{folder}"
    for case_id, group in groups.items():
        asked = [r for r in group if r["present"]]
        if not asked:
            continue
        key = case_key(
            asked[0]["trial_name"],
            _number(case_id),
            asked[0]["host_patient_id"],
            asked[0]["host_dataset"],
            [r["donor_annotation_id"] for r in asked],
        )
        target = f"{base}/{key}_mask.nii.gz"
        uid = f"{name}/{case_id}"
        done = [g for r in asked if (g := got.get((uid, int(r["nodule_idx"]))))]
        if done and done[0]["mask_path"] is not None:
            link_file(settings.output / done[0]["mask_path"], settings.output / target)
        for r in asked:
            donor = donors.get(str(r["donor_nodule_mask_path"] or ""))
            voxels = donor["voxels"] if isinstance(donor, dict) else None
            idx = int(r["nodule_idx"])
            records.append(
                audit_record(
                    r | {"donor_voxels": voxels},
                    got.get((uid, idx)),
                    reasons.get((case_id, idx), ""),
                    target if done and done[0]["mask_path"] else "",
                )
            )
    named = {Path(r["output_combined_path"]).name for r in records}
    for old in (settings.output / base).glob("iTS--*_mask.nii.gz"):
        if old.name not in named:
            old.unlink()  # of an earlier run of this manifest: the audit does not know it
    text = json.dumps(audit(f"{mode}_{folder.replace('/', '_')}", path.name, records), indent=1, allow_nan=False)
    replace_file(settings.output / base / "audit.json", text.encode())
    return Inserted(settings.output / base, records, list(got.values()), len(todo))


def _number(case_id: str) -> int | str:
    return int(case_id) if case_id.isdigit() else case_id


def _case(
    settings: Settings, uid: str, mode: str, group: list[dict[str, Any]], hosts: dict[str, Any], donors: dict[str, Any]
) -> tuple[Case | None, dict[int, str]]:
    """The case of some rows, and the nodules that it cannot have with why; no case without its first nodule."""
    failed: dict[int, str] = {}
    organ = str(group[0]["host_organ_seg_path"] or "")
    host = hosts[organ]
    if other := next((r for r in group if str(r["host_organ_seg_path"] or "") != organ), None):
        why = (
            f"{Reason.GRID_MISMATCH.value}: expected one host map a case, got {organ} and "
            f"{other['host_organ_seg_path']}"
        )
        return None, {int(r["nodule_idx"]): why for r in group}
    if isinstance(host, Rejection):
        return None, {int(r["nodule_idx"]): f"{host.reason.value}: {host.detail}" for r in group}
    nodules = []
    for row in (r for r in group if r["present"]):
        donor = donors[str(row["donor_nodule_mask_path"] or "")]
        idx = int(row["nodule_idx"])
        if isinstance(donor, Rejection):
            failed[idx] = f"{donor.reason.value}: {donor.detail}"
        elif _is_native(row) and not _same_grid(donor, host["host"]):
            failed[idx] = (
                f"{Reason.GRID_MISMATCH.value}: expected a native mask on the grid of {organ}, got {donor['shape']}"
            )
        elif row["scale_factor"] is None:
            failed[idx] = f"{Reason.BAD_POSITION.value}: expected a number as scale_factor, got none"
        else:
            nodules.append(_nodule(row, donor, organ))
    if not nodules or nodules[0]["nodule_idx"] != 0:
        first = failed.get(0, f"{Reason.EMPTY_LESION.value}: the case has no nodule")
        return None, {
            int(r["nodule_idx"]): failed.get(int(r["nodule_idx"]), f"with its primary nodule: {first}") for r in group
        }
    seed = group[0]["seed"]
    about = {
        "case_uid": uid,
        "mode": mode,
        "dataset": group[0]["host_dataset"],
        "anatomy": settings.anatomy,
        "host_scan_uid": organ,
        "host_person_uid": group[0]["host_patient_id"],
        "seed": seed if seed is not None else int(digest([settings.seed, uid], 15), 16),
    }
    return case_of(settings, about, host["host"], host["lobes"], nodules), failed


def _own_ct(row: dict[str, Any]) -> bool:
    return row["host_ct_path"] is not None and row["host_ct_path"] == row["donor_ct_path"]


def _is_native(row: dict[str, Any]) -> bool:
    """As the manifest says; where it says nothing, a nodule of the host's own CT at its own size."""
    return bool(row["placement"] == "native" if row["placement"] else _own_ct(row) and row["scale_factor"] == 1)


def _same_grid(donor: dict[str, Any], host: dict[str, Any]) -> bool:
    columns = [f"{what}_{a}" for what in ("spacing", "origin") for a in "xyz"]
    return donor["shape"] == host["shape"] and all(abs(donor[c] - host[c]) < 0.01 for c in columns)


def _nodule(row: dict[str, Any], donor: dict[str, Any], organ: str) -> dict[str, Any]:
    """A row of the manifest as ``insert_case`` reads it. A nodule of the host's own CT at its own size is native."""
    placement = "native" if _is_native(row) else "profile"
    scan = organ if _own_ct(row) or row["host_ct_path"] is None else "another scan"
    label = lobe_label(str(row["insertion_lobe"] or ""))
    scale = row["scale_factor"]
    diameter = row["effective_diam_mm"] or (donor["diameter_mm"] * scale if scale else donor["diameter_mm"])
    return {
        "nodule_idx": int(row["nodule_idx"]),
        "present": True,
        "kept": row["kept"],
        "donor_nodule_uid": f"{row['donor_dataset']}/{row['donor_annotation_id']}",
        "donor_person_uid": str(row.get("donor_patient_id") or row["donor_annotation_id"]),
        "label": None if row["label"] is None else int(row["label"]),
        "placement": placement,
        "lobe": LOBE_NAMES[label] if label else str(row["insertion_lobe"]),
        **{f"{a}_pct": row[f"insertion_lobe_{a}_pct"] for a in ("cc", "ml", "ap")},
        "planned_diameter_mm": diameter,
        "scale": scale,
        **{
            k: row[k]
            for k in (
                "asked_pleural_mm",
                "asked_airway_mm",
                "margin_mm",
                "rotation_x_deg",
                "rotation_y_deg",
                "rotation_z_deg",
            )
        },
        "mirrored": row["mirrored"],
        "relaxations": row["relaxations"] or "",
        **donor_part(donor | {"scan_uid": scan}),
    }
