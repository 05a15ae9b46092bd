"""What a reader's worker is given survives the trip through a shard's file."""

from pathlib import Path

from itrialspace_assets.readers.case import ReadCase, RealScan, RenderedScan, SliceToRead
from itrialspace_assets.readers.read import has_whole_scans
from itrialspace_assets.slices.case import RenderedImage


def case(kept: str = "nifti") -> ReadCase:
    """A case with a rendered image and a real scan."""
    image = RenderedImage(
        source="tissue", image_uid="a", twin_uid="b", is_lesion_free=False, path="p", sha256="s", kept=kept
    )
    part = SliceToRead(slice_uid="u", sha256="s", condition="plain", path="p", pixel_x_mm=0.7, pixel_y_mm=0.7)
    return ReadCase(
        case_uid="t/a/0",
        reader="blob",
        source="tissue",
        mode="m",
        dataset="d",
        slices=(part,),
        scans=(
            RenderedScan(image_uid="a", key="k", image=image),
            RealScan(image_uid="r", key="k", ct_path=str(Path("x.nii.gz"))),
        ),
    )


def test_a_case_is_the_same_after_a_shards_file() -> None:
    assert ReadCase.model_validate(case().model_dump(mode="json")) == case()


def test_scans_of_which_only_planes_were_kept_are_not_marked() -> None:
    assert has_whole_scans(case())
    assert not has_whole_scans(case("planes"))
