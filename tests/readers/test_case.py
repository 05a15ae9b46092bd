"""What a reader's worker is given survives the trip through a shard's file."""

import pytest

from itrialspace_assets.readers.case import MarkScan, ReadBatch, ReadWork, RealScan, RenderedScan, RequestToRead
from itrialspace_assets.slices.case import RenderedImage

IMAGE = RenderedImage(
    source="tissue", image_uid="a", twin_uid="b", is_lesion_free=False, path="p", sha256="s", kept="nifti"
)
REQUEST = RequestToRead(
    generation_key="k",
    picture_sha256="s",
    paths=("p",),
    sha256s=("s",),
    pixel_x_mm=0.7,
    pixel_y_mm=0.7,
    condition="plain",
    control="none",
    task="size",
    prompt_id="size_1",
    prompt="How large?",
    prompt_sha256="h",
    options=("<5mm", "5-10mm"),
)


@pytest.mark.parametrize(
    "job",
    [
        ReadBatch(reader="mock", requests=(REQUEST, REQUEST.model_copy(update={"pixel_x_mm": None, "paths": ()}))),
        MarkScan(reader="blob", scan=RenderedScan(image_uid="a", key="k", image=IMAGE)),
        MarkScan(reader="blob", scan=RealScan(image_uid="r", key="k", ct_path="x.nii.gz")),
    ],
)
def test_a_job_is_the_same_after_a_shards_file(job: ReadBatch | MarkScan) -> None:
    assert ReadWork.model_validate(ReadWork(job=job).model_dump(mode="json")).job == job
