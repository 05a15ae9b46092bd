"""Builds ``fidelity``, ``host_overlaps`` and ``nodule_fidelity``: rendered CTs and lesions against real ones.

Sets are the CTs of a dataset's hosts, all of them together, and the images of a mode. Where anatomy is procedural, the
real side was rendered too: nothing is estimated, and the table says so.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from PIL import Image, ImageDraw, ImageFont

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.fingerprints import FileHashes, digest, hash_file, replace_file, sha256_bytes
from itrialspace_assets.base.seeds import named
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework import workers
from itrialspace_assets.casework.cases import Case, Collected, Output, payload_hash, retryable, write_rejected
from itrialspace_assets.casework.rows import Rows
from itrialspace_assets.casework.steps import Options, Partition, Result, Step
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.imaging import pictures
from itrialspace_assets.imaging.anatomy import lung_mask
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.lesions import unpack_bits
from itrialspace_assets.profiles.cts import ct_hash, ct_source, real_ct
from itrialspace_assets.records.store import read_all, write_table
from itrialspace_assets.synthesis.compare_case import FeatureCase, LesionCase, LesionOf, OverlapCase, RealCt, RenderedCt
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
from itrialspace_assets.synthesis.likeness import look, shared
from itrialspace_assets.synthesis.resampled import ImageSet, matched
from itrialspace_assets.synthesis.rows import FidelityRow, HostOverlapRow, NoduleFidelityRow

VERSION = "1"  # of the features that are kept
REAL = "real"
NOTE = "not estimable by construction: anatomy is procedural, and its CTs come from a renderer too"


def options(settings: Settings) -> Options:
    weights = settings.fid_weights
    return {"weights": hash_file(weights) if weights and weights.is_file() else "", "anatomy": settings.anatomy}


STEP = Step(("fidelity",), "fidelity", (), "2", options)


def real_scans(settings: Settings) -> pl.DataFrame:
    """Host scans whose real CT is in the data root: scan_uid, dataset, ct_path, map_sha256, sorted."""
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
    """Names of sets and of the images in each. A large set is drawn by hash: the first by name would be one dataset's.

    Args:
        settings: chooses the protocol.
        scans: from ``real_scans``.
        images: rows of ``cts``.
    """
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
    """One case for each image of a set, one for each lesion-free twin whose host's real CT is there; and the sets."""
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
    found = []
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        made_by = [VERSION, protocol_of(settings).text, str(settings.fid_weights and hashes.get(settings.fid_weights))]

        def real(uid: str) -> RealCt:
            path = by_scan[uid]["ct_path"]
            return RealCt(ct_path=path, sha256=ct_hash(hashes, settings.data, path))

        for uid in sorted(wanted & by_scan.keys()):
            case = FeatureCase(uid=uid, image=real(uid))
            found.append(Case(uid, payload_hash(made_by, case), uid, case))
        for row in _once(images).filter(pl.col("image_uid").is_in(wanted)).iter_rows(named=True):
            case = FeatureCase(uid=row["image_uid"], image=_rendered(row))
            found.append(Case(case.uid, payload_hash(made_by, case), row["twin_uid"], case))
        hosts = read_all(settings.output, "cases").select("case_uid", "host_scan_uid").unique()
        twins = _once(rows.filter("is_lesion_free").join(hosts, on="case_uid")).sort("image_uid")
        for row in twins.iter_rows(named=True):
            if (scan := by_scan.get(row["host_scan_uid"])) is not None:
                pair = OverlapCase(
                    twin=_rendered(row),
                    real=real(scan["scan_uid"]),
                    scan_uid=scan["scan_uid"],
                    dataset=scan["dataset"],
                    map_sha256=scan["map_sha256"],
                )
                uid = f"{row['image_uid']}/host"
                found.append(Case(uid, payload_hash(made_by, pair), row["image_uid"], pair))
        for row in _lesions(settings, _once(images).filter(pl.col("image_uid").is_in(wanted))).iter_rows(named=True):
            if (scan := by_scan.get(row["scan_uid"])) is not None and row["real_lesion"] is not None:
                lesion = LesionCase(
                    image=_rendered(row),
                    lesion=row["lesion"],
                    real=real(row["scan_uid"]),
                    real_lesion=row["real_lesion"],
                    map_sha256=scan["map_sha256"],
                    row=_lesion_of(row),
                )
                uid = f"{row['image_uid']}/{row['nodule_idx']}"
                found.append(Case(uid, payload_hash(made_by, lesion), row["twin_uid"], lesion))
    return found, sets


def _lesions(settings: Settings, images: pl.DataFrame) -> pl.DataFrame:
    """Lesions of images with their donor nodules: columns of ``RenderedCt`` and ``LesionOf``, and both packed masks."""
    nodules = read_all(settings.output, "insertions").filter("present")
    donors = read_all(settings.output, "donors").select("nodule_uid", "scan_uid", real_lesion="lesion")
    of = nodules.select(
        *("case_uid", "nodule_idx", "lesion", "diameter_mm", "host_person_uid", "donor_person_uid"),
        nodule_uid="donor_nodule_uid",
    )
    shown = images.filter(~pl.col("is_lesion_free"), pl.col("kept") != "planes")
    found = shown.join(of, on="case_uid").join(donors, on="nodule_uid", how="left")
    return found.sort("source", "image_uid", "nodule_idx")


def _lesion_of(row: Mapping[str, Any]) -> LesionOf:
    return LesionOf(**{name: row[name] for name in LesionOf.model_fields})


def _without_real(settings: Settings, cases: Sequence[Case], sets: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Rows of lesions that have no real counterpart, with the reason.

    Args:
        settings: where tables lie.
        cases: of ``compare_cases``.
        sets: the same.
    """
    wanted = {uid for members in sets.values() for uid in members}
    compared = {c.uid for c in cases if isinstance(c.payload, LesionCase)}
    images = _once(read_all(settings.output, "cts").filter(pl.col("image_uid").is_in(wanted)))
    rows = []
    for row in _lesions(settings, images).iter_rows(named=True):
        if f"{row['image_uid']}/{row['nodule_idx']}" not in compared:
            note = f"the data root holds no real CT of {row['nodule_uid']}"
            rows.append(asdict(NoduleFidelityRow(**_lesion_of(row).model_dump(), note=note)))
    return rows


def _once(images: pl.DataFrame) -> pl.DataFrame:
    """The first row of each image: modes share images."""
    return images.unique("image_uid", keep="first", maintain_order=True)


def _rendered(row: Mapping[str, Any]) -> RenderedCt:
    return RenderedCt(**{name: row[name] for name in RenderedCt.model_fields})


def compare_case(case: FeatureCase | OverlapCase | LesionCase, settings: Settings) -> Output:
    """Features of one image, kept in a file; the histogram overlap of a twin with its host; or a lesion and its donor.

    Raises:
        CaseRejected: a CT is missing, damaged, or on another grid than its host's map.
    """
    if isinstance(case, LesionCase):
        return _lesion(case, settings)
    return _overlap(case, settings) if isinstance(case, OverlapCase) else _features(case, settings)


def _lesion(case: LesionCase, settings: Settings) -> Output:
    host, real = load_host_map(settings.output, case.map_sha256), real_ct(settings.data, case.real.ct_path)
    _require_grid(real, host, case.real.ct_path)
    made = look(open_ct(settings, case.image.model_dump()), unpack_bits(case.lesion))
    donor = look(real, unpack_bits(case.real_lesion))
    row = NoduleFidelityRow(
        **case.row.model_dump(),
        overlap=round(shared(made, donor), 6),
        edge=round(made.edge, 4),
        edge_real=round(donor.edge, 4),
        texture=None if made.texture is None else round(made.texture, 4),
        texture_real=None if donor.texture is None else round(donor.texture, 4),
        voxels=made.voxels,
        voxels_real=donor.voxels,
    )
    return Output({"nodule_fidelity": [asdict(row)]})


def _require_grid(ct: Volume, host: Volume, path: str) -> None:
    if not ct.same_grid(host):
        raise CaseRejected(
            Reason.GRID_MISMATCH, f"{path}: expected the grid of its organ map {host.array.shape}, got {ct.array.shape}"
        )


def _features(case: FeatureCase, settings: Settings) -> Output:
    if isinstance(case.image, RealCt):
        ct = real_ct(settings.data, case.image.ct_path)
    else:
        ct = open_ct(settings, case.image.model_dump())
    how = extractor(settings.fid_weights)
    parts = [how.features(slices_of(ct, axis, protocol_of(settings))) for axis in PLANES.values()]
    out = io.BytesIO()
    np.save(out, np.concatenate(parts).astype(np.float32))
    path = f"store/features/{(how.sha256 or how.name)[:16]}/{payload_hash([], case)[:32]}.npy"
    replace_file(settings.output / path, out.getvalue())
    row = {"uid": case.uid, "path": path, "counts": [len(p) for p in parts]}
    return Output({"features": [row]}, {path: sha256_bytes(out.getvalue())})


def _overlap(case: OverlapCase, settings: Settings) -> Output:
    host, ct = load_host_map(settings.output, case.map_sha256), open_ct(settings, case.twin.model_dump())
    real = real_ct(settings.data, case.real.ct_path)
    _require_grid(real, host, case.real.ct_path)
    whole, lung = (overlap(real.array, ct.array, where) for where in (host.array > 0, lung_mask(host.array)))
    row = HostOverlapRow(
        source=case.twin.source,
        image_uid=case.twin.image_uid,
        scan_uid=case.scan_uid,
        dataset=case.dataset,
        whole=None if np.isnan(whole) else round(whole, 6),
        lung=None if np.isnan(lung) else round(lung, 6),
    )
    return Output({"host_overlaps": [asdict(row)]})


def distances(
    settings: Settings, how: Extractor, sets: Mapping[str, Sequence[str]], features: Mapping[str, dict[str, Any]]
) -> list[FidelityRow]:
    """Every real dataset against every other, and every rendered mode against all real CTs.

    Args:
        settings: gives the store and the anatomy.
        how: what made the features.
        sets: images of each set.
        features: file and number of slices of each plane, by image; an image that was rejected has none.
    """
    made: dict[tuple[str, str], Moments] = {}
    scans = _scans(settings)
    groups: dict[str, ImageSet] = {}
    for name, members in sets.items():
        there = [m for m in members if m in features]
        for number, plane in enumerate(PLANES):
            if there:
                made[name, plane] = moments(_plane(settings, features[m], number) for m in there)
        planes = tuple(tuple(_plane(settings, features[m], n) for m in there) for n in range(len(PLANES)))
        groups[name] = ImageSet(tuple(scans.get(m, m) for m in there), planes)
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
        even = matched(groups[reference], groups[compared], named(settings.seed, "fidelity", reference, compared))
        rows += [
            FidelityRow(
                reference=reference,
                compared=compared,
                kind=kind,
                plane=plane,
                metric=how.metric,
                extractor=how.name,
                extractor_sha256=how.sha256,
                value=round(value, 6),
                images_reference=images[reference],
                images_compared=images[compared],
                images_matched=even.images,
                **{n: _rounded(getattr(even, n)[at]) for n in _MATCHED},
                protocol=_protocol_text(settings),
                note=None,
                flag=even.flag,
                anatomy=settings.anatomy,
            )
            for at, (plane, value) in enumerate(values.items())
        ]
    return rows


#: Columns of ``fidelity`` that are taken at equal numbers of images.
_MATCHED = ("matched", "low", "high", "floor", "floor_low", "floor_high")


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def _scans(settings: Settings) -> dict[str, str]:
    """Host scan of each rendered image; a real image is named by its scan."""
    hosts = read_all(settings.output, "cases").select("case_uid", "host_scan_uid").unique()
    images = read_all(settings.output, "cts").select("case_uid", "image_uid").join(hosts, on="case_uid")
    return dict(images.select("image_uid", "host_scan_uid").iter_rows())


def _protocol_text(settings: Settings) -> str:
    return json.dumps(protocol_of(settings).text, sort_keys=True)


def _not_estimable(settings: Settings, how: Extractor) -> FidelityRow:
    """The row that says why there is nothing to estimate."""
    return FidelityRow(
        reference=REAL,
        compared="all",
        kind="real_to_synthetic",
        plane="average",
        metric=how.metric,
        extractor=how.name,
        extractor_sha256=None,
        value=None,
        images_reference=0,
        images_compared=0,
        images_matched=None,
        **dict.fromkeys(_MATCHED),
        protocol=_protocol_text(settings),
        note=NOTE,
        flag=None,
        anatomy=settings.anatomy,
    )


def _plane(settings: Settings, row: Mapping[str, Any], number: int) -> npt.NDArray[np.float64]:
    """Features (n, d) of an image's slices across one of ``PLANES``."""
    first = sum(row["counts"][:number])
    found = np.load(settings.output / row["path"], mmap_mode="r")[first : first + row["counts"][number]]
    return np.asarray(found, dtype=np.float64)


def build(settings: Settings, partition: Partition, run_id: str) -> Result:
    """Write the tables; on procedural anatomy one row that says why there is nothing to estimate.

    Args:
        settings: data root, outputs, extractor, workers.
        partition: empty: the tables have no partitions.
        run_id: names the journal of this run.
    """
    require_data_root(settings)
    how = extractor(settings.fid_weights)
    made, computed, lesions = Collected(Rows(), [], [], {}), 0, list[dict[str, Any]]()
    if settings.anatomy == "procedural":
        found = [_not_estimable(settings, how)]
    else:
        cases, sets = compare_cases(settings)
        made, computed = workers.process(compare_case, cases, settings, "fidelity", "all", run_id)
        found = distances(settings, how, sets, {r["uid"]: r for r in made.rows.get("features", [])})
        lesions = made.rows.get("nodule_fidelity", []) + _without_real(settings, cases, sets)
    rows, overlaps = [asdict(row) for row in found], made.rows.get("host_overlaps", [])
    tables = {"fidelity": rows, "host_overlaps": overlaps, "nodule_fidelity": lesions}
    paths = [write_table(settings.output, name, of) for name, of in tables.items()]
    write_rejected(settings, "fidelity", "all", made.rejected)
    return Result(
        {name: len(of) for name, of in tables.items()},
        computed,
        len(made.files) + len(overlaps) + len(made.rows.get("nodule_fidelity", [])) - computed,
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


#: Pixels: edge of a tile, height of a line of text; most hosts that are shown.
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
            middle = ct.array[..., ct.array.shape[2] // 2]
            tile = Image.fromarray(np.ascontiguousarray(pictures.radiological(pictures.lung_grey(middle))))
            sheet.paste(tile.resize((_TILE - 2, _TILE), Image.Resampling.BILINEAR), (j * _TILE, y))
        told = f"{row['scan_uid'][:40]}: real, {row['source']}; histograms share {row['whole'] or 0:.2f}"
        pen.text((4, y + _TILE + 2), told, "white", font)
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def low_overlaps(settings: Settings) -> list[str]:
    """Twins whose histogram shares less than ``LEAST_OVERLAP`` with their host's."""
    rows = read_all(settings.output, "host_overlaps").filter(pl.col("whole") <= LEAST_OVERLAP)
    return [f"{r['source']} {r['scan_uid']}: {r['whole']:.3f}" for r in rows.iter_rows(named=True)]
