"""NodMAISI as a renderer: the host's grid, pairs, checks with pictures, resume, retention."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itrialspace_assets.base.errors import CaseRejected, ConfigError, Reason
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework import journal, workers
from itrialspace_assets.casework.cases import Case
from itrialspace_assets.hosts.store import prepare_host
from itrialspace_assets.imaging.geometry import Volume, read_volume
from itrialspace_assets.imaging.lesions import Lesion, pack_bits
from itrialspace_assets.synthesis import build, images, quality, rendering
from itrialspace_assets.synthesis.acquisition import STANDARD, ScanAcquisition
from itrialspace_assets.synthesis.case import RenderCase
from itrialspace_assets.synthesis.images import open_ct
from itrialspace_assets.synthesis.nodmaisi import render
from itrialspace_assets.synthesis.renderers import RENDERERS
from itrialspace_assets.synthesis.rendering import render_case

from ...conftest import small_chest
from ...insertion.shapes import ball
from .tiny import settings_for, tiny_weights

#: With square pixels, as the network wants them.
CHEST = Volume(small_chest().array, np.array([[1.75, 0, 0, -30], [0, 1.75, 0, -36], [0, 0, 2.5, 7], [0, 0, 0, 1.0]]))


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights draw no organs: the checks on organs are switched off, those on grid, range and air stay."""
    forgive(monkeypatch)


def forgive(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(quality, "BANDS", {})
    patch.setattr(quality, "LEAST_CONTRAST_HU", 0.0)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, list[dict[str, Any]]]:
    """Settings and the rows of the images that a case gave there; nobody writes to its outputs."""
    folder = tmp_path_factory.mktemp("drawn")
    settings = tiny_weights(folder / "w", output_dir=folder / "out")
    rendering._TWINS.clear()
    with pytest.MonkeyPatch.context() as patch:
        forgive(patch)
        return settings, render_case(payload(settings), settings).rows["cts"]


def weights_of(settings: Settings) -> Path:
    assert settings.nodmaisi_models_dir is not None
    return settings.nodmaisi_models_dir


def payload(settings: Settings, **changes: Any) -> RenderCase:
    made = prepare_host(settings, CHEST, "D/s", "procedural")
    lesion = Lesion((25, 14, 6), ball(5, tuple(CHEST.spacing)))
    case = RenderCase(
        case_uid="t/a/00000",
        source="nodmaisi",
        mode="x_t",
        dataset="D",
        map_sha256=made.columns["map_sha256"],
        lesions=(pack_bits(lesion),),
        anatomy="procedural",
        attenuation="solid",
        acquisition=STANDARD,
        seed=42,
    )
    return case.model_copy(update=changes)


def test_images_lie_on_the_hosts_grid_and_say_how_they_came(drawn: tuple[Settings, list[dict[str, Any]]]) -> None:
    settings, (lesion, free) = drawn
    for row in (lesion, free):
        ct = read_volume(settings.output / row["path"])
        assert ct.array.dtype == np.int16
        np.testing.assert_allclose(ct.affine, CHEST.affine)
        assert ct.array.shape == CHEST.array.shape
        assert (ct.array[CHEST.array == 0] == -1000).all()
        assert row["weights_sha256"] == render.weights_hash(settings)
        assert "unknown" in row["trained_on"]
    assert lesion["decoding"] == "32x32x20"
    assert free["decoding"] == "32x32x20" and free["paired"] is None
    assert (
        lesion["acquisition"] == "not modelled"
        and lesion["mtf50_per_mm"] is lesion["dose"] is lesion["attenuation"] is None
    )
    a, b = (read_volume(settings.output / r["path"]).array.astype(float) for r in (lesion, free))
    put = Lesion((25, 14, 6), ball(5, tuple(CHEST.spacing)))
    far = CHEST.array > 0
    far[25 - 7 : 25 + put.mask.shape[0] + 7, 14 - 5 : 14 + put.mask.shape[1] + 5, 6 - 4 : 6 + put.mask.shape[2] + 4] = (
        False
    )
    assert lesion["twin_difference_hu"] == np.sort(np.abs(a - b)[far])[(far.sum() - 1) // 2]
    assert lesion["paired"] == (lesion["twin_difference_hu"] <= quality.PAIRED_HU)
    assert (open_ct(settings, lesion).array == a).all()


@pytest.mark.usefixtures("lenient")
def test_only_slices_with_lesions_are_kept_if_asked_and_cut_alike(
    tmp_path: Path, drawn: tuple[Settings, list[dict[str, Any]]]
) -> None:
    whole, (same, _) = drawn
    settings = settings_for(weights_of(whole), output_dir=tmp_path / "out", cts="slices")
    rendering._TWINS.clear()
    row, free = render_case(payload(settings), settings).rows["cts"]
    assert (row["kept"], free["kept"], row["image_uid"]) == ("planes", "nifti", same["image_uid"])
    stored, full = read_volume(settings.output / row["path"]), open_ct(whole, same)
    put = Lesion((25, 14, 6), ball(5, tuple(small_chest().spacing)))
    deep = put.mask.shape[2]
    assert stored.array.shape == (40, 36, deep + 2), "those with the lesion and one on each side"
    for k in (6, 6 + deep - 1):  # with its neighbours
        ct, first = images.open_planes(settings, row, slice(k - 1, k + 2))
        assert first == k - 1
        np.testing.assert_array_equal(ct.array, full.array[..., k - 1 : k + 2])
        np.testing.assert_allclose(ct.to_world([0, 0, 1]), full.to_world([0, 0, k]))
    for refused in (lambda: open_ct(settings, row), lambda: images.open_planes(settings, row, slice(4, 6))):
        with pytest.raises(CaseRejected, match="ITRIALSPACE_CTS=slices") as error:
            refused()
        assert error.value.reason is Reason.NOT_KEPT
    assert images.open_planes(settings, free, slice(-1, 3))[1] == 0


@pytest.mark.usefixtures("lenient")
def test_a_pair_that_differs_everywhere_is_not_a_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny_weights(tmp_path / "w", output_dir=tmp_path / "out")
    rendering._TWINS.clear()
    monkeypatch.setattr(quality, "PAIRED_HU", -1.0)
    assert render_case(payload(settings), settings).rows["cts"][0]["paired"] is False


@pytest.mark.usefixtures("lenient")
def test_a_pair_decoded_in_different_windows_is_not_a_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny_weights(tmp_path / "w", output_dir=tmp_path / "out")
    rendering._TWINS.clear()
    whole = render.sampling.sample

    def sample(networks: Any, prepared: Any, *more: Any) -> Any:
        made = whole(networks, prepared, *more)
        return replace(made, window=(8, 8, 8)) if (prepared.labels == 23).any() else made

    monkeypatch.setattr(render.sampling, "sample", sample)
    row, _ = render_case(payload(settings), settings).rows["cts"]
    assert row["twin_difference_hu"] <= quality.PAIRED_HU and row["paired"] is False


@pytest.mark.usefixtures("lenient")
def test_an_image_that_another_mode_made_is_found_and_not_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: tuple[Settings, list[dict[str, Any]]]
) -> None:
    there, first = drawn
    settings = settings_for(weights_of(there), output_dir=tmp_path / "out")
    shutil.copytree(there.output, settings.output)
    rendering._TWINS.clear()
    with monkeypatch.context() as patch:
        patch.setattr(render.sampling, "sample", lambda *a: pytest.fail("drawn again"))
        again = render_case(payload(settings, case_uid="t/b/00000", mode="x_u"), settings).rows["cts"]
    own = ("case_uid", "mode")
    assert [{k: v for k, v in r.items() if k not in own} for r in again] == [
        {k: v for k, v in r.items() if k not in own} for r in first
    ]
    path = settings.output / first[0]["path"]
    data = path.read_bytes()
    path.write_bytes(data[:50])  # damaged: made again, to the same bytes
    render_case(payload(settings), settings)
    assert path.read_bytes() == data


@pytest.mark.usefixtures("lenient")
def test_other_weights_and_another_schedule_are_other_images(
    tmp_path: Path, drawn: tuple[Settings, list[dict[str, Any]]]
) -> None:
    uids = {row["image_uid"] for row in drawn[1]}
    for seed, schedule in ((1, "exact"), (0, "compat")):
        settings = tiny_weights(tmp_path / f"w{seed}", seed, output_dir=tmp_path / "out", nodmaisi_schedule=schedule)
        rendering._TWINS.clear()
        uids |= {r["image_uid"] for r in render_case(payload(settings), settings).rows["cts"]}
    assert len(uids) == 6


def test_an_implausible_image_is_rejected_with_a_picture_and_its_twin_is_not_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_weights(tmp_path / "w", output_dir=tmp_path / "out")
    rendering._TWINS.clear()
    drawn = []
    whole = render.sampling.sample
    monkeypatch.setattr(render.sampling, "sample", lambda *a: drawn.append(1) or whole(*a))
    monkeypatch.setattr(quality, "BANDS", {"lung": ((28, 29, 30, 31, 32), 2000.0, 3000.0)})
    for _ in range(2):
        with pytest.raises(
            CaseRejected, match=r"lung: expected a median of 2000 to 3000 HU.*; see store/refused/nodmaisi/\w+\.png"
        ) as refused:
            render_case(payload(settings), settings)
    assert refused.value.reason is Reason.IMPLAUSIBLE_HU
    assert len(drawn) == 1
    assert (settings.output / refused.value.detail.rpartition("see ")[2]).read_bytes().startswith(b"\x89PNG")
    assert not list(settings.output.glob("store/cts/**/*.nii.gz"))


def test_what_it_cannot_model_is_refused_before_it_begins(tmp_path: Path) -> None:
    settings = tiny_weights(tmp_path / "w", output_dir=tmp_path / "out")
    thick = ScanAcquisition(slice_mm=5.0)
    for changes, says in (
        ({"attenuation": "ground_glass"}, "ground_glass nodules"),
        ({"acquisition": thick}, "5 mm slices"),
    ):
        case = payload(settings, **changes)
        with pytest.raises(ConfigError, match=f"{says}.*models neither acquisition nor attenuation, use tissue"):
            build.require_modelled(RENDERERS["nodmaisi"], [case], {"mode": "x_t", "dataset": "D"})
        build.require_modelled(RENDERERS["tissue"], [case], {"mode": "x_t", "dataset": "D"})
    build.require_modelled(RENDERERS["nodmaisi"], [payload(settings)], {})


@pytest.mark.usefixtures("lenient")
@pytest.mark.slow
def test_an_interrupted_run_goes_on_and_ends_in_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails at the second image stops the run; the next run makes the missing images and no others."""
    settings = tiny_weights(tmp_path / "w", output_dir=tmp_path / "out")
    shape = ball(5, tuple(CHEST.spacing))
    cases = []
    for i in range(3):
        p = payload(settings, case_uid=f"t/a/{i:05d}", lesions=(pack_bits(Lesion((24, 12 + 2 * i, 6), shape)),))
        cases.append(Case(p.case_uid, "h", "g", p))
    rendering._TWINS.clear()
    workers.run(render_case, cases, settings, tmp_path / "undisturbed.jsonl")
    wanted = {p.relative_to(settings.output): p.read_bytes() for p in settings.output.glob("store/cts/**/*.nii.gz")}
    assert len(wanted) == 4, (tmp_path / "undisturbed.jsonl").read_text()
    for path in wanted:
        (settings.output / path).unlink()
    rendering._TWINS.clear()
    folder, count, write = tmp_path / "journal", [], rendering.write_volume
    folder.mkdir()

    def failing(*a: Any) -> str:
        count.append(1)
        if len(count) == 2:
            raise OSError(28, "No space left on device")
        return write(*a)  # type: ignore[no-any-return]

    monkeypatch.setattr(rendering, "write_volume", failing)
    with pytest.raises(Exception, match="No space left on device"):
        workers.run(render_case, cases, settings, folder / "a.jsonl")
    left = journal.pending(settings, cases, folder)
    assert [c.uid for c in left] == ["t/a/00001", "t/a/00002"]
    workers.run(render_case, left, settings, folder / "b.jsonl")
    assert {
        p.relative_to(settings.output): p.read_bytes() for p in settings.output.glob("store/cts/**/*.nii.gz")
    } == wanted
