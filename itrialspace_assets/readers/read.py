"""Lets a reader read the slices of one case and mark the scans behind them.

What was read is kept by content (``store/answers``, ``store/marks``): an image that several modes share is read once.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.fingerprints import digest, replace_file
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.cases import Output
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.profiles.cts import real_ct
from itrialspace_assets.readers.case import ReadCase, RealScan, RenderedScan, SliceToRead
from itrialspace_assets.readers.registry import Reader, readers
from itrialspace_assets.readers.rows import DetectionRow, PredictionRow
from itrialspace_assets.synthesis.images import open_ct


def has_whole_scans(case: ReadCase) -> bool:
    """Whether all CTs of a case were kept as a whole; marks of the lesion-free ones alone would all be false."""
    return all(isinstance(scan, RealScan) or scan.image.kept != "planes" for scan in case.scans)


def read_case(case: ReadCase, settings: Settings) -> Output:
    """Rows of ``predictions`` and ``detections`` of one case.

    Raises:
        CaseRejected: a slice or a CT is missing or damaged.
    """
    reader = readers(settings)[case.reader]
    predictions = [row for part in case.slices for row in _predictions(case, reader, settings, part)]
    detections: list[DetectionRow] = []
    if reader.read_scan is not None and has_whole_scans(case):
        detections = [row for scan in case.scans for row in _detections(case, reader, settings, scan)]
    return Output(
        {"predictions": [asdict(row) for row in predictions], "detections": [asdict(row) for row in detections]}
    )


def _predictions(case: ReadCase, reader: Reader, settings: Settings, part: SliceToRead) -> list[PredictionRow]:
    given = digest([part.sha256, part.pixel_x_mm, part.pixel_y_mm], 32)  # all that the reader is given
    answers = _kept(settings, "answers", reader, given, lambda: _answers(reader, settings, part))
    return [
        PredictionRow(
            slice_uid=part.slice_uid,
            slice_sha256=part.sha256,
            condition=part.condition,
            source=case.source,
            reader=reader.name,
            mode=case.mode,
            dataset=case.dataset,
            reader_revision=reader.revision,
            prompt_sha256=None,
            **answer,
        )
        for answer in answers
    ]


def _detections(
    case: ReadCase, reader: Reader, settings: Settings, scan: RenderedScan | RealScan
) -> list[DetectionRow]:
    marks = _kept(settings, "marks", reader, scan.key, lambda: _marks(reader, settings, scan))
    return [
        DetectionRow(
            image_uid=scan.image_uid,
            source=case.source,
            reader=reader.name,
            mode=case.mode,
            dataset=case.dataset,
            reader_revision=reader.revision,
            mark=rank,
            **mark,
        )
        for rank, mark in enumerate(marks)
    ]


def _kept(
    settings: Settings, kind: str, reader: Reader, key: str, make: Callable[[], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """What this reader said before, else what ``make`` says now, written by rename."""
    path: Path = settings.output / "store" / kind / reader.name / reader.revision / key[:2] / f"{key}.json"
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        found = make()
        replace_file(path, json.dumps(found, separators=(",", ":"), allow_nan=False).encode())
    return found


def _answers(reader: Reader, settings: Settings, part: SliceToRead) -> list[dict[str, Any]]:
    try:
        with Image.open(settings.output / part.path) as opened:
            image = np.asarray(opened)
    except (OSError, SyntaxError) as error:
        raise CaseRejected(Reason.UNREADABLE_VOLUME, f"{part.path}: expected a PNG, got {error}") from None
    return [asdict(answer) for answer in reader.read_slice(image, (part.pixel_y_mm, part.pixel_x_mm))]


def _marks(reader: Reader, settings: Settings, scan: RenderedScan | RealScan) -> list[dict[str, Any]]:
    assert reader.read_scan is not None
    ct, twin = _open(settings, scan)
    return [
        {
            "world_x": m.world[0],
            "world_y": m.world[1],
            "world_z": m.world[2],
            "diameter_mm": m.diameter_mm,
            "score": m.score,
        }
        for m in reader.read_scan(ct, twin)
    ]


def _open(settings: Settings, scan: RenderedScan | RealScan) -> tuple[Volume, Volume | None]:
    """HU of a scan, and of its lesion-free twin where it was rendered (of the twin: itself)."""
    if isinstance(scan, RealScan):
        return real_ct(settings.data, scan.ct_path), None
    row = scan.image.model_dump()
    return open_ct(settings, row), open_ct(settings, row | {"is_lesion_free": True, "kept": "nifti"})
