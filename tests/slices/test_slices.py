"""Windows, planes, guidance and controls against arrays written by hand and the published numbers."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from itrialspace_assets.base.errors import CaseRejected, ConfigError, Reason
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.lesions import Lesion
from itrialspace_assets.imaging.pictures import outline, png, radiological
from itrialspace_assets.slices.compose import encode, pictures_of, scale_bar
from itrialspace_assets.slices.controls import blank, contralateral
from itrialspace_assets.slices.guidance import GREEN, RED, Guidance, draw
from itrialspace_assets.slices.planes import Plane
from itrialspace_assets.slices.wanted import require_planes, wanted
from itrialspace_assets.slices.windows import PROFILES, profile

GUIDED = ["bbox", "contour", "bbox_contour"]


def disc(pixels: int) -> npt.NDArray[np.bool_]:
    """A disc of a diameter in pixels in the middle of a 40x40 picture, centred on a corner of four pixels."""
    y, x = np.ogrid[:40, :40]
    return (x - 19.5) ** 2 + (y - 19.5) ** 2 <= (pixels / 2) ** 2


# windows


def test_the_lung_window_truncates() -> None:
    assert profile("lung_axial").picture(np.array([[-1350, -600, 150, -5000, 3000]])).tolist() == [
        [0, 127, 255, 0, 255]
    ]
    with pytest.raises(ConfigError, match="lung_axial_medgemma"):
        profile("brain")


def test_the_three_ranges_of_medgemma_round_half_to_even() -> None:
    hu = np.array([[-1024, 0, 1024, -135, 40, 215, 80]])
    red = [0, 128, 255, 111, 132, 154, 137]
    green = [0, 98, 255, 0, 128, 255, 157]
    blue = [0, 0, 255, 0, 128, 255, 255]
    got = profile("lung_axial_medgemma").picture(hu)
    assert got.dtype == np.uint8
    assert got.tolist() == [[list(pixel) for pixel in zip(red, green, blue, strict=True)]]


@pytest.mark.parametrize(
    ("name", "hu", "grey"),
    [("mediastinal_axial", [-160, 40, 240, 39], [0, 127, 255, 126]), ("bone_axial", [-500, 400, 1300], [0, 127, 255])],
)
def test_other_windows(name: str, hu: list[int], grey: list[int]) -> None:
    assert profile(name).picture(np.array([hu])).tolist() == [grey]


# planes


def scan() -> Volume:
    """HU that tell x, y and z; one voxel more dense: left in the lung, in front, below the middle."""
    x, y, z = np.meshgrid(np.arange(5), np.arange(4), np.arange(3), indexing="ij")
    affine = np.diag([1.4, 0.7, 2.1, 1.0])
    affine[:3, 3] = [-10.0, 20.0, 5.0]
    return Volume(np.asfortranarray(-1300 + 100 * x + 20 * y + 5 * z).astype(np.int16), affine)


def test_planes_lie_radiologically_against_arrays_written_by_hand() -> None:
    """Patient right on the left, front or head on top; a sagittal plane has the front on the left."""
    axial = Plane(scan(), profile("lung_axial"), 1).hu()
    assert axial.tolist() == [
        [-835, -935, -1035, -1135, -1235],
        [-855, -955, -1055, -1155, -1255],
        [-875, -975, -1075, -1175, -1275],
        [-895, -995, -1095, -1195, -1295],
    ]
    assert Plane(scan(), profile("lung_coronal"), 2).hu().tolist() == [
        [-850, -950, -1050, -1150, -1250],
        [-855, -955, -1055, -1155, -1255],
        [-860, -960, -1060, -1160, -1260],
    ]
    assert Plane(scan(), profile("lung_sagittal"), 3).hu().tolist() == [
        [-930, -950, -970, -990],
        [-935, -955, -975, -995],
        [-940, -960, -980, -1000],
    ]


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_a_nodule_of_the_left_lung_lies_where_the_affine_says(name: str) -> None:
    """The brightest pixel, the mask and the affine agree on the nodule's place in the world."""
    rng = np.random.default_rng(4)
    array = np.asfortranarray(rng.integers(-900, -700, (48, 40, 30)).astype(np.int16))
    lesion = Lesion((8, 25, 12), np.ones((3, 3, 3), bool))  # small x: the patient's left
    array[lesion.box] = 100
    affine = np.diag([0.9, 0.8, 1.5, 1.0])
    affine[:3, 3] = [-20.0, -16.0, 100.0]
    volume = Volume(array, affine)
    shown = Plane(volume, profile(name), int(lesion.centroid[PROFILES[name].axis]))
    mask = shown.mask(lesion)
    assert mask.shape == shown.hu().shape == shown.size[::-1]
    rows, columns = np.nonzero(mask)
    bright = np.argwhere(shown.hu() > 0).mean(axis=0)
    assert np.abs(bright - [rows.mean(), columns.mean()]).max() < 0.75
    if PROFILES[name].axis != 0:
        assert columns.min() > mask.shape[1] / 2, "the patient's left is on the right"
    world = np.array(shown.affine).reshape(3, 4) @ [columns.mean(), rows.mean(), 0, 1]
    assert np.abs(world - volume.to_world(lesion.centroid)).max() < 0.75


def test_the_affine_steps_along_the_next_slice() -> None:
    for index in (1, 2):
        matrix = np.array(Plane(scan(), profile("lung_axial"), index).affine).reshape(3, 4)
        assert matrix @ [0, 0, 0, 1] == pytest.approx([-10 + 4 * 1.4, 20 + 3 * 0.7, 5 + index * 2.1])
        assert matrix @ [4, 3, 0, 1] == pytest.approx([-10, 20, 5 + index * 2.1])
        assert matrix @ [0, 0, 1, 1] == pytest.approx([-10 + 4 * 1.4, 20 + 3 * 0.7, 5 + (index + 1) * 2.1])


def test_a_fixed_pixel_size_keeps_greys_in_their_place() -> None:
    """Ramps stay ramps; 5 x 1.4 mm become ten pixels, 4 x 0.7 mm stay four."""
    shown = Plane(scan(), profile("lung_axial_0_7mm"), 0)
    assert (shown.size, shown.pixel) == ((10, 4), (0.7, 0.7))
    hu = np.asarray(shown.hu(), dtype=float)
    matrix = np.array(shown.affine).reshape(3, 4)
    columns, rows = np.meshgrid(np.arange(1, 9), np.arange(4))  # inside the outermost voxel centres
    world = matrix @ np.stack([columns.ravel(), rows.ravel(), np.zeros(32), np.ones(32)])
    voxel = scan().to_voxel(world.T)
    want = -1300 + 100 * voxel[:, 0] + 20 * voxel[:, 1]
    np.testing.assert_allclose(hu[rows.ravel(), columns.ravel()], want, atol=0.01)


@pytest.mark.parametrize("spacing", [0.3, 0.5, 0.68, 0.7, 1.36])
def test_a_nodule_of_one_voxel_is_never_lost_by_resampling(spacing: float) -> None:
    part = Volume(np.zeros((30, 30, 3), np.int16), np.diag([spacing, spacing, 1.0, 1.0]))
    for at in range(8, 15):
        mask = Plane(part, profile("lung_axial_0_7mm"), 1).mask(Lesion((at, 12, 1), np.ones((1, 1, 1), bool)))
        assert 1 <= mask.sum() <= max(1, round((spacing / 0.7 + 1) ** 2))


def test_front_is_on_top_and_the_patients_right_on_the_left() -> None:
    plane = np.zeros((5, 7))
    plane[4, 6] = 1  # right-most and front-most
    assert radiological(plane)[0, 0] == 1
    assert radiological(plane).shape == (7, 5)


# guidance


def test_the_box_stands_where_published() -> None:
    mask = np.zeros((160, 260), bool)
    mask[100:105, 200:210] = True
    image = draw(np.zeros((160, 260), np.uint8), mask, "bbox")
    green = np.argwhere((image == GREEN).all(axis=2))
    assert green.min(axis=0).tolist() == [96, 196]
    assert green.max(axis=0).tolist() == [108, 213]
    assert (image[97:108][:, [197, 212]] == GREEN).all()
    assert not (image[98:107, 198:212] == GREEN).all(axis=2).any(), "nothing is drawn over the nodule"


def test_overlays_against_a_picture_written_by_hand() -> None:
    """One pixel at row 5, column 4; g: box, r: contour over it, p: grey as it was."""
    mask = np.zeros((11, 9), bool)
    mask[5, 4] = True
    grey = np.arange(99, dtype=np.uint8).reshape(11, 9)
    image = draw(grey, mask, "bbox_contour")
    want = [
        "pppppppp",
        "ggggggggg",
        "ggggrgggg",
        "ggrrprrgg",
        "ggrppprgg",
        "grppppprg",
        "ggrppprgg",
        "ggrrprrgg",
        "ggggrgggg",
        "ggggggggg",
        "pppppppp",
    ]
    told = {"g": GREEN, "r": RED}
    for row, line in enumerate(want):
        for column, sign in enumerate(line):
            value = int(grey[row, column])
            assert tuple(image[row, column]) == told.get(sign, (value,) * 3), (row, column)


def test_the_contour_is_round_about_a_small_nodule() -> None:
    """By straight distance: between two and three pixels away; the former steps of four neighbours made a diamond."""
    mask = np.zeros((15, 15), bool)
    mask[7, 7] = True
    y, x = np.ogrid[:15, :15]
    away = np.hypot(y - 7, x - 7)
    assert np.array_equal(outline(mask, 2), (away > 2) & (away <= 3))
    assert outline(mask, 2).sum() == 16
    assert outline(np.zeros((4, 4), bool), 2).sum() == 0


def test_the_published_contour_paints_and_hides_as_measured() -> None:
    square = np.zeros((12, 12), bool)
    square[4:8, 4:8] = True
    drawn = (draw(np.zeros((12, 12), np.uint8), square, "contour_published") == RED).all(axis=2)
    assert (int(drawn.sum()), int((drawn & square).sum())) == (32, 16)
    for pixels, painted, hidden in ((8, 60, 69), (12, 96, 54), (20, 168, 34)):
        drawn = (draw(np.zeros((40, 40), np.uint8), disc(pixels), "contour_published") == RED).all(axis=2)
        assert int(drawn.sum()) == painted
        assert round(100 * (drawn & disc(pixels)).sum() / disc(pixels).sum()) == hidden
        ours = draw(np.zeros((40, 40), np.uint8), disc(pixels), "contour")
        assert not (ours[disc(pixels)] == RED).all(axis=1).any()


@pytest.mark.parametrize("condition", GUIDED)
@pytest.mark.parametrize(
    "box",
    [
        np.s_[20:24, 30:33],
        np.s_[20:21, 30:31],  # one pixel
        np.s_[20:22, 30:32],  # four pixels
        np.s_[0:4, 0:5],  # in the corner
        np.s_[57:60, 20:30],  # on the lower border
        np.s_[30:31, 49:50],
        np.s_[2:58, 1:49],  # hardly anything around it
    ],
)
def test_guidance_never_covers_the_nodule(condition: str, box: tuple[slice, slice]) -> None:
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 255, (60, 50), dtype=np.uint8)
    mask = np.zeros((60, 50), bool)
    mask[box] = True
    image = draw(grey, mask, condition)
    assert (image[mask] == grey[mask][:, None]).all()
    drawn = (image != grey[..., None]).any(axis=2)
    guidance = Guidance(mask)
    assert guidance.covers(condition, drawn) == drawn.any() and not guidance.covers(condition, mask)
    assert drawn.any() or condition == "contour"


def test_plain_is_untouched_and_nothing_to_point_at_is_drawn_around() -> None:
    grey = np.arange(120, dtype=np.uint8).reshape(10, 12)
    mask = np.zeros((10, 12), bool)
    assert draw(grey, mask, "plain") is grey
    assert (draw(grey, mask, "bbox_contour") == grey[..., None]).all()
    colour = np.stack([grey, grey // 2, grey // 3], axis=-1)
    assert (draw(colour, mask, "bbox") == colour).all()
    with pytest.raises(ValueError, match="expected one of"):
        draw(grey, mask, "circle")


# controls and scale bar


def test_a_blank_has_the_mean_of_each_channel() -> None:
    assert blank(np.array([[0, 1], [2, 3]], np.uint8)).tolist() == [[2, 2], [2, 2]], "1.5 rounds to even"
    colour = np.array([[[0, 10, 255], [1, 20, 255]]], np.uint8)
    assert blank(colour).tolist() == [[[0, 15, 255], [0, 15, 255]]]


def test_the_other_side_is_that_of_the_body_not_of_the_picture() -> None:
    hu = np.full((20, 40), -1000)
    hu[:, 4:25] = 0  # the body's middle column is 14
    mask = np.zeros((20, 40), bool)
    mask[8:10, 6:9] = True
    mask[9, 9] = True
    got = contralateral(hu, mask)
    assert sorted(map(tuple, np.argwhere(got).tolist())) == sorted((r, 28 - c) for r, c in np.argwhere(mask).tolist())
    far = np.zeros((20, 40), bool)
    far[3, 36:39] = True
    assert np.argwhere(contralateral(hu, far)).tolist() == [[3, 0], [3, 1], [3, 2]], "moved to the border"
    assert contralateral(np.full((4, 9), -1000), np.eye(4, 9, dtype=bool))[0, 8], "without a body: of the picture"
    assert not contralateral(hu, np.zeros((20, 40), bool)).any()


def test_controls_are_drawn_as_their_names_say() -> None:
    rng = np.random.default_rng(2)
    part = Volume(np.asfortranarray(rng.integers(-1000, 100, (60, 50, 3)).astype(np.int16)), np.eye(4))
    shown = Plane(part, profile("lung_axial"), 1)
    lesion = Lesion((12, 20, 1), np.ones((5, 4, 1), bool))
    mask = shown.mask(lesion)
    asked = wanted(load_settings(controls="contralateral_box,box_only,blank", conditions="plain,bbox")).pictures
    assert asked == (
        ("none", "plain"),
        ("none", "bbox"),
        ("blank", "plain"),
        ("box_only", "bbox"),
        ("contralateral_box", "bbox"),
    )
    drawn = {d.control + "/" + d.condition: d for d in pictures_of(shown, mask, asked)}
    plain = drawn["none/plain"].image
    mean = int(np.rint(plain.mean()))
    assert (drawn["blank/plain"].image == mean).all()
    assert not any(d.covers for d in drawn.values())
    lines = (drawn["none/bbox"].image == GREEN).all(axis=2)
    only = drawn["box_only/bbox"].image
    assert ((only == GREEN).all(axis=2) == lines).all() and (only[~lines] == mean).all()
    other = drawn["contralateral_box/bbox"].image
    away = (other == GREEN).all(axis=2)
    assert (away == (draw(plain, contralateral(shown.hu(), mask), "bbox") == GREEN).all(axis=2)).all()
    assert (other[~away] == plain[~away][:, None]).all() and not (away & lines).any()
    sagittal = Plane(part, profile("lung_sagittal"), 12)
    kept = [d.control for d in pictures_of(sagittal, sagittal.mask(lesion), asked)]
    assert kept == ["none", "none", "blank", "box_only"], "there is no other side in a sagittal plane"


def test_guidance_that_covers_what_it_points_at_is_told() -> None:
    part = Volume(np.zeros((30, 30, 1), np.int16), np.eye(4))
    shown = Plane(part, profile("lung_axial"), 0)
    mask = shown.mask(Lesion((10, 10, 0), np.ones((4, 4, 1), bool)))
    asked = (("none", "bbox"), ("none", "contour"), ("none", "contour_published"), ("none", "bbox_contour_published"))
    assert [d.covers for d in pictures_of(shown, mask, asked)] == [False, False, True, True]
    wide = Volume(np.zeros((60, 60, 1), np.int16), np.diag([0.7, 0.7, 1.0, 1.0]))
    bar = Plane(wide, profile("lung_axial_0_7mm_bar"), 0)
    under = bar.mask(Lesion((12, 9, 0), np.ones((4, 4, 1), bool)))
    assert [d.covers for d in pictures_of(bar, under, (("none", "plain"),))] == [True]


def test_the_scale_bar_is_as_long_as_it_says() -> None:
    assert not scale_bar((10, 10), None, 0.7).any()
    rows, columns = np.nonzero(scale_bar((60, 70), 20.0, 0.7))
    assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == (round(20 / 0.7), 3)
    assert (columns.max(), rows.max()) == (61, 51)
    with pytest.raises(CaseRejected, match=r"scale bar of 20 mm \(29 pixels\), got 30×60") as error:
        scale_bar((60, 30), 20.0, 0.7)
    assert error.value.reason is Reason.DOES_NOT_FIT


# what is asked for


def test_settings_choose_pictures_in_the_registrys_order() -> None:
    default = wanted(load_settings())
    assert default.options == {
        "profiles": "lung_axial",
        "z_offsets": "0",
        "conditions": "plain,bbox,contour,bbox_contour",
        "controls": "",
    }
    assert len(default.pictures) == 4
    asked = wanted(load_settings(profiles="lung_sagittal, lung_axial", z_offsets="+1,0,-1", conditions="bbox,plain"))
    assert [p.name for p in asked.profiles] == ["lung_axial", "lung_sagittal"]
    assert (asked.z_offsets, asked.conditions) == ((-1, 0, 1), ("plain", "bbox"))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"profiles": "brain"}, r"ITRIALSPACE_PROFILES='brain': expected some of lung_axial, .*, got 'brain'"),
        ({"profiles": " , "}, "ITRIALSPACE_PROFILES=.*expected at least one"),
        ({"z_offsets": "0,2"}, "ITRIALSPACE_Z_OFFSETS=.*got '2'"),
        ({"z_offsets": "1"}, "ITRIALSPACE_Z_OFFSETS='1': expected 0"),
        ({"conditions": "circle"}, "ITRIALSPACE_CONDITIONS=.*got 'circle'"),
        ({"controls": "text_only"}, "ITRIALSPACE_CONTROLS=.*got 'text_only'"),
        ({"controls": "box_only", "conditions": "plain"}, "ITRIALSPACE_CONTROLS=.*add bbox"),
    ],
)
def test_what_there_is_not_is_refused_by_name(given: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        wanted(load_settings(**given))


# files


@pytest.mark.parametrize("shape", [(10, 12), (10, 12, 3), (1, 1), (1, 7, 3)])
def test_a_png_holds_its_pixels_and_equal_pixels_give_equal_bytes(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert png(image) == png(np.asfortranarray(image))
    with Image.open(io.BytesIO(png(image))) as opened:
        assert opened.mode == ("RGB" if len(shape) == 3 else "L")
        np.testing.assert_array_equal(np.asarray(opened), image)
    np.testing.assert_array_equal(np.load(io.BytesIO(encode(image, profile("lung_axial_npy")))), image)


def test_profiles_across_other_axes_need_whole_images() -> None:
    across = {"profiles": "lung_axial,lung_coronal", "renderers": "nodmaisi"}
    with pytest.raises(ConfigError, match=r"PROFILES=.*lung_coronal cut whole images.*nodmaisi.*CTS=nifti"):
        require_planes(load_settings(cts="slices", **across))
    require_planes(load_settings(cts="nifti", **across))
    require_planes(load_settings(cts="slices", profiles="lung_axial", renderers="nodmaisi"))
    require_planes(load_settings(cts="slices", profiles="lung_coronal", renderers="tissue"))
