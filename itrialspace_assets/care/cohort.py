"""Exports a cohort for use elsewhere: CTs, segmentations, truth, manifests, frozen lists, terms and hashes.

    ct/<case>.nii.gz   or  ct/<case>/0001.dcm …
    seg/<case>.nii.gz  or  seg/<case>.dcm      (DICOM-SEG)
    truth.csv          and truth/<case>.dcm    (DICOM SR, with DICOM only)
    manifests/<mode>/  splits/<split>/  TERMS.md  SHA256SUMS

Rendered images alone leave, and only where the terms of the hosts' and donors' datasets let them.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import hash_file, replace_file
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.hosts.store import load_host_map, packed_host
from itrialspace_assets.imaging.dicom import ct_series, segmentation
from itrialspace_assets.imaging.dicom_report import SegmentTruth, truth_report
from itrialspace_assets.imaging.lesions import Lesion, stamp_packed, unpack_bits
from itrialspace_assets.imaging.packing import write_packed, write_volume
from itrialspace_assets.insertion.export import whole
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.records.layout import PROCEDURAL, REAL, published_mode
from itrialspace_assets.records.provenance import mark_of
from itrialspace_assets.records.store import read_all
from itrialspace_assets.synthesis.images import open_ct

FORMATS = ("nifti", "dicom")
#: Columns of ``insertions`` that are the truth of a case.
_TRUTH = (
    "case_uid",
    "mode",
    "dataset",
    "nodule_idx",
    "present",
    "kept",
    "lobe",
    "diameter_mm",
    "volume_mm3",
    "world_x",
    "world_y",
    "world_z",
    "label",
    "donor_nodule_uid",
    "donor_person_uid",
    "host_scan_uid",
    "host_person_uid",
    "anatomy",
)


@dataclass(frozen=True)
class ExportedCohort:
    """Rows of ``cts`` (one a case: its image with nodules, else its lesion-free one) and of ``insertions``."""

    modes: tuple[str, ...]
    source: str
    cts: pl.DataFrame
    insertions: pl.DataFrame

    @property
    def datasets(self) -> tuple[str, ...]:
        """Datasets of real hosts and donors."""
        real = self.insertions.filter(pl.col("anatomy") != "procedural")
        donors = real["donor_nodule_uid"].str.split("/").list.first()
        return tuple(sorted({*real["dataset"], *donors} - {PROCEDURAL}))


def cohort(settings: Settings, modes: Sequence[str], source: str) -> ExportedCohort:
    """The rendered cases of some modes.

    Args:
        settings: gives tables and the datasets' terms.
        modes: keys of the modes.
        source: name of the renderer.

    Raises:
        ConfigError: real pixels are asked for, a mode was not rendered, only slices were kept, or the terms of a
            dataset forbid redistribution; names the dataset and its licence.
    """
    if source == REAL:
        raise ConfigError("--source real: real pixels are never exported; name a renderer, for example tissue")
    parts = {mode: read_all(settings.output, "cts", mode=mode, source=source) for mode in modes}
    if empty := [mode for mode, rows in parts.items() if rows.is_empty()]:
        raise ConfigError(
            f"{', '.join(empty)}: expected CTs of {source}, found none; run `its run --modes {','.join(empty)} --to "
            "synthesise`"
        )
    every = pl.concat(parts.values()).sort("case_uid", "is_lesion_free").unique("case_uid", keep="first")
    if (every["kept"] == "planes").any():
        raise ConfigError("expected whole CTs, got slices alone (ITRIALSPACE_CTS=slices); render with nifti or delta")
    rows = pl.concat([read_all(settings.output, "insertions", mode=mode) for mode in modes])
    rows = rows.join(every.select("case_uid"), on="case_uid", how="semi").sort("case_uid", "nodule_idx")
    found = ExportedCohort(tuple(modes), source, every.sort("twin_uid", "case_uid"), rows)
    terms = datasets(settings)
    kept = [name for name in found.datasets if name not in terms or not terms[name].redistributable]
    if kept:
        said = ", ".join(f"{name} ({terms[name].licence if name in terms else 'terms not stated'})" for name in kept)
        raise ConfigError(
            f"expected hosts and donors of datasets whose terms allow redistribution, got {said}; choose other "
            "modes, or state the terms that you have (ITRIALSPACE_DATASETS_CONFIG)"
        )
    return found


def export(settings: Settings, of: ExportedCohort, to: Path, how: str, progress: Callable[[int], None]) -> int:
    """Write a cohort; returns how many cases.

    Args:
        settings: gives store, manifests and frozen lists.
        of: from ``cohort``.
        to: folder that is not there yet, or empty.
        how: one of ``FORMATS``.
        progress: told how many more cases are done.

    Raises:
        ConfigError: an unknown format, or the folder holds something.
        CaseRejected: an image or a host map is missing or damaged.
    """
    if how not in FORMATS:
        raise ConfigError(f"--ct {how!r}: expected one of {', '.join(FORMATS)}")
    if to.exists() and any(to.iterdir()):
        raise ConfigError(f"--out {to}: expected an empty folder, got one with files; name another")
    nodules = of.insertions.partition_by("case_uid", as_dict=True)
    for ct in of.cts.iter_rows(named=True):
        own = nodules[(ct["case_uid"],)]
        (_dicom if how == "dicom" else _nifti)(settings, ct, own, to)
        progress(1)
    replace_file(to / "truth.csv", of.insertions.select(_TRUTH).write_csv().encode())
    for mode in of.modes:
        name = published_mode(mode)
        shutil.copytree(settings.output / "manifests" / name, to / "manifests" / name)
        for path in (settings.output / "splits").glob(f"*/{of.source}/{mode}.*"):
            folder = to / "splits" / path.parts[-3]
            (folder / of.source).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / of.source / path.name)
            shutil.copyfile(path.parents[1] / "lock.json", folder / "lock.json")
    replace_file(to / "TERMS.md", _terms(settings, of, how).encode())
    files = sorted(path for path in to.rglob("*") if path.is_file())
    sums = "".join(f"{hash_file(path)}  {path.relative_to(to)}\n" for path in files)
    replace_file(to / "SHA256SUMS", sums.encode())
    return of.cts.height


def _name(case_uid: str) -> str:
    return case_uid.replace("/", "_")


def _how(ct: dict[str, object]) -> str:
    return f"synthetic, rendered by {ct['source']}; {ct['anatomy']} anatomy"


def _lesions(nodules: pl.DataFrame) -> list[Lesion]:
    return [unpack_bits(bits) for bits in nodules.filter("present")["lesion"]]


def _nifti(settings: Settings, ct: dict[str, object], nodules: pl.DataFrame, to: Path) -> None:
    """The CT, and the host's label map with its nodules as label 23."""
    name, sha = _name(str(ct["case_uid"])), str(nodules["host_map_sha256"][0])
    write_volume(to / "ct" / f"{name}.nii.gz", open_ct(settings, ct), _how(ct))
    host, packed = load_host_map(settings.output, sha), packed_host(settings.output, sha)
    (to / "seg").mkdir(parents=True, exist_ok=True)
    note = f"inserted nodules ({ct['anatomy']} anatomy)"
    write_packed(to / "seg" / f"{name}.nii.gz", stamp_packed(packed, host, _lesions(nodules), note))


def _dicom(settings: Settings, ct: dict[str, object], nodules: pl.DataFrame, to: Path) -> None:
    """The CT as a series; of a case with nodules a segmentation over it, and a report on its segments."""
    name, scan = _name(str(ct["case_uid"])), str(nodules["host_scan_uid"][0])
    person, image = str(nodules["host_person_uid"][0]).split("/", 1)[-1], str(ct["image_uid"])
    volume = open_ct(settings, ct)
    for file, data in ct_series(volume, image, scan, person, _how(ct)):
        replace_file(to / "ct" / name / file, data)
    own = nodules.filter("present")
    if own.is_empty():
        return
    masks = [whole(lesion, volume.array.shape) for lesion in _lesions(own)]
    labels = [
        f"nodule {idx}, donor {uid.split('/', 1)[-1]}" for idx, uid in own["nodule_idx", "donor_nodule_uid"].rows()
    ]
    seg = segmentation(volume, masks, labels, image, scan, person, ct["anatomy"] == "procedural")
    replace_file(to / "seg" / f"{name}.dcm", seg)
    truth = [SegmentTruth(*row) for row in own["lobe", "diameter_mm", "volume_mm3", "label"].rows()]
    replace_file(to / "truth" / f"{name}.dcm", truth_report(seg, truth, f"truth of a case: {_how(ct)}"))


def _terms(settings: Settings, of: ExportedCohort, how: str) -> str:
    """What the cohort is, whose data are in it under which terms, and what to cite."""
    anatomies = of.cts["anatomy"].unique().sort()
    known = datasets(settings)
    rows = [
        f"- {name}: {known[name].licence} ({known[name].licence_source}). Cite: {known[name].citation}."
        for name in of.datasets
    ]
    truth = "`truth.csv`, and DICOM SR (TID 1500) in `truth/`" if how == "dicom" else "`truth.csv`"
    lines = [
        "# A synthetic cohort\n",
        f"{mark_of(anatomies[0], of.source) if len(anatomies) == 1 else 'SYNTHETIC'}\n",
        f"{of.cts.height} cases of {', '.join(of.modes)}, rendered by {of.source}. No pixel is of a real scan.\n",
        f"CTs are in `ct/`, segmentations in `seg/`; what is true is in {truth}. A case without a nodule has a CT "
        "alone, and a row with `present` false. `SHA256SUMS` lists every file.\n",
        "## Data of others, their terms, and what to cite\n",
        *(rows or ["None: the anatomy is procedural, it shows no person."]),
        "\n## Software\n",
        "iTrialSpace on Dagster, Apache-2.0; cite as its CITATION.cff says.",
    ]
    return "\n".join(lines) + "\n"
