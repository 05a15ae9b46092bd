"""Distances of sets of CTs: against MONAI's FID and closed forms, however the work is split; no FID without weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import itrialspace_assets.hosts.build as hosts
import itrialspace_assets.profiles.build as profiles
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.casework import workers
from itrialspace_assets.hosts.store import prepare_host
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.records.store import read_all, write_table
from itrialspace_assets.synthesis import compare
from itrialspace_assets.synthesis.compare_case import FeatureCase, OverlapCase, RealCt, RenderedCt
from itrialspace_assets.synthesis.fidelity import (
    Moments,
    Protocol,
    describe,
    extractor,
    frechet_distance,
    moments,
    overlap,
    slices_of,
)

from ..conftest import small_chest


def features(seed: int, n: int = 300, d: int = 6, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + shift


def test_the_distance_is_the_fid_that_monai_computes() -> None:
    import torch
    from monai.metrics.fid import get_fid_score  # seconds to import, in every worker that collects this file

    for shift in (0.0, 0.7, 5.0):
        a, b = features(1), features(2, 250, shift=shift)
        wanted = float(get_fid_score(torch.from_numpy(a), torch.from_numpy(b)))
        assert frechet_distance(Moments.of(a), Moments.of(b)) == pytest.approx(wanted, rel=1e-4, abs=1e-4)


def test_closed_forms() -> None:
    """Gaussians of one covariance: the squared distance of their means. In one dimension: (m1-m2)^2 + (s1-s2)^2."""
    a = Moments(100, np.array([1.0, 2.0]), np.eye(2) * 99)
    b = Moments(50, np.array([4.0, 6.0]), np.eye(2) * 49)
    assert frechet_distance(a, b) == pytest.approx(25)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-12)
    one, other = (
        Moments(10, np.array([1.0]), np.array([[9 * 4.0]])),
        Moments(10, np.array([3.0]), np.array([[9 * 25.0]])),
    )
    assert frechet_distance(one, other) == pytest.approx(4 + 9)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 100))
def test_moments_of_parts_are_those_of_the_whole(sizes: list[int], seed: int) -> None:
    whole = features(seed, sum(sizes), 4)
    parts = np.split(whole, np.cumsum(sizes)[:-1])
    found, wanted = moments(parts), Moments.of(whole)
    assert found.n == wanted.n
    np.testing.assert_allclose(found.mean, wanted.mean, atol=1e-10)
    np.testing.assert_allclose(found.deviations, wanted.deviations, atol=1e-8)
    if found.n > 1:
        np.testing.assert_allclose(found.covariance, np.cov(whole.T), atol=1e-9)


def test_a_set_of_few_slices_has_a_finite_distance() -> None:
    """Fewer slices than dimensions: the covariance is singular."""
    a, b = features(1, 5, 20), features(2, 4, 20)
    assert np.isfinite(frechet_distance(Moments.of(a), Moments.of(b)))
    with pytest.raises(ValueError, match="got none"):
        moments([])


def test_slices_are_those_of_the_protocol() -> None:
    """By hand on an asymmetric volume: the share of the padded slices, the cut, and the range over all of them."""
    array = np.zeros((6, 10, 20), np.int16)
    array += np.arange(6)[:, None, None].astype(np.int16) * 100 + np.arange(10)[:, None].astype(np.int16)
    array[0, 0, 0] = -3000
    ct = Volume(array, np.eye(4))
    yz = slices_of(ct, 0, Protocol(shape=(10, 4, 24), centre=0.4))
    assert yz.shape == (4, 4, 24)  # 0.4 of ten slices of which six are there: those 1 to 4
    hu = yz * (406 - -1000) - 1000  # the air that is put around counts, the corner of -3000 is not among the slices
    for i in range(4):
        np.testing.assert_allclose(hu[i, :, 5], np.arange(3, 7) + 100 * (i + 1), atol=0.01)
    assert (yz[:, :, :2] == 0).all() and (yz[:, :, -2:] == 0).all()
    assert (slices_of(ct, 0, Protocol(shape=(30, 4, 24), centre=0.4))[:3] == 0).all(), (
        "air where the scan does not reach"
    )
    assert slices_of(ct, 1, Protocol(shape=(6, 5, 24), centre=0.4)).shape == (2, 6, 24)
    assert slices_of(ct, 2, Protocol(shape=(6, 4, 20), centre=0.4)).shape == (8, 6, 4)
    few = slices_of(ct, 2, Protocol((6, 10, 20), 1.0, 5))
    assert few.shape == (5, 6, 10)
    np.testing.assert_array_equal(few, slices_of(ct, 2, Protocol((6, 10, 20), 1.0))[[0, 5, 10, 14, 19]])
    flat = slices_of(Volume(np.zeros((4, 4, 4), np.int16), np.eye(4)), 2, Protocol((4, 4, 4)))
    assert (flat == 0).all()


def test_the_published_protocol_is_used_with_weights(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, output_dir=tmp_path, fid_weights=script(tmp_path / "tiny.pt"))
    assert compare.protocol_of(settings) == Protocol((512, 512, 512), 0.4, None, 100)
    assert compare.protocol_of(settings.model_copy(update={"fid_weights": None})).slices == 16


def test_a_set_too_large_is_drawn_over_its_datasets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compare, "protocol_of", lambda settings: Protocol(images=20))
    scans = pl.DataFrame([{"scan_uid": f"{d}/s{i}", "dataset": d} for d in "ABC" for i in range(40)])
    images = pl.DataFrame({"source": ["tissue"], "mode": ["x_t"], "image_uid": ["u"]})
    sets = compare._sets(load_settings(data_dir=tmp_path), scans, images)
    assert {len(v) for k, v in sets.items() if k.startswith("real")} == {20}
    assert {uid[0] for uid in sets["real"]} == {"A", "B", "C"}


def test_the_descriptor_tells_noise_from_blur_and_knows_no_units() -> None:
    rng = np.random.default_rng(0)
    noisy = rng.random((4, 64, 64)).astype(np.float32)
    smooth = np.full((4, 64, 64), 0.5, np.float32)
    a, b = describe(noisy), describe(smooth)
    assert a.shape == (4, 19)
    assert (a[:, 12:15] > b[:, 12:15]).all()
    np.testing.assert_allclose(a[:, :12].sum(axis=1), 1)


def tiny() -> Any:
    """A network of one convolution, with the same weights each time."""
    import torch

    torch.manual_seed(0)
    return torch.nn.Conv2d(3, 5, 3)


def script(path: Path) -> Path:
    import torch

    torch.jit.script(tiny()).save(str(path))
    return path


def test_an_extractor_on_disk_is_used_as_published_and_named_with_its_hash(tmp_path: Path) -> None:
    import torch

    how = extractor(script(tmp_path / "tiny.pt"))
    assert (how.metric, how.name, len(how.sha256 or "")) == ("fid", "tiny.pt", 64)
    planes = np.random.default_rng(0).random((3, 16, 12)).astype(np.float32)
    three = torch.from_numpy(np.stack([planes - m for m in (0.406, 0.456, 0.485)], axis=1).astype(np.float32))
    np.testing.assert_allclose(how.features(planes), tiny()(three).mean((2, 3)).detach().numpy(), atol=1e-5)


def test_without_weights_nothing_is_called_fid_and_wrong_weights_are_refused(tmp_path: Path) -> None:
    assert extractor(None).metric == "descriptor_distance"
    with pytest.raises(ConfigError, match="found none"):
        extractor(tmp_path / "nowhere.pt")
    (tmp_path / "text.pt").write_text("no module")
    with pytest.raises(ConfigError, match=r"text\.pt: expected a TorchScript file"):
        extractor(tmp_path / "text.pt")


def test_overlap_of_histograms_by_hand() -> None:
    a = np.array([-900, -900, 0, 50])
    b = np.array([-900, 0, 0, 500])
    where = np.ones(4, bool)
    assert overlap(a, a, where) == 1
    assert overlap(a, b, where) == pytest.approx(0.5)
    assert overlap(a, b, np.array([True, True, False, False])) == pytest.approx(0.5)
    assert overlap(a, a - 3000, where) == 0
    assert np.isnan(overlap(a, b, ~where))


@pytest.fixture
def study(tmp_path: Path) -> Settings:
    """Two datasets of three real CTs each, and a mode with a rendered image and its twin: all noise about a level."""
    settings = load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out", workers=1)
    (settings.data / "profiles").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for dataset, level in (("A", 0), ("B", 60)):
        for i in range(3):
            labels = small_chest()
            ct = rng.normal(level, 40, labels.array.shape) - 850 * (labels.array < 100)
            write_volume(
                settings.data / f"raw_ct/{dataset}/s{i}.nii.gz",
                Volume(np.asfortranarray(ct.astype(np.int16)), labels.affine),
            )
    return settings


def fake(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of the stages before, as far as they are read here."""
    sha = prepare_host(settings, small_chest(), "A/s0", "real").columns["map_sha256"]
    scans = pl.DataFrame(
        [
            {"scan_uid": f"{d}/s{i}", "dataset": d, "map_sha256": sha, "ct_path": f"{d}/s{i}.nii.gz"}
            for d in "AB"
            for i in range(3)
        ]
    )
    monkeypatch.setattr(compare, "real_scans", lambda settings: scans)
    rng = np.random.default_rng(9)
    rows = []
    for i in range(2):
        for free in (True, False):
            uid = f"{i}{int(free)}" * 16
            path = f"store/cts/tissue/{uid[:2]}/{uid}.nii.gz"
            ct = rng.normal(0, 40, small_chest().array.shape) - 850 * (small_chest().array < 100)
            digest = write_volume(
                settings.output / path, Volume(np.asfortranarray(ct.astype(np.int16)), small_chest().affine)
            )
            rows.append(
                {
                    "case_uid": f"t/a/{i:05d}",
                    "source": "tissue",
                    "mode": "x_t",
                    "dataset": "A",
                    "is_lesion_free": free,
                    "image_uid": uid,
                    "twin_uid": f"{i}1" * 16,
                    "path": path,
                    "sha256": digest,
                    "kept": "nifti",
                    "host_scan_uid": f"A/s{i}",
                }
            )
    frames = {
        "cts": pl.DataFrame(rows).drop("host_scan_uid"),
        "cases": pl.DataFrame(rows).select("case_uid", "host_scan_uid").unique(),
    }
    whole = compare.read_all
    monkeypatch.setattr(
        compare, "read_all", lambda root, name, **k: frames[name] if name in frames else whole(root, name, **k)
    )


def test_real_sets_are_the_yardstick_and_shards_change_nothing(
    study: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(study, monkeypatch)
    monkeypatch.setattr(compare, "protocol_of", lambda settings: Protocol((40, 40, 32), 0.6, 8, 100))
    result = compare.build(study, {}, "r1")
    rows = read_all(study.output, "fidelity")
    assert set(rows["metric"]) == {"descriptor_distance"} and rows["note"].null_count() == rows.height
    pairs = rows.filter(pl.col("plane") == "average").select("reference", "compared", "kind").rows()
    assert pairs == [("real", "tissue/x_t", "real_to_synthetic"), ("real/A", "real/B", "real_to_real")]
    for (_, _), part in rows.group_by(["reference", "compared"]):
        values = dict(part.select("plane", "value").iter_rows())
        assert values["average"] == pytest.approx((values["XY"] + values["YZ"] + values["ZX"]) / 3, abs=1e-5)
    even = {r["kind"]: r for r in rows.filter(pl.col("plane") == "average").to_dicts()}
    assert even["real_to_real"]["matched"] is None and "too few for halves" in even["real_to_real"]["flag"]
    both = even["real_to_synthetic"]
    assert (both["images_matched"], both["floor"] > 0, both["low"] <= both["matched"] <= both["high"]) == (
        2,
        True,
        True,
    )
    assert both["flag"].startswith("16 slices a side, no more than the 19 dimensions")
    overlaps = read_all(study.output, "host_overlaps")
    assert overlaps["scan_uid"].to_list() == ["A/s0", "A/s1"] and overlaps["whole"].is_between(0.9, 1).all()
    assert result.picture is not None and result.picture.startswith(b"\x89PNG")
    path = study.output / "tables/fidelity/part.parquet"
    before = path.read_bytes()
    again = compare.build(study, {}, "r2")
    assert (again.computed, again.reused) == (0, result.computed)
    for file in study.output.glob("store/features/**/*.npy"):  # in another order and process, as shards would
        file.unlink()
    monkeypatch.setattr(workers, "_chunks", lambda cases: ([c] for c in reversed(list(cases))))
    compare.build(study, {}, "r3")
    assert path.read_bytes() == before


def test_a_real_ct_on_another_grid_is_rejected_and_the_rest_goes_on(
    study: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(study, monkeypatch)
    monkeypatch.setattr(compare, "protocol_of", lambda settings: Protocol((40, 40, 32), 0.6, 8, 100))
    write_volume(study.data / "raw_ct/A/s0.nii.gz", Volume(np.zeros((5, 5, 5), np.int16), np.eye(4)))
    (study.data / "raw_ct/A/s1.nii.gz").write_bytes(b"none")
    result = compare.build(study, {}, "r1")
    assert result.rejected == 3  # the overlap of s0; features and overlap of s1
    rows = read_all(study.output, "fidelity").filter(pl.col("plane") == "average")
    assert rows.filter(pl.col("kind") == "real_to_real")["images_reference"].to_list() == [2]


def test_a_comparison_comes_back_from_json_as_it_was(study: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(study, monkeypatch)
    cases, _ = compare.compare_cases(study)
    kinds = {type(c.payload.image) if isinstance(c.payload, FeatureCase) else OverlapCase for c in cases}
    assert kinds == {RealCt, RenderedCt, OverlapCase}
    for case in cases:
        text = json.dumps(case.payload.model_dump(mode="json"))
        assert type(case.payload).model_validate(json.loads(text)) == case.payload


def test_another_real_ct_is_compared_again(study: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(study, monkeypatch)
    before = {c.uid: c.input_hash for c in compare.compare_cases(study)[0]}
    write_volume(study.data / "raw_ct/A/s0.nii.gz", Volume(np.zeros((5, 5, 5), np.int16), np.eye(4)))
    after = {c.uid: c.input_hash for c in compare.compare_cases(study)[0]}
    assert {uid for uid in before if after[uid] != before[uid]} == {"A/s0", f"{'01' * 16}/host"}


def test_twins_stand_for_images_of_which_only_slices_are_kept(study: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(study, monkeypatch)
    whole = compare.read_all

    def parts(root: Path, name: str, **k: str) -> pl.DataFrame:
        rows = whole(root, name, **k)
        return (
            rows
            if name != "cts"
            else rows.with_columns(kept=pl.when("is_lesion_free").then("kept").otherwise(pl.lit("planes")))
        )

    monkeypatch.setattr(compare, "read_all", parts)
    _, sets = compare.compare_cases(study)
    assert sets["tissue/x_t"] == ["01" * 16, "11" * 16]


def test_procedural_anatomy_is_not_compared(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, output_dir=tmp_path / "out", workers=1)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "PROCEDURAL.json").write_text("{}")
    compare.build(settings, {}, "r1")
    (row,) = read_all(settings.output, "fidelity").to_dicts()
    assert row["value"] is None and "not estimable by construction" in row["note"]
    assert not (tmp_path / "out/store/features").exists()
    assert compare.low_overlaps(settings) == []
    write_table(
        settings.output,
        "host_overlaps",
        [{"source": "tissue", "image_uid": "x", "scan_uid": "s", "dataset": "D", "whole": 0.5, "lung": None}],
    )
    assert compare.low_overlaps(settings) == ["tissue s: 0.500"]


def test_scans_are_those_of_hosts_whose_ct_is_there(own_root: Path, tmp_path: Path) -> None:
    settings = load_settings(data_dir=own_root, output_dir=tmp_path / "out", workers=1)
    profiles.build(settings, {"dataset": "LUNA25"})
    hosts.build(settings, {"dataset": "LUNA25"}, "r")
    found = compare.real_scans(settings)
    assert found.height == 2 and found["dataset"].unique().to_list() == ["LUNA25"]
    (settings.data / "raw_ct" / found["ct_path"][0]).unlink()
    assert compare.real_scans(settings)["scan_uid"].to_list() == found["scan_uid"].to_list()[1:]
    (settings.data / "PROCEDURAL.json").unlink()
    compare.build(settings, {}, "r")
    assert read_all(settings.output, "fidelity").is_empty(), "one set has nothing to be compared with"
