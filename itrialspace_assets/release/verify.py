"""Verifies a downloaded release in the published layout and lists its artefacts, file by file.

Nothing is recomputed. Tables, audits and splits are read; volumes and pictures are looked up and, with ``hashes``,
compared with the hash that the release states. An artefact that is missing, damaged or contradicts its own counts is
listed by path. Paths are relative to the release.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import polars as pl
from isal import igzip

from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.base.fingerprints import FileHashes, hash_file
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.insertion.manifests import is_beside
from itrialspace_assets.profiles.load import load_profiles
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.records.layout import MANIFEST_COLUMNS, MODES, REAL, ids_of, list_sha256
from itrialspace_assets.records.store import write_table
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.release.parts import SUMS, ReleasedRow, inside, read_rows, read_sums
from itrialspace_assets.release.results import RESULT_FOLDERS, result_rows

#: What a release may hold, in the order of the data; all but the last two are source assets ``released/<kind>``.
KINDS = ("profiles", "manifests", "inserted_masks", "generated_cts", "slices", "splits", "results", "inputs")
#: Volumes and split sizes of the published release (docs/facts/published-release.md#volumes-and-profiles), expected
#: with ``published``.
PUBLISHED = {"profiles": 13_140, "generated_cts": 44_174}
_EVAL_COLUMNS = ("case_id", "png_path", "ground_truth_presence")
#: Column of an evaluation set with the dataset of its scan: that of the real set, and of the others.
_EVAL_DATASET = ("dataset", "dataset_name")


def mode_of(folder: str) -> str | None:
    """Mode key of a published folder name (``mode2_size_detection_curve``); None for another name."""
    number = folder.removeprefix("mode").split("_", 1)[0]
    return MODES[int(number) - 1] if folder.startswith("mode") and number.isdigit() and 1 <= int(number) <= 13 else None


def verify_release(
    settings: Settings,
    root: Path,
    *,
    published: bool = False,
    hashes: bool = False,
    progress: Callable[[str], None] | None = None,
) -> list[ReleasedRow]:
    """Every artefact of a release and its status.

    Args:
        settings: its registry of datasets names the profile tables.
        root: folder in the published layout.
        published: it is the published release, so its row and volume counts are expected.
        hashes: compare every file with the hash that the release states for it (``SHA256SUMS``); without it, those
            files that are read anyway.
        progress: called with each kind before it is verified.

    Raises:
        ConfigError: no folder, none of the published layout's parts in it, or ``hashes`` without usable
            ``SHA256SUMS``.
    """
    if not root.is_dir():
        raise ConfigError(f"{root}: expected a folder in the published layout, found none")
    known: dict[str, frozenset[str]] = {}
    looks: dict[str, Callable[[], Iterator[ReleasedRow]]] = {
        "profiles": lambda: _profiles(settings, root, published, known),
        "manifests": lambda: _manifests(settings, root, known),
        "inserted_masks": lambda: _masks(root),
        "generated_cts": lambda: _cts(root),
        "slices": lambda: _slices(root),
        "splits": lambda: _splits(root),
        "results": lambda: result_rows(root),
    }
    found: list[ReleasedRow] = []
    for kind, look in looks.items():
        if progress:
            progress(kind)
        found += sorted(look(), key=lambda row: row.path)
    if not found:
        raise ConfigError(
            f"{root}: expected at least one of profiles/, manifests/, inserted_masks/, generated_cts/, "
            "vlm_dataset/, found none"
        )
    if published:
        for kind, wanted in PUBLISHED.items():
            got = sum(row.rows or 0 for row in found if row.kind == kind and row.status == "ok")
            if any(row.kind == kind for row in found) and got != wanted:
                found.append(
                    ReleasedRow(
                        kind=kind,
                        path=f"{kind}/",
                        rows=got,
                        status="contradicts",
                        detail=f"expected {wanted} in the published release, got {got}",
                    )
                )
    found += _not_looked_at(root, found)
    return _hashed(settings, root, found, every=hashes) if hashes or (root / SUMS).exists() else found


#: Folders of a release that are looked at, and those of inputs, which --hashes compares.
_PARTS = ("meta", "profiles", "manifests", "inserted_masks", "vlm_dataset", "masks", "raw_ct")
#: Beginnings of names of such folders.
_PART_STARTS = ("generated_cts", *RESULT_FOLDERS)
#: Folders of our own outputs, in which a release may lie.
_OURS = ("dagster", "quality", "reports", "splits", "store", "tables", "trials", "work")


def _not_looked_at(root: Path, found: list[ReleasedRow]) -> Iterator[ReleasedRow]:
    """Parts of a release that nothing above looks at: other folders, profile tables of no dataset, masks that no
    audit names."""
    for path in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
        if path.name not in (*_PARTS, *_OURS) and not path.name.startswith(_PART_STARTS):
            yield _unexpected("inputs", root, path, "no part of the published layout; not looked at")
    seen = {row.path for row in found}
    for path in sorted((root / "profiles").glob("*_nodule_profiles.csv")):
        if not path.name.startswith(".") and str(path.relative_to(root)) not in seen:
            yield _unexpected("profiles", root, path, "of no registered dataset (ITRIALSPACE_DATASETS_CONFIG)")
    for path in sorted((root / "inserted_masks").rglob("*_mask.nii.gz")):
        if not path.name.startswith(".") and str(path.relative_to(root)) not in seen:
            yield _unexpected("inserted_masks", root, path, "named by no audit beside it")


def _unexpected(kind: str, root: Path, path: Path, detail: str) -> ReleasedRow:
    where = str(path.relative_to(root))
    return ReleasedRow(kind=kind, mode=_mode_below(root, path), path=where, status="unexpected", detail=detail)


def record_release(settings: Settings, found: list[ReleasedRow]) -> dict[str, pl.DataFrame]:
    """Write the table ``released``, one partition a kind; its frames by kind.

    Raises:
        TableError: a row breaks the table's rules.
    """
    frames = {}
    for kind in KINDS:
        rows = [asdict(row) for row in found if row.kind == kind]
        frames[kind] = TABLES["released"].frame(rows)
        write_table(settings.output, "released", frames[kind], kind=kind)
    return frames


def _profiles(
    settings: Settings, root: Path, published: bool, known: dict[str, frozenset[str]]
) -> Iterator[ReleasedRow]:
    """Rows of the profile tables.

    Args:
        settings: its registry of datasets names the tables.
        root: the release.
        published: it is the published release, so its row counts are expected.
        known: gets the ids of the nodules of each dataset.
    """
    for name, entry in datasets(settings).items():
        path = entry.profile_csv(root)
        if not path.exists():
            continue
        where = str(path.relative_to(root))
        try:
            profiles = load_profiles(path, entry, "real", released=published).profiles
            known[name] = frozenset(profiles["annotation_id"])
            rows, sha = profiles.height, hash_file(path)
            yield ReleasedRow(kind="profiles", dataset=name, path=where, rows=rows, status="ok", sha256=sha)
        except TableError as error:
            yield ReleasedRow(kind="profiles", dataset=name, path=where, status="damaged", detail=str(error))


def _manifest_files(root: Path) -> list[Path]:
    return [p for p in sorted((root / "manifests").rglob("*.csv")) if not is_beside(p)]


def _mode_below(root: Path, path: Path) -> str | None:
    return next((m for part in path.relative_to(root).parts if (m := mode_of(part))), None)


def _strangers(
    settings: Settings, rows: list[dict[str, str]], known: dict[str, frozenset[str]]
) -> tuple[int, str | None]:
    """How many rows name a donor that the profiles of its dataset lack, under any of its names; the first such donor.

    Args:
        settings: the registered datasets, in which a donor may have two names.
        rows: of a manifest.
        known: ids of the nodules of each dataset whose profiles the release holds.
    """
    entries = datasets(settings)
    named = Counter((r["donor_dataset"], r["donor_annotation_id"]) for r in rows if r["donor_annotation_id"])
    lost = {
        f"{dataset}/{name}": count
        for (dataset, name), count in named.items()
        if dataset in known and entries[dataset].canonical_annotation(name) not in known[dataset]
    }
    return sum(lost.values()), next(iter(lost), None)


def _manifests(settings: Settings, root: Path, known: dict[str, frozenset[str]]) -> Iterator[ReleasedRow]:
    for path in _manifest_files(root):
        where, mode = str(path.relative_to(root)), _mode_below(root, path)
        rows = read_rows(path)
        missing = [c for c in MANIFEST_COLUMNS if not rows or c not in rows[0]]
        keys = [(r.get("case_id"), r.get("nodule_idx")) for r in rows]
        if missing:
            yield ReleasedRow(
                kind="manifests",
                mode=mode,
                path=where,
                rows=len(rows),
                status="damaged",
                detail=f"expected 44 columns, missing {', '.join(missing[:5])} ({len(missing)})",
            )
        elif len(set(keys)) != len(keys):
            yield ReleasedRow(
                kind="manifests",
                mode=mode,
                path=where,
                rows=len(rows),
                status="contradicts",
                detail="case_id and nodule_idx are not unique",
            )
        elif (strangers := _strangers(settings, rows, known))[0]:
            yield ReleasedRow(
                kind="manifests",
                mode=mode,
                path=where,
                rows=len(rows),
                status="contradicts",
                detail=f"{strangers[0]} of {len(rows)} rows name a donor that its profiles lack, first {strangers[1]}",
            )
        elif mode is None and not path.relative_to(root / "manifests").parts[0].startswith("x_"):  # a user's trial
            yield ReleasedRow(
                kind="manifests",
                path=where,
                rows=len(rows),
                status="unexpected",
                detail="expected a folder mode<N>_<name> or x_<name> above it",
            )
        else:
            yield ReleasedRow(
                kind="manifests",
                mode=mode,
                dataset=rows[0]["host_dataset"] if len({r["host_dataset"] for r in rows}) == 1 else None,
                path=where,
                rows=len(rows),
                status="ok",
                sha256=hash_file(path),
            )


def _cases_of(root: Path) -> dict[str, dict[str, str]]:
    """For each manifest's place (below ``manifests/``, without ``.csv``) its case ids and their host dataset."""
    found = {}
    for path in _manifest_files(root):
        place = str(path.relative_to(root / "manifests").with_suffix(""))
        ids = [(r.get("case_id", "").removesuffix(".0"), r.get("host_dataset", "")) for r in read_rows(path)]
        found[place] = {case_id: dataset for case_id, dataset in ids if case_id.isdigit()}
    return found


def _masks(root: Path) -> Iterator[ReleasedRow]:
    top = root / "inserted_masks"
    for audit in sorted(top.rglob("audit.json")):
        place, mode = audit.parent.relative_to(top), _mode_below(root, audit)
        where = str(audit.relative_to(root))
        try:
            content = json.loads(audit.read_text(encoding="utf-8"))
            records: list[dict[str, Any]] = content["records"]
            done = [r for r in records if r["status"] == "success"]
            counts = (content["n_total"], content["n_success"], content["n_failed"])
        except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
            yield ReleasedRow(
                kind="inserted_masks",
                mode=mode,
                path=where,
                status="damaged",
                detail=f"expected an audit with records and counts, got {type(error).__name__}: {error}",
            )
            continue
        if counts != (len(records), len(done), len(records) - len(done)):
            yield ReleasedRow(
                kind="inserted_masks",
                mode=mode,
                path=where,
                rows=len(records),
                status="contradicts",
                detail=f"states {counts[0]} records, {counts[1]} done, {counts[2]} failed; holds {len(records)}, "
                f"{len(done)}, {len(records) - len(done)}",
            )
        for name in sorted({str(r.get("output_combined_path") or "") for r in done}):
            file = _within(root, name, audit.parent)
            yield _volume_row("inserted_masks", mode, root, file, name or f"inserted_masks/{place}/?")


def _within(root: Path, stated: str, beside: Path) -> Path:
    """A stated path as a file of this release; the published audits hold absolute paths of another machine."""
    return root / stated if inside(root, stated) and (root / stated).exists() else beside / Path(stated).name


def _volume_row(kind: str, mode: str | None, root: Path, file: Path, name: str) -> ReleasedRow:
    where = str(file.relative_to(root)) if file.is_relative_to(root) else name
    dataset = next((p.removeprefix("src-") for p in where.split("--") if p.startswith("src-")), None)
    if not file.exists():
        return ReleasedRow(
            kind=kind,
            mode=mode,
            dataset=dataset,
            path=where,
            status="missing",
            detail="named by its audit or manifest, not there",
        )
    try:
        image: Any = nib.load(file)
        shape = image.shape
        if len(shape) != 3:
            raise ValueError(f"expected 3 dimensions, got {shape}")
        _whole(file)
    except Exception as error:  # nibabel raises many kinds for a damaged header
        return ReleasedRow(
            kind=kind,
            mode=mode,
            dataset=dataset,
            path=where,
            status="damaged",
            detail=f"expected a NIfTI volume, got {type(error).__name__}: {error}",
        )
    return ReleasedRow(kind=kind, mode=mode, dataset=dataset, path=where, rows=1, status="ok")


def _whole(file: Path) -> None:
    """Refuse a truncated volume.

    A gzip file of one member ends with its uncompressed size; a file of several members is read whole.

    Raises:
        ValueError: the file has fewer or more bytes than its header promises.
    """
    image: Any = nib.load(file)
    wanted = int(np.prod(image.shape)) * image.header.get_data_dtype().itemsize + int(image.dataobj.offset)
    with file.open("rb") as source:
        source.seek(-4 if file.suffix == ".gz" else 0, 2)
        got = int.from_bytes(source.read(4), "little") if file.suffix == ".gz" else source.tell()
    if got != wanted % 2**32 and file.suffix == ".gz":
        got = len(igzip.decompress(file.read_bytes()))
    if got != wanted % 2**32:
        raise ValueError(f"expected {wanted} bytes, got {got}: truncated")


def _cts(root: Path) -> Iterator[ReleasedRow]:
    cases = _cases_of(root)
    for top in sorted(root.glob("generated_cts*")):
        modes = {p.relative_to(top).parts[0] for p in top.rglob("synthetic_ct.nii.gz")}
        for place, ids in cases.items():
            folder, mode = top / place, mode_of(place.split("/")[0])
            if not folder.is_dir():
                if place.split("/")[0] in modes:  # a mode that was not downloaded at all is no fault
                    yield ReleasedRow(
                        kind="generated_cts",
                        mode=mode,
                        path=str(folder.relative_to(root)),
                        status="missing",
                        detail=f"{len(ids)} planned cases, no folder",
                    )
                continue
            yield from _cts_of(root, folder, mode, ids)
        known = {top / place for place in cases}
        for ct in top.rglob("synthetic_ct.nii.gz"):
            if ct.parent.parent not in known:
                yield ReleasedRow(
                    kind="generated_cts",
                    mode=_mode_below(root, ct),
                    path=str(ct.relative_to(root)),
                    status="unexpected",
                    detail="no manifest for its folder",
                )


def _cts_of(root: Path, folder: Path, mode: str | None, ids: dict[str, str]) -> Iterator[ReleasedRow]:
    by_id: dict[str, Path] = {}
    for case in sorted(p for p in folder.iterdir() if p.is_dir()):
        number = next((p[1:] for p in case.name.split("--") if p.startswith("C") and p[1:].isdigit()), None)
        if number is None or str(int(number)) not in ids:
            yield ReleasedRow(
                kind="generated_cts",
                mode=mode,
                path=str(case.relative_to(root)),
                status="unexpected",
                detail="no case of its manifest",
            )
        else:
            by_id[str(int(number))] = case
    for case_id, dataset in ids.items():
        if case_id in by_id:
            yield _volume_row("generated_cts", mode, root, by_id[case_id] / "synthetic_ct.nii.gz", "")
        else:
            where = f"{folder.relative_to(root)}/C{int(case_id):04d}"
            yield ReleasedRow(
                kind="generated_cts",
                mode=mode,
                dataset=dataset or None,
                path=where,
                status="missing",
                detail="planned in its manifest, not there",
            )


def _slices(root: Path) -> Iterator[ReleasedRow]:
    for path in sorted((root / "vlm_dataset").glob("*/*/eval_dataset*.csv")):
        where = str(path.relative_to(root))
        rows = read_rows(path)
        of = _EVAL_DATASET[0] if path.parent.parent.name == REAL else _EVAL_DATASET[1]
        if missing := [c for c in (*_EVAL_COLUMNS, of) if not rows or c not in rows[0]]:
            yield ReleasedRow(
                kind="slices",
                path=where,
                rows=len(rows),
                status="damaged",
                detail=f"expected the columns of an evaluation set, missing {', '.join(missing)}",
            )
            continue
        groups: dict[tuple[str | None, str | None], list[dict[str, str]]] = {}
        for row in rows:
            mode = mode_of(row.get("mode", ""))
            groups.setdefault((mode, None if mode else row[of]), []).append(row)
        for (mode, dataset), members in groups.items():
            stated = [r[c] for r in members for c in r if c.startswith("png") and c.endswith("_path") and r[c]]
            lost = [s for s in stated if not _picture(root, path.parent, s).exists()]
            status, detail = (
                ("missing", f"{len(lost)} of {len(stated)} pictures, first {lost[0]}") if lost else ("ok", None)
            )
            yield ReleasedRow(
                kind="slices",
                mode=mode,
                dataset=dataset,
                path=f"{where}#{mode or dataset}",
                rows=len(members),
                status=status,
                detail=detail,
                sha256=hash_file(path),
            )


def _picture(root: Path, beside: Path, stated: str) -> Path:
    if inside(root, stated) and (root / stated).exists():
        return root / stated
    return beside / "slices" / stated.rsplit("/slices/", 1)[-1]


def _splits(root: Path) -> Iterator[ReleasedRow]:
    index = root / "vlm_dataset" / "splits" / "splits.json"
    if not index.exists():
        return
    try:
        entries = [
            (s, name, e)
            for s, sets in json.loads(index.read_text(encoding="utf-8")).items()
            for name, e in sets.items()
        ]
        wanted = [(s, name, str(e["file"]), int(e["n"]), str(e["sha256"])) for s, name, e in entries]
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        yield ReleasedRow(
            kind="splits",
            path=str(index.relative_to(root)),
            status="damaged",
            detail=f"expected splits with file, n and sha256, got {type(error).__name__}: {error}",
        )
        return
    for split, name, file, n, sha in wanted:
        path = index.parent / Path(file).name
        where = str(path.relative_to(root))
        if not path.exists():
            yield ReleasedRow(kind="splits", path=where, rows=n, status="missing", detail=f"list of {split}/{name}")
            continue
        try:
            uids = ids_of(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            yield ReleasedRow(kind="splits", path=where, status="damaged", detail="expected a list of ids in UTF-8")
            continue
        if list_sha256(uids) != sha or len(set(uids)) != n:
            yield ReleasedRow(
                kind="splits",
                path=where,
                rows=len(uids),
                status="contradicts",
                detail=f"{split}/{name}: expected {n} ids with SHA-256 {sha[:12]}…, got {len(set(uids))} with "
                f"{list_sha256(uids)[:12]}…",
            )
        else:
            yield ReleasedRow(kind="splits", path=where, rows=n, status="ok", sha256=sha)


def _hashed(settings: Settings, root: Path, found: list[ReleasedRow], *, every: bool) -> list[ReleasedRow]:
    """Compare files with the hashes that the release states for them (``SHA256SUMS``, as sha256sum writes it).

    Args:
        settings: where hashes are remembered.
        root: the release.
        found: what was found so far.
        every: all files; else those whose hash is known from reading them.

    Raises:
        ConfigError: no ``SHA256SUMS``, or a line that is none.
    """
    stated = read_sums(root)
    out = {row.path: row for row in found}
    read = {path.partition("#")[0] for path, row in out.items() if row.sha256}
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as cache:
        for name, sha in stated.items():
            if not (every or name in read):
                continue
            got = cache.get(root / name) if not (root / name).is_dir() else ""
            if got == sha:
                continue
            status = "missing" if got is None else "damaged"
            detail = f"stated in {SUMS}, not there" if got is None else f"expected SHA-256 {sha[:12]}…, got {got[:12]}…"
            covering = [row for p, row in out.items() if p == name or p.startswith(f"{name}#")]
            for row in covering or [_row_of(root, name)]:
                out[row.path] = replace(row, status=status, detail=detail, sha256=got)
    return list(out.values())


def _row_of(root: Path, name: str) -> ReleasedRow:
    """The row of a file that only ``SHA256SUMS`` names: a picture of a slice, a volume beside a CT, an input mask."""
    parts = name.split("/")
    kind = (
        "slices" if parts[0] == "vlm_dataset" else "generated_cts" if parts[0].startswith("generated_cts") else parts[0]
    )
    mode = _mode_below(root, root / name)
    after = parts[parts.index("slices") + 1] if kind == "slices" and "slices" in parts[:-1] else None
    return ReleasedRow(
        kind=kind if kind in KINDS else "inputs",
        mode=mode,
        dataset=None if mode else after,
        path=name,
        status="damaged",
    )
