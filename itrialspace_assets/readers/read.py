"""Lets a reader read the slices of one case and the scans behind them.

What was read is kept by content (``store/answers``, ``store/marks``): an image that several modes
share is read once.
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
from itrialspace_assets.readers.registry import Reader, readers
from itrialspace_assets.synthesis.images import open_ct


def _kept(path: Path, make: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What was read before, else what ``make`` reads now, written by rename."""
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        found = make()
        replace_file(path, json.dumps(found, separators=(",", ":"), allow_nan=False).encode())
    return found


def _answers(reader: Reader, settings: Settings, row: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        with Image.open(settings.output / row["path"]) as opened:
            image = np.asarray(opened)
    except (OSError, SyntaxError) as error:
        raise CaseRejected(Reason.UNREADABLE_VOLUME, f"{row['path']}: expected a PNG, got {error}") from None
    return [asdict(answer) for answer in reader.read_slice(image, (row["pixel_y_mm"], row["pixel_x_mm"]))]


def whole_scans(images: list[dict[str, Any]]) -> bool:
    """Whether all CTs of a case are there as a whole; marks of the lesion-free ones alone would be all false."""
    return all(image.get("row", {}).get("kept") != "planes" for image in images)


def read_case(payload: dict[str, Any], settings: Settings) -> Output:
    """Rows of ``predictions`` and ``detections`` of one case.

    Raises:
        CaseRejected: a slice or a CT is missing or damaged.
    """
    reader = readers(settings)[payload["reader"]]
    base = {
        "source": payload["source"],
        "reader": reader.name,
        "mode": payload["mode"],
        "dataset": payload["dataset"],
        "reader_revision": reader.revision,
    }
    folder = settings.output / "store"
    predictions = []
    for row in payload["slices"]:
        key = digest([row["sha256"], row["pixel_x_mm"], row["pixel_y_mm"]], 32)  # all that the reader is given
        answers = _kept(
            folder / "answers" / reader.name / reader.revision / key[:2] / f"{key}.json",
            lambda row=row: _answers(reader, settings, row),  # type: ignore[misc]
        )
        identity = {"slice_uid": row["slice_uid"], "slice_sha256": row["sha256"], "condition": row["condition"]}
        predictions += [base | identity | {"prompt_sha256": None} | answer for answer in answers]
    detections: list[dict[str, Any]] = []
    if reader.read_volume is not None and whole_scans(payload["images"]):
        for image in payload["images"]:
            marks = _kept(
                folder / "marks" / reader.name / reader.revision / image["key"][:2] / f"{image['key']}.json",
                lambda image=image: _marks(reader, settings, image, payload["source"]),  # type: ignore[misc]
            )
            detections += [base | {"image_uid": image["image_uid"], "mark": i} | m for i, m in enumerate(marks)]
    return Output({"predictions": predictions, "detections": detections})


def _marks(reader: Reader, settings: Settings, image: dict[str, Any], source: str) -> list[dict[str, Any]]:
    assert reader.read_volume is not None
    ct: Volume = real_ct(settings.data, image["ct_path"]) if source == "real" else open_ct(settings, image["row"])
    return [
        {
            "world_x": m.world[0],
            "world_y": m.world[1],
            "world_z": m.world[2],
            "diameter_mm": m.diameter_mm,
            "score": m.score,
        }
        for m in reader.read_volume(ct)
    ]
