"""What a reader's worker does: answers one batch into the ledger, or marks one scan into the store.

What was read is kept by content, so an image that several modes share is read once.
"""

import io
import json
import time
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.fingerprints import replace_file, sha256_bytes
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.cases import Output
from itrialspace_assets.profiles.cts import real_ct
from itrialspace_assets.readers.api import Picture, Reader, Request, Scan
from itrialspace_assets.readers.asking import Returned, ask
from itrialspace_assets.readers.case import MarkScan, ReadBatch, ReadWork, RealScan, RenderedScan, RequestToRead
from itrialspace_assets.readers.ledger import Ledger
from itrialspace_assets.readers.levels import pictures
from itrialspace_assets.readers.registry import loaded, readers
from itrialspace_assets.slices.windows import profile
from itrialspace_assets.synthesis.images import open_ct

#: Name of the rows of failed requests in a journal.
FAILURES = "failures"


def work(case: ReadWork, settings: Settings) -> Output:
    """Do one job of a reader; what it made is in the ledger or in the store when this ends.

    Raises:
        CaseRejected: a scan is missing or damaged.
    """
    reader = readers(settings)[case.job.reader]
    if isinstance(case.job, MarkScan):
        marks_of(settings, reader, case.job.scan)
        return Output({})
    return _read_batch(settings, reader, case.job)


@lru_cache(maxsize=16)
def _ledger(folder: Path) -> Ledger:
    """The ledger that this process appends to."""
    return Ledger(folder)


def seal(settings: Settings, reader: Reader) -> None:
    """Turn what this process appended for a reader into a shard."""
    _ledger(Ledger.of(settings, reader.name, reader.revision).folder).seal()


def _read_batch(settings: Settings, reader: Reader, batch: ReadBatch) -> Output:
    """Ask a batch and append it to the ledger in one write; requests that failed are rows of the journal."""
    returned: dict[str, Returned] = {}
    opened: dict[str, tuple[Picture, ...] | str] = {}
    asked: list[Request] = []
    for wanted in batch.requests:
        request = open_request(settings, reader, wanted, opened)
        if isinstance(request, str):
            returned[wanted.generation_key] = Returned(None, 0.0, Reason.UNREADABLE_VOLUME, request)
        else:
            asked.append(request)
    now = time.time_ns()
    returned |= {r.key: got for r, got in zip(asked, ask(loaded(settings, reader.name), asked), strict=True)}
    rows = [
        _row(w, returned[w.generation_key], now) for w in batch.requests if returned[w.generation_key].reason is None
    ]
    _ledger(Ledger.of(settings, reader.name, reader.revision).folder).append(rows)
    failures = [
        {"generation_key": key, "reason": got.reason.value, "detail": got.detail}
        for key, got in returned.items()
        if got.reason is not None
    ]
    return Output({FAILURES: failures} if failures else {})


def _row(wanted: RequestToRead, got: Returned, now: int) -> dict[str, Any]:
    """A row of the ledger."""
    assert got.generation is not None
    scores = got.generation.option_scores
    return {
        "generation_key": wanted.generation_key,
        "picture_sha256": wanted.picture_sha256,
        "condition": wanted.condition,
        "control": wanted.control,
        "task": wanted.task,
        "prompt_id": wanted.prompt_id,
        "prompt_sha256": wanted.prompt_sha256,
        "options": list(wanted.options),
        "option_scores": None if scores is None else list(scores),
        "outside_log_mass": got.generation.outside_log_mass,
        "raw_text": got.generation.raw_text,
        "seconds": round(got.seconds, 6),
        "asked_ns": now,
    }


def open_request(
    settings: Settings, reader: Reader, wanted: RequestToRead, opened: dict[str, tuple[Picture, ...] | str]
) -> Request | str:
    """A request with its pictures, each file or scan opened once a batch; or what is wrong with one.

    Args:
        settings: where pictures and scans lie.
        reader: who is asked.
        wanted: the request.
        opened: what was opened before, by file or scan; added to.
    """
    shown: list[Picture] = []
    sources: dict[str, Callable[[], tuple[Picture, ...] | str]] = {
        path: partial(_picture, settings.output, path, sha256)
        for path, sha256 in zip(wanted.paths, wanted.sha256s, strict=True)
        if reader.sees
    }
    if wanted.scan is not None:
        sources[wanted.scan.key] = partial(_levels, settings, reader, wanted.scan)
    for name, source in sources.items():
        if name not in opened:
            opened[name] = source()
        found = opened[name]
        if isinstance(found, str):
            return found
        shown += found
    x, y = wanted.pixel_x_mm, wanted.pixel_y_mm
    return Request(
        key=wanted.generation_key,
        pictures=tuple(shown),
        pixel_mm=None if x is None or y is None else (y, x),
        condition=wanted.condition,
        control=wanted.control,
        task=wanted.task,
        prompt_id=wanted.prompt_id,
        prompt=wanted.prompt,
        options=wanted.options,
        ids=wanted.ids if reader.by_id else None,
    )


def _levels(settings: Settings, reader: Reader, scan: RenderedScan | RealScan) -> tuple[Picture, ...] | str:
    """The levels of a scan that a reader is shown, or what is wrong with its file."""
    assert reader.scan_levels is not None
    try:
        return pictures(_scan(settings, scan).ct(), profile(reader.profile), reader.scan_levels)
    except CaseRejected as error:
        return error.detail


def _picture(root: Path, path: str, sha256: str) -> tuple[Picture] | str:
    """A picture (PNG, or an array of bytes), or what is wrong with its file."""
    try:
        data = (root / path).read_bytes()
    except OSError as error:
        return f"{path}: expected a picture, got: {error.strerror}"
    if sha256_bytes(data) != sha256:
        return f"{path}: expected the picture that was cut, got other content; run the stage slice again"
    try:
        if path.endswith(".npy"):
            return (np.asarray(np.load(io.BytesIO(data), allow_pickle=False), np.uint8),)
        with Image.open(io.BytesIO(data)) as image:
            return (np.asarray(image),)
    except (OSError, SyntaxError, ValueError) as error:
        return f"{path}: expected a picture, got: {error}"


def marks_path(settings: Settings, reader: Reader, scan: RenderedScan | RealScan) -> Path:
    """File of a reader's marks on a scan.

    Args:
        settings: where outputs lie.
        reader: one that marks scans.
        scan: which one.
    """
    return settings.output / "store" / "marks" / reader.name / reader.revision / scan.key[:2] / f"{scan.key}.json"


def kept_marks(settings: Settings, reader: Reader, scan: RenderedScan | RealScan) -> list[dict[str, Any]] | None:
    """The marks that a reader made on a scan before; None if it has not, or if the file is damaged.

    Args:
        settings: where outputs lie.
        reader: one that marks scans.
        scan: which one.
    """
    try:
        found: list[dict[str, Any]] = json.loads(marks_path(settings, reader, scan).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return found


def marks_of(settings: Settings, reader: Reader, scan: RenderedScan | RealScan) -> list[dict[str, Any]]:
    """Marks on a scan, best first: those that were made before, else made now and written by rename.

    Args:
        settings: where scans and marks lie.
        reader: one that marks scans.
        scan: which one.

    Raises:
        CaseRejected: the scan is missing or damaged.
    """
    found = kept_marks(settings, reader, scan)
    if found is None:
        found = _marks(reader, _scan(settings, scan))
        data = json.dumps(found, separators=(",", ":"), allow_nan=False).encode()
        replace_file(marks_path(settings, reader, scan), data)
    return found


def _marks(reader: Reader, scan: Scan) -> list[dict[str, Any]]:
    assert reader.mark is not None
    return [
        {
            "world_x": m.world[0],
            "world_y": m.world[1],
            "world_z": m.world[2],
            "diameter_mm": m.diameter_mm,
            "score": m.score,
        }
        for m in reader.mark(scan)
    ]


def _scan(settings: Settings, scan: RenderedScan | RealScan) -> Scan:
    """A scan whose volumes are read when they are asked for; the twin of a twin is itself."""
    if isinstance(scan, RealScan):
        return Scan(scan.image_uid, partial(real_ct, settings.data, scan.ct_path), lambda: None)
    row = scan.image.model_dump()
    twin = row | {"is_lesion_free": True, "kept": "nifti"}
    return Scan(scan.image_uid, partial(open_ct, settings, row), partial(open_ct, settings, twin))
