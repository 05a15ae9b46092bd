"""What is cut of one case: which targets, which pictures, what their rows say, how often an image is read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.imaging.geometry import Volume, read_volume
from itrialspace_assets.imaging.lesions import Lesion, pack_bits, unpack_bits
from itrialspace_assets.imaging.packing import pack_volume, write_packed, write_volume
from itrialspace_assets.records.schema import errors, violations
from itrialspace_assets.records.tables import CONDITIONS, TABLES
from itrialspace_assets.slices import cut as cutting
from itrialspace_assets.slices.case import ImageToCut, RealSliceCase, SliceCase, SliceNodule
from itrialspace_assets.slices.cut import _real, cut_case, cut_real, near_edge
from itrialspace_assets.slices.rows import negative_of
from itrialspace_assets.synthesis import images
from itrialspace_assets.synthesis.images import image_path

from ..conftest import small_chest

LESION = Lesion((8, 14, 8), np.ones((4, 3, 3), bool))  # of the left lung
EMPTY = Lesion((9, 20, 15), np.ones((4, 3, 3), bool))
SPACING = tuple(float(s) for s in small_chest().spacing)


def real_case(**changes: Any) -> RealSliceCase:
    """A finding in the left lung of the small chest; nothing else is known of the scan."""
    chest = small_chest()
    fields = {
        "case_uid": "real/D/1",
        "dataset": "D",
        "scan_uid": "D/1",
        "person_uid": "p",
        "ct_path": "D/1.nii.gz",
        "ct_sha256": "c",
        "map_sha256": "m",
        "shape": chest.array.shape,
        "spacing": SPACING,
        "origin": tuple(float(v) for v in chest.affine[:3, 3]),
        "lesion": pack_bits(LESION),
        "all_lesions": (pack_bits(LESION), pack_bits(Lesion((28, 14, 9), np.ones((2, 2, 2), bool)))),
        "cleared": pack_bits(LESION),
        "extents": ((27.0, 34.5),),
        "lobe": "left_lung_lower_lobe",
        "lobe_share": 0.75,
        "mask_grown": True,
        "label": 1,
        "anatomy": "procedural",
        "complete": False,
        "published_id": "D/1",
        "seed": 7,
    }
    return RealSliceCase(**fields | changes)


def nodule(**changes: Any) -> SliceNodule:
    """The primary nodule of a rendered case."""
    fields = {
        "lesion": pack_bits(LESION),
        "present": True,
        "lobe": "left_lung_lower_lobe",
        "lobe_share": 0.9,
        "asked_lobe": "left_lung_lower_lobe",
        "diameter_mm": 7.25,
        "planned_diameter_mm": 7.5,
        "size_bucket": "5-10mm",
        "label": None,
        "empty": pack_bits(EMPTY),
        "empty_site": "never",
        "host_person_uid": "h",
        "donor_person_uid": "d",
    }
    return SliceNodule(**fields | changes)


def rendered_case(out: Path, kept: str = "nifti", **changes: Any) -> SliceCase:
    """A lesion image, 500 HU denser over the lesion, and its twin; written once."""
    rng = np.random.default_rng(3)
    chest = small_chest()
    twin = Volume(np.asfortranarray(rng.integers(-950, -750, chest.array.shape).astype(np.int16)), chest.affine)
    array = twin.array.copy(order="F")
    array[LESION.box][LESION.mask] += 500
    image = Volume(array, chest.affine)
    write_packed(out / image_path("tissue", "twin"), pack_volume(twin))
    path = image_path("tissue", "lesion", kept)
    part = {
        "nifti": image,
        "patch": image.crop((slice(6, 14), slice(12, 19), slice(5, 12))),
        "planes": image.crop((slice(0, 40), slice(0, 36), slice(7, 12))),
    }[kept]
    write_packed(out / path, pack_volume(part))
    shared = {"source": "tissue", "twin_uid": "twin", "sha256": "s"}
    lesion = ImageToCut(image_uid="lesion", is_lesion_free=False, path=path, kept=kept, paired=True, **shared)
    free = ImageToCut(
        image_uid="twin",
        is_lesion_free=True,
        path=image_path("tissue", "twin"),
        kept="nifti",
        paired=None,
        **shared,
    )
    fields: dict[str, Any] = {
        "case_uid": "t/a/0",
        "mode": "m",
        "dataset": "d",
        "arm": "a",
        "anatomy": "procedural",
        "published_id": "m/a__C0000",
        "images": (lesion, free),
        "nodules": (nodule(),),
    }
    return SliceCase(**fields | changes)


def rows_of(made: Any, partition: dict[str, str]) -> list[dict[str, Any]]:
    """Rows of ``slices`` that the registry accepts."""
    rows = made.rows["slices"]
    frame = TABLES["slices"].frame(rows)
    assert not errors(violations(TABLES["slices"], frame, **partition)), violations(TABLES["slices"], frame)
    assert {r["path"] for r in rows} == set(made.files)
    return frame.to_dicts()


RENDERED = {"source": "tissue", "mode": "m", "dataset": "d"}
REAL = {"source": "real", "mode": "real", "dataset": "D"}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    images._read_twin.cache_clear()
    return tmp_path / "out"


def with_ct(tmp_path: Path, **settings: Any) -> Settings:
    """Settings over a data root that holds the CT of ``real_case``."""
    chest = small_chest()
    rng = np.random.default_rng(5)
    hu = np.where(chest.array == 200, 0, -850) + rng.integers(-20, 20, chest.array.shape)
    hu[LESION.box][LESION.mask] = 60
    path = tmp_path / "data/raw_ct/D/1.nii.gz"
    write_volume(path, Volume(np.asfortranarray(hu.astype(np.int16)), chest.affine))
    return load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out", workers=1, **settings)


def test_cases_are_the_same_after_their_json(out: Path) -> None:
    case = rendered_case(out)
    assert SliceCase.model_validate(case.model_dump(mode="json")) == case
    assert RealSliceCase.model_validate(real_case().model_dump(mode="json")) == real_case()


def test_a_negative_has_its_case_and_no_truth() -> None:
    positive = _real(real_case(), 7.25)
    negative = negative_of(positive, "level", "never")
    assert (negative.pair_uid, negative.published_id, negative.presence) == (positive.pair_uid, "D/1_neg", "absent")
    truth = ("lobe", "lobe_share", "size_class", "size_bucket", "diameter_mm", "label", "planned_lobe", "mask_grown")
    assert [getattr(negative, name) for name in truth] == [None] * len(truth)
    assert positive.size_class is not None and positive.mask_grown


@pytest.mark.parametrize(
    ("diameter", "near"), [(4.1, True), (3.9, False), (5.9, True), (6.1, False), (10.99, True), (19.01, True)]
)
def test_a_size_within_a_voxel_of_an_edge_is_flagged(diameter: float, near: bool) -> None:
    assert near_edge(diameter, 1.0) is near
    assert near_edge(None, 1.0) is None


def test_a_twin_is_cut_twice_and_only_one_of_them_is_the_pair(out: Path) -> None:
    settings = load_settings(output_dir=out, workers=1)
    rows = rows_of(cut_case(rendered_case(out), settings), RENDERED)
    assert len(rows) == 3 * 4, "by default one profile, one plane, four conditions, no control"
    plain = {r["guidance_site"]: r for r in rows if r["condition"] == "plain"}
    lesion, counterfactual, decoy = plain["lesion"], plain["cleared_lesion"], plain["never"]
    assert [plain[s]["paired"] for s in ("lesion", "cleared_lesion", "never")] == [True, True, False]
    assert len({r["pair_uid"] for r in rows}) == 1
    assert len({r["published_id"] for r in plain.values()}) == 3
    assert (lesion["slice_z"], counterfactual["slice_z"], decoy["slice_z"]) == (8, 8, 15)
    assert (lesion["target_pixels"], counterfactual["target_pixels"], decoy["target_pixels"]) == (12, 0, 0)
    assert (lesion["size_class"], lesion["lobe_share"], lesion["mask_grown"]) == ("5-10mm", 0.9, False)
    pictures = {s: np.asarray(Image.open(out / r["path"])).astype(int) for s, r in plain.items()}
    changed = np.argwhere(pictures["lesion"] != pictures["cleared_lesion"])
    assert len(changed) == 12, "the pair differs in the lesion's pixels alone"
    assert changed[:, 1].min() > 40 / 2, "a nodule of the left lung is on the right"
    boxes = [
        next(r for r in rows if r["guidance_site"] == s and r["condition"] == "bbox")
        for s in ("lesion", "cleared_lesion", "never")
    ]
    drawn = [(np.asarray(Image.open(out / r["path"])) == (0, 255, 0)).all(axis=2) for r in boxes]
    assert (drawn[0] == drawn[1]).all() and not (drawn[0] == drawn[2]).all()


def test_other_nodules_are_told_on_the_planes_that_show_them(out: Path) -> None:
    case = rendered_case(out)
    beside = pack_bits(Lesion((28, 14, 9), np.ones((2, 2, 4), bool)))
    for present in (True, False):
        with_another = case.model_copy(update={"nodules": (nodule(), nodule(lesion=beside, present=present))})
        settings = load_settings(output_dir=out, workers=1, z_offsets="-1,0,1", conditions="plain")
        rows = rows_of(cut_case(with_another, settings), RENDERED)
        told = {(r["guidance_site"], r["z_offset"]) for r in rows if r["other_lesions_in_slice"]}
        assert told == ({("lesion", 1)} if present else set()), "of the lesion image; the twin has none"


def test_a_clean_case_has_its_empty_place_alone(out: Path) -> None:
    case = rendered_case(out)
    clean = case.model_copy(update={"images": case.images[1:], "nodules": (nodule(present=False),)})
    rows = rows_of(cut_case(clean, load_settings(output_dir=out, workers=1)), RENDERED)
    assert {r["guidance_site"] for r in rows} == {"never"} and not any(r["paired"] for r in rows)
    without = case.model_copy(update={"nodules": (nodule(empty=None, empty_site=None),)})
    kept = rows_of(cut_case(without, load_settings(output_dir=out, workers=1)), RENDERED)
    assert {r["guidance_site"] for r in kept} == {"lesion", "cleared_lesion"}
    nothing = clean.model_copy(update={"nodules": (nodule(present=False, empty=None, empty_site=None),)})
    with pytest.raises(CaseRejected, match="got neither"):
        cut_case(nothing, load_settings(output_dir=out, workers=1))


@pytest.mark.parametrize(
    ("site", "change", "rule"),
    [
        ("never", {"paired": True}, "a pair is a lesion and its place on the twin"),
        ("lesion", {"control": "blank", "condition": "bbox"}, "a blank shows no guidance, other controls do"),
        ("lesion", {"control": "box_only"}, "a blank shows no guidance, other controls do"),
        ("lesion", {"target_pixels": 0}, "a positive has pixels on its own plane"),
        ("lesion", {"z_offset": 2}, "expected <= 1"),
        ("lesion", {"condition": "circle"}, f"expected one of {', '.join(CONDITIONS)}"),
    ],
)
def test_a_row_that_contradicts_itself_is_never_written(
    out: Path, site: str, change: dict[str, Any], rule: str
) -> None:
    settings = load_settings(output_dir=out, workers=1, conditions="plain")
    rows = cut_case(rendered_case(out), settings).rows["slices"]
    row = next(r for r in rows if r["guidance_site"] == site)
    frame = TABLES["slices"].frame([row | change])
    assert [v.rule for v in errors(violations(TABLES["slices"], frame))] == [rule]


@pytest.mark.parametrize("kept", ["patch", "planes"])
def test_slices_are_alike_however_the_image_is_kept(out: Path, kept: str) -> None:
    """Neighbours too, of which an image that is kept as planes holds one beside the lesion's."""
    settings = load_settings(output_dir=out, workers=1, z_offsets="-1,0,1")
    whole = cut_case(rendered_case(out), settings)
    images._read_twin.cache_clear()
    assert cut_case(rendered_case(out, kept), settings).files == whole.files
    assert len(whole.files) == 3 * 3 * 4


def test_planes_across_other_axes_need_the_whole_image(out: Path) -> None:
    settings = load_settings(output_dir=out, workers=1, profiles="lung_axial,lung_coronal")
    rows = rows_of(cut_case(rendered_case(out, "patch"), settings), RENDERED)
    assert {(r["profile"], r["width"], r["height"]) for r in rows} == {("lung_axial", 40, 36), ("lung_coronal", 40, 30)}
    with pytest.raises(CaseRejected, match="ITRIALSPACE_CTS=slices") as error:
        cut_case(rendered_case(out, "planes"), settings)
    assert error.value.reason is Reason.NOT_KEPT


def test_one_read_serves_every_picture_of_an_image(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six profiles, three neighbours, six conditions, three controls: the twin and the lesion image, each once."""
    reads: list[str] = []

    def counting(path: Path, *more: Any, **named: Any) -> Volume:
        reads.append(path.name)
        return read_volume(path, *more, **named)

    for module in ("synthesis.images", "imaging.members"):
        monkeypatch.setattr(f"itrialspace_assets.{module}.read_volume", counting)
    settings = load_settings(
        output_dir=out,
        workers=1,
        profiles="lung_axial,lung_axial_medgemma,mediastinal_axial,bone_axial,lung_axial_npy,lung_axial_0_7mm",
        z_offsets="-1,0,1",
        conditions="plain,bbox,contour,bbox_contour,contour_published,bbox_contour_published",
        controls="blank,box_only,contralateral_box",
    )
    made = cut_case(rendered_case(out, "patch"), settings)
    assert sorted(reads) == ["lesion.patch.nii.gz", "twin.nii.gz"]
    rows = rows_of(made, RENDERED)
    assert len(rows) == 3 * 6 * 3 * (6 + 1 + 5 + 5)
    for target in {r["target_uid"] for r in rows}:
        mine = [r for r in rows if r["target_uid"] == target]
        assert len({(r["guidance_site"], r["image_uid"]) for r in mine}) == 1, "one target joins all its pictures"
        assert len({r["slice_uid"] for r in mine}) == 6 * 3
    by_npy = next(r for r in rows if r["profile"] == "lung_axial_npy" and r["condition"] == "plain")
    by_png = next(
        r
        for r in rows
        if r["profile"] == "lung_axial"
        and all(r[k] == by_npy[k] for k in ("target_uid", "condition", "control", "z_offset"))
    )
    np.testing.assert_array_equal(np.load(out / by_npy["path"]), np.asarray(Image.open(out / by_png["path"])))


def test_a_real_finding_with_its_truth_and_its_neighbours(tmp_path: Path) -> None:
    settings = with_ct(tmp_path, z_offsets="-1,0,1")
    rows = rows_of(cut_real(real_case(), settings), REAL)
    plain = {r["z_offset"]: r for r in rows if r["condition"] == "plain"}
    assert {z: (r["slice_z"], r["target_pixels"], r["other_lesions_in_slice"]) for z, r in plain.items()} == {
        -1: (7, 0, False),
        0: (8, 12, False),
        1: (9, 12, True),
    }
    diameter = (6 * 36 * 7.5 / np.pi) ** (1 / 3)
    assert plain[0]["diameter_mm"] == pytest.approx(diameter, abs=1e-4), "of the sphere of the mask's volume"
    assert (plain[0]["size_class"], plain[0]["size_near_edge"]) == ("5-10mm", False), "1.98 mm from 10"
    assert (plain[0]["mask_grown"], plain[0]["lobe_share"]) == (True, 0.75)
    below = next(r for r in rows if (r["z_offset"], r["condition"]) == (-1, "bbox"))
    picture = np.asarray(Image.open(settings.output / below["path"]))
    assert picture.shape == (36, 40, 3) and (np.ptp(picture, axis=2) == 0).all(), "nothing to draw around there"


def test_neighbours_beyond_the_end_of_a_scan_are_none(tmp_path: Path) -> None:
    settings = with_ct(tmp_path, z_offsets="-1,0,1", conditions="plain")
    top = pack_bits(Lesion((8, 14, 29), np.ones((2, 2, 1), bool)))
    rows = rows_of(cut_real(real_case(lesion=top, all_lesions=(top,)), settings), REAL)
    assert sorted((r["z_offset"], r["slice_z"]) for r in rows) == [(-1, 28), (0, 29)]


def test_a_negative_place_holds_the_whole_outline_of_its_nodule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = with_ct(tmp_path, z_offsets="-1,0,1", profiles="lung_axial,lung_coronal", conditions="plain,bbox")
    monkeypatch.setattr(cutting, "load_host_map", lambda *_: small_chest())
    tall = Lesion((8, 14, 4), np.ones((4, 3, 3), bool))
    case = real_case(complete=True, lesion=pack_bits(tall), all_lesions=(pack_bits(tall),), cleared=pack_bits(tall))
    made = cut_real(case.model_copy(update={"extents": ((17.0, 22.0),)}), settings)
    assert not made.rejected
    rows = rows_of(made, REAL)
    negative = [r for r in rows if r["presence"] == "absent"]
    assert {(r["profile"], r["guidance_site"], r["negative_type"]) for r in negative} == {
        ("lung_axial", "never", "level")
    }, "across other axes it shows the nodule"
    for z_offset in (0, 1):  # the outline is there on neighbours as about the nodule, so guidance tells nothing
        boxes = []
        for r in rows:
            if (r["z_offset"], r["condition"], r["profile"]) == (z_offset, "bbox", "lung_axial"):
                lines = np.argwhere((np.asarray(Image.open(settings.output / r["path"])) == (0, 255, 0)).all(axis=2))
                boxes.append(np.ptp(lines, axis=0).tolist())
        assert len(boxes) == 2 and boxes[0] == boxes[1]
    away = next(r["slice_z"] for r in negative if r["z_offset"] == 0)
    assert (away - 6) * 2.5 >= 15


def test_a_ct_on_another_grid_than_its_organ_map_is_refused(tmp_path: Path) -> None:
    settings = with_ct(tmp_path)
    with pytest.raises(CaseRejected, match=r"grid of its organ map, got voxels of 1\.5×2×2\.5") as error:
        cut_real(real_case(spacing=(1.5, 2.0, 2.0)), settings)
    assert error.value.reason is Reason.GRID_MISMATCH
    assert unpack_bits(real_case().lesion).offset == LESION.offset
