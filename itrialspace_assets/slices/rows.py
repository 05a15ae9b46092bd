"""Rows of the table ``slices``: what is known of a target, one plane through it, and one picture of that."""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class TargetColumns:
    """The columns that all pictures of a target share; of one without a nodule those of the truth are null."""

    source: str
    mode: str
    dataset: str
    case_uid: str
    image_uid: str
    published_id: str
    presence: str
    lobe: str | None
    lobe_share: float | None
    size_class: str | None
    size_bucket: str | None
    diameter_mm: float | None
    size_near_edge: bool | None
    mask_grown: bool | None
    planned_lobe: str | None
    planned_diameter_mm: float | None
    label: int | None
    negative_type: str | None
    guidance_site: str
    pair_uid: str
    paired: bool
    host_person_uid: str
    donor_person_uid: str | None
    arm: str | None
    anatomy: str


@dataclass(frozen=True)
class LevelColumns:
    """The columns that all pictures of one plane share; pixel size in mm, ``slice_z`` along the profile's axis."""

    slice_uid: str
    target_uid: str
    profile: str
    slice_z: int
    z_offset: int
    pixel_x_mm: float
    pixel_y_mm: float
    width: int
    height: int
    affine: list[float]
    target_pixels: int
    other_lesions_in_slice: bool


@dataclass(frozen=True)
class PictureColumns:
    """The columns of one picture."""

    condition: str
    control: str
    path: str
    sha256: str
    guidance_covers_target: bool


#: What the published id of a negative ends with, by where its guidance is drawn.
_ENDING = {"cleared_lesion": "_twin", "cleared": "_neg", "never": "_neg"}


def negative_of(target: TargetColumns, negative_type: str, guidance_site: str) -> TargetColumns:
    """The columns of a target without a nodule that one with a nodule is compared with.

    Args:
        target: the columns of the one with the nodule.
        negative_type: what kind of negative it is.
        guidance_site: what lies where guidance is drawn; only the nodule's own place on its twin stays paired.
    """
    return replace(
        target,
        published_id=f"{target.published_id}{_ENDING[guidance_site]}",
        presence="absent",
        lobe=None,
        lobe_share=None,
        size_class=None,
        size_bucket=None,
        diameter_mm=None,
        size_near_edge=None,
        mask_grown=None,
        planned_lobe=None,
        planned_diameter_mm=None,
        label=None,
        negative_type=negative_type,
        guidance_site=guidance_site,
        paired=target.paired and guidance_site == "cleared_lesion",
    )


def slice_row(target: TargetColumns, level: LevelColumns, picture: PictureColumns) -> dict[str, Any]:
    """A row of ``slices``.

    Args:
        target: what is known of the target.
        level: the plane.
        picture: one picture of it.
    """
    return vars(target) | vars(level) | vars(picture)
