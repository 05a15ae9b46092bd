"""What a slice's worker is given survives the trip through a journal, and a negative carries no truth."""

from itrialspace_assets.slices.case import ImageToCut, RealSliceCase, SliceCase, SliceNodule
from itrialspace_assets.slices.cut import _real
from itrialspace_assets.slices.rows import negative_of

REAL_CASE = RealSliceCase(
    case_uid="real/D/1",
    dataset="D",
    scan_uid="D/1",
    person_uid="p",
    ct_path="D/1.nii.gz",
    ct_sha256=None,
    map_sha256="m",
    lesion="[]",
    all_lesions=("[]", "[]"),
    cleared="[]",
    extents=((-10.5, 3.25),),
    lobe="right_lung_upper_lobe",
    label=1,
    anatomy="procedural",
    complete=True,
    published_id="D/1",
    seed=7,
)


def test_a_rendered_case_is_the_same_after_its_json() -> None:
    image = ImageToCut(
        source="tissue",
        image_uid="a",
        twin_uid="b",
        is_lesion_free=True,
        path="p",
        sha256="s",
        kept="nifti",
        paired=None,
    )
    nodule = SliceNodule(
        lesion="[]",
        present=True,
        lobe="left_lung_lower_lobe",
        asked_lobe="left_lung_lower_lobe",
        diameter_mm=7.25,
        planned_diameter_mm=7.5,
        size_bucket="6_8mm",
        label=None,
        empty=None,
        empty_site=None,
        host_person_uid="h",
        donor_person_uid="d",
    )
    case = SliceCase(
        case_uid="t/a/0",
        mode="m",
        dataset="d",
        arm="a",
        anatomy="procedural",
        published_id="m/a__C0000",
        images=(image,),
        nodules=(nodule, nodule),
    )
    assert SliceCase.model_validate(case.model_dump(mode="json")) == case


def test_a_real_case_is_the_same_after_its_json() -> None:
    assert RealSliceCase.model_validate(REAL_CASE.model_dump(mode="json")) == REAL_CASE


def test_a_negative_has_its_pair_and_no_truth() -> None:
    positive = _real(REAL_CASE, 7.25, 40, True)
    negative = negative_of(positive, "level", "never")
    assert (negative.pair_uid, negative.published_id, negative.presence) == (positive.pair_uid, "D/1_neg", "absent")
    truth = ("lobe", "size_class", "size_bucket", "diameter_mm", "label", "planned_lobe", "planned_diameter_mm")
    assert [getattr(negative, name) for name in truth] == [None] * len(truth)
    assert (negative.target_pixels, negative.other_lesions_in_slice) == (0, False)
    assert positive.size_class is not None
