"""Rows of the tables ``predictions`` and ``detections``, one class a table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PredictionRow:
    """A reader's answer to one task on one slice."""

    slice_uid: str
    slice_sha256: str
    condition: str
    task: str
    source: str
    reader: str
    mode: str
    dataset: str
    reader_revision: str
    prompt_sha256: str | None
    answer: str | None
    score: float | None
    status: str
    raw_text: str | None


@dataclass(frozen=True)
class DetectionRow:
    """A reader's mark on a scan: its rank by score from 0, world position and diameter in mm (RAS)."""

    image_uid: str
    source: str
    reader: str
    mode: str
    dataset: str
    reader_revision: str
    mark: int
    world_x: float
    world_y: float
    world_z: float
    diameter_mm: float
    score: float
