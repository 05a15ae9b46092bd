"""Rows of the table ``slices``: what is known of a target, and one slice of it under one condition."""

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Target:
    """The columns that all conditions of a slice share; of a slice without a nodule those of the truth are null."""

    source: str
    mode: str
    dataset: str
    case_uid: str
    image_uid: str
    published_id: str
    presence: str
    lobe: str | None
    size_class: str | None
    size_bucket: str | None
    diameter_mm: float | None
    planned_lobe: str | None
    planned_diameter_mm: float | None
    label: int | None
    target_pixels: int
    negative_type: str | None
    guidance_site: str | None
    pair_uid: str
    paired: bool
    other_lesions_in_slice: bool
    host_person_uid: str
    donor_person_uid: str | None
    arm: str | None
    anatomy: str


@dataclass(frozen=True)
class Picture:
    """The columns of one slice under one condition; pixel size in mm, ``slice_z`` along z in the scan (RAS)."""

    slice_uid: str
    target_uid: str
    condition: str
    control: str
    path: str
    sha256: str
    profile: str
    slice_z: int
    z_offset: int
    pixel_x_mm: float
    pixel_y_mm: float
    width: int
    height: int


def negative_of(target: Target, negative_type: str, guidance_site: str | None) -> Target:
    """The columns of the slice without a nodule that a target's slice is compared with.

    Args:
        target: the columns of the slice with the nodule.
        negative_type: what kind of negative it is.
        guidance_site: what lies where guidance is drawn.
    """
    return replace(
        target,
        published_id=f"{target.published_id}_neg",
        presence="absent",
        lobe=None,
        size_class=None,
        size_bucket=None,
        diameter_mm=None,
        planned_lobe=None,
        planned_diameter_mm=None,
        label=None,
        target_pixels=0,
        negative_type=negative_type,
        guidance_site=guidance_site,
        other_lesions_in_slice=False,
    )


def slice_row(target: Target, picture: Picture) -> dict[str, Any]:
    """A row of ``slices``."""
    return asdict(target) | asdict(picture)
