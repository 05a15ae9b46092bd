"""Builds ``fidelity`` and ``host_overlaps``: rendered CTs against real ones, with the distance of real sets as the
yardstick.

Sets are the CTs of a dataset's hosts, all of them together, and the images of a mode. Where anatomy is procedural the
real side was rendered too: nothing is estimated, and the table says so.
"""

import io
import json
from typing import Any

import numpy as np
import polars as pl
from PIL import Image, ImageDraw, ImageFont

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.fingerprints import FileHashes, digest, hash_file, replace_file, sha256_bytes
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework import workers
from itrialspace_assets.casework.cases import Case, Collected, Output, retryable, write_rejected
from itrialspace_assets.casework.steps import Options, Partition, Result, Step
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.imaging import pictures
from itrialspace_assets.imaging.anatomy import lung_mask
from itrialspace_assets.profiles.cts import ct_hash, ct_source, real_ct
from itrialspace_assets.records.store import read_all, write_table
from itrialspace_assets.synthesis.fidelity import (
    FEW_SLICES,
    LEAST_OVERLAP,
    PLANES,
    Extractor,
    Moments,
    Protocol,
    extractor,
    frechet_distance,
    moments,
    overlap,
    slices_of,
)
from itrialspace_assets.synthesis.images import open_ct

VERSION = "1"
REAL = "real"
NOTE = "not estimable by construction: anatomy is procedural, and its CTs come from a renderer too"
#: Voxels over which histograms are compared: the body, the lung.
_REGIONS = ("whole", "lung")


def options(settings: Settings) -> Options:
    weights = settings.fid_weights
    return {"weights": hash_file(weights) if weights and weights.is_file() else "", "anatomy": settings.anatomy}


STEP = Step(("fidelity",), "fidelity", (), VERSION, options)


def real_scans(settings: Settings) -> pl.DataFrame:
    """Host scans whose CT is at hand: scan_uid, dataset, ct_path, map_sha256, sorted."""
    hosts = read_all(settings.output, "hosts").select("scan_uid", "dataset", "map_sha256")
    paths = (
        read_all(settings.output, "profiles")
        .select("scan_uid", "ct_path")
        .unique("scan_uid", keep="first", maintain_order=True)
    )
    found = hosts.join(paths, on="scan_uid", how="inner").sort("scan_uid")
    there = [ct_source(settings.data, p).exists() for p in found["ct_path"]]
    return found.filter(pl.Series(there, dtype=pl.Boolean()))


def protocol_of(settings: Settings) -> Protocol:
    """As published with an extractor's weights; a few slices for the descriptor."""
    return FEW_SLICES if settings.fid_weights is None else Protocol()


def _sets(settings: Settings, scans: pl.DataFrame, images: pl.DataFrame) -> dict[str, list[str]]:
    """Names of sets and of the images in each, drawn by hash: the first by name would be of one dataset."""
    sets = {
        f"{REAL}/{name}": part["scan_uid"].to_list()
        for (name,), part in scans.group_by(["dataset"], maintain_order=True)
    }
    sets[REAL] = scans["scan_uid"].to_list()
    for (source, mode), part in images.group_by(["source", "mode"], maintain_order=True):
        sets[f"{source}/{mode}"] = part["image_uid"].unique().sort().to_list()
    most = protocol_of(settings).images
    return {name: sorted(sorted(members, key=digest)[:most]) for name, members in sets.items() if members}


def compare_cases(settings: Settings) -> tuple[list[Case], dict[str, list[str]]]:
    """One case for each image of a set, and for each lesion-free twin whose host's CT is at hand; and the sets."""
    scans, rows = real_scans(settings), read_all(settings.output, "cts")
    # of a case whose image with lesions was not kept whole, the lesion-free twin stands for it
    parts = rows.filter(pl.col("kept") == "planes").select("source", "mode", "dataset", "case_uid")
    stand_ins = rows.filter("is_lesion_free").join(parts, on=parts.columns, how="semi")
    images = pl.concat([rows.filter(~pl.col("is_lesion_free"), pl.col("kept") != "planes"), stand_ins]).sort(
        "source", "mode", "image_uid"
    )
    sets = _sets(settings, scans, images)
    wanted = {uid for members in sets.values() for uid in members}
    by_scan = {r["scan_uid"]: r for r in scans.iter_rows(named=True)}
    out = []
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        how = [VERSION, protocol_of(settings).text, str(settings.fid_weights and hashes.get(settings.fid_weights))]
        for uid in sorted(wanted & by_scan.keys()):
            payload = {
                "uid": uid,
                "ct_path": by_scan[uid]["ct_path"],
                "sha256": ct_hash(hashes, settings.data, by_scan[uid]["ct_path"]),
            }
            out.append(Case(uid, digest([how, payload]), uid, payload))
        keep = ("source", "image_uid", "twin_uid", "is_lesion_free", "path", "sha256", "kept")
        for row in (
            images.unique("image_uid", keep="first", maintain_order=True)
            .filter(pl.col("image_uid").is_in(wanted))
            .iter_rows(named=True)
        ):
            payload = {"uid": row["image_uid"], "row": {k: row[k] for k in keep}}
            out.append(Case(row["image_uid"], digest([how, payload]), row["twin_uid"], payload))
        hosts = read_all(settings.output, "cases").select("case_uid", "host_scan_uid").unique()
        twins = (
            rows.filter("is_lesion_free")
            .join(hosts, on="case_uid")
            .unique("image_uid", keep="first", maintain_order=True)
            .sort("image_uid")
        )
        for row in twins.iter_rows(named=True):
            if (scan := by_scan.get(row["host_scan_uid"])) is not None:
                about = {
                    "source": row["source"],
                    "image_uid": row["image_uid"],
                    "scan_uid": scan["scan_uid"],
                    "dataset": scan["dataset"],
                }
                payload = {
                    "twin": {k: row[k] for k in keep},
                    "ct_path": scan["ct_path"],
                    "map_sha256": scan["map_sha256"],
                    "about": about,
                }
                sha = digest([how, payload, ct_hash(hashes, settings.data, scan["ct_path"])])
                out.append(Case(f"{row['image_uid']}/host", sha, row["image_uid"], payload))
    return out, sets


def compare_case(payload: dict[str, Any], settings: Settings) -> Output:
    """Features of one image, kept in a file; or the histogram overlap of a twin with its host.

    Raises:
        CaseRejected: a CT is missing, damaged, or on another grid than its host's map.
    """
    if "twin" in payload:
        return _overlap(payload, settings)
    ct = open_ct(settings, payload["row"]) if "row" in payload else real_ct(settings.data, payload["ct_path"])
    how = extractor(settings.fid_weights)
    parts = [how.features(slices_of(ct, axis, protocol_of(settings))) for axis in PLANES.values()]
    out = io.BytesIO()
    np.save(out, np.concatenate(parts).astype(np.float32))
    path = f"store/features/{(how.sha256 or how.name)[:16]}/{digest(payload, 32)}.npy"
    replace_file(settings.output / path, out.getvalue())
    row = {"uid": payload["uid"], "path": path, "counts": [len(p) for p in parts]}
    return Output({"features": [row]}, {path: sha256_bytes(out.getvalue())})


def _overlap(payload: dict[str, Any], settings: Settings) -> Output:
    host, ct = load_host_map(settings.output, payload["map_sha256"]), open_ct(settings, payload["twin"])
    real = real_ct(settings.data, payload["ct_path"])
    if not real.same_grid(host):
        raise CaseRejected(
            Reason.GRID_MISMATCH,
            f"{payload['ct_path']}: expected the grid of its organ map {host.array.shape}, got {real.array.shape}",
        )
    found = {
        name: overlap(real.array, ct.array, where)
        for name, where in zip(_REGIONS, (host.array > 0, lung_mask(host.array)), strict=True)
    }
    return Output(
        {"host_overlaps": [payload["about"] | {k: None if np.isnan(v) else round(v, 6) for k, v in found.items()}]}
    )


def distances(
    settings: Settings, how: Extractor, sets: dict[str, list[str]], features: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Rows of ``fidelity``: every real dataset against every other, and every rendered mode against all real CTs."""
    made: dict[tuple[str, str], Moments] = {}
    for name, members in sets.items():
        for number, plane in enumerate(PLANES):
            there = [features[m] for m in members if m in features]
            if there:
                made[name, plane] = moments(_plane(settings, f, number) for f in there)
    own = sorted(n for n in sets if n.startswith(f"{REAL}/"))
    pairs = [(a, b, "real_to_real") for i, a in enumerate(own) for b in own[i + 1 :]]
    pairs += [(REAL, n, "real_to_synthetic") for n in sorted(sets) if n != REAL and n not in own and REAL in sets]
    rows = []
    for reference, compared, kind in pairs:
        if not all((n, "XY") in made for n in (reference, compared)):
            continue
        values = {plane: frechet_distance(made[reference, plane], made[compared, plane]) for plane in PLANES}
        values["average"] = sum(values.values()) / len(values)
        images = {n: sum(m in features for m in sets[n]) for n in (reference, compared)}
        base = {
            "reference": reference,
            "compared": compared,
            "kind": kind,
            "metric": how.metric,
            "extractor": how.name,
            "extractor_sha256": how.sha256,
            "images_reference": images[reference],
            "images_compared": images[compared],
            "protocol": json.dumps(protocol_of(settings).text, sort_keys=True),
            "anatomy": settings.anatomy,
            "note": None,
        }
        rows += [base | {"plane": plane, "value": round(value, 6)} for plane, value in values.items()]
    return rows


def _plane(settings: Settings, row: dict[str, Any], number: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    first = sum(row["counts"][:number])
    return np.asarray(
        np.load(settings.output / row["path"], mmap_mode="r")[first : first + row["counts"][number]], dtype=np.float64
    )


def build(settings: Settings, partition: Partition, run_id: str) -> Result:
    """Write both tables; on procedural anatomy one row that says why there is nothing to estimate."""
    require_data_root(settings)
    how = extractor(settings.fid_weights)
    rows: list[dict[str, Any]]
    if settings.anatomy == "procedural":
        blank = dict.fromkeys(("value", "extractor_sha256"))
        rows = [
            blank
            | {
                "reference": REAL,
                "compared": "all",
                "kind": "real_to_synthetic",
                "plane": "average",
                "metric": how.metric,
                "extractor": how.name,
                "images_reference": 0,
                "images_compared": 0,
                "protocol": json.dumps(protocol_of(settings).text, sort_keys=True),
                "anatomy": settings.anatomy,
                "note": NOTE,
            }
        ]
        made, computed, overlaps = Collected({}, [], [], {}), 0, []
    else:
        cases, sets = compare_cases(settings)
        made, computed = workers.process(compare_case, cases, settings, "fidelity", "all", run_id)
        features = {r["uid"]: r for r in made.rows.get("features", [])}
        rows, overlaps = distances(settings, how, sets, features), made.rows.get("host_overlaps", [])
    paths = [write_table(settings.output, "fidelity", rows), write_table(settings.output, "host_overlaps", overlaps)]
    write_rejected(settings, "fidelity", "all", made.rejected)
    return Result(
        {"fidelity": len(rows), "host_overlaps": len(overlaps)},
        computed,
        len(made.files) + len(overlaps) - computed,
        len(made.rejected),
        NOTE if settings.anatomy == "procedural" else "" if rows else "no rendered image and no real CT to compare",
        _montage(settings, overlaps),
        _preview(rows),
        files=made.files,
        retryable=retryable(made),
        written=tuple(paths),
    )


def _preview(rows: list[dict[str, Any]]) -> str:
    shown = [r for r in rows if r["plane"] == "average"]
    if not shown:
        return ""
    return pictures.markdown(
        pl.DataFrame(shown, infer_schema_length=None).select(
            "reference", "compared", "metric", "value", "images_compared"
        )
    )


_TILE, _TEXT, _AT_MOST = 240, 18, 6


def _montage(settings: Settings, overlaps: list[dict[str, Any]]) -> bytes | None:
    """PNG of up to six hosts, real CT beside rendered twin at the same slice, least overlap first."""
    if not overlaps:
        return None
    scans = {r["scan_uid"]: r for r in real_scans(settings).iter_rows(named=True)}
    twins = {r["image_uid"]: r for r in read_all(settings.output, "cts").filter("is_lesion_free").iter_rows(named=True)}
    shown = sorted(overlaps, key=lambda r: (r["whole"] is None, r["whole"], r["image_uid"]))[:_AT_MOST]
    sheet = Image.new("RGB", (2 * _TILE, len(shown) * (_TILE + _TEXT)), "black")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for i, row in enumerate(shown):
        y = i * (_TILE + _TEXT)
        real = real_ct(settings.data, scans[row["scan_uid"]]["ct_path"])
        for j, ct in enumerate((real, open_ct(settings, twins[row["image_uid"]]))):
            tile = Image.fromarray(
                np.ascontiguousarray(pictures.axial(pictures.lung_grey(ct.array[..., ct.array.shape[2] // 2])))
            ).resize((_TILE - 2, _TILE), Image.Resampling.BILINEAR)
            sheet.paste(tile, (j * _TILE, y))
        pen.text(
            (4, y + _TILE + 2),
            f"{row['scan_uid'][:40]}: real, {row['source']}; histograms share {row['whole'] or 0:.2f}",
            "white",
            font,
        )
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def low_overlaps(settings: Settings) -> list[str]:
    """Twins whose histogram shares less than ``LEAST_OVERLAP`` with their host's."""
    rows = read_all(settings.output, "host_overlaps").filter(pl.col("whole") <= LEAST_OVERLAP)
    return [f"{r['source']} {r['scan_uid']}: {r['whole']:.3f}" for r in rows.iter_rows(named=True)]
