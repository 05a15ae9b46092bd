"""Lesions measured by hand, and rendered lesions beside their donor nodules in real CT."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.hosts.store import prepare_host
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.lesions import Lesion, pack_bits
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.records.store import read_all
from itrialspace_assets.synthesis import compare
from itrialspace_assets.synthesis.fidelity import Protocol
from itrialspace_assets.synthesis.likeness import look, shared

from ..conftest import small_chest

CUBE = Lesion((4, 4, 4), np.ones((5, 5, 5), bool))


def drawn(inside: float = 20.0, spacing: float = 1.0, blur: int = 0) -> Volume:
    hu = np.full((14, 14, 14), -800.0)
    for step in range(blur, -1, -1):  # each shell outwards lies between lesion and lung
        hu[tuple(slice(4 - step, 9 + step) for _ in "xyz")] = inside + (-800 - inside) * step / (blur + 1)
    return Volume(hu.astype(np.float32), np.diag([spacing] * 3 + [1.0]))


def test_a_border_is_as_steep_as_it_was_drawn() -> None:
    """On a face of the cube the central difference over a sharp step of 820 HU is half of it a voxel."""
    sharp, wide, soft = look(drawn(), CUBE), look(drawn(spacing=2.0), CUBE), look(drawn(blur=1), CUBE)
    slab = look(drawn(), Lesion((4, 5, 5), np.ones((5, 3, 3), bool)))
    assert slab.edge == pytest.approx((2 * 9 * 410) / (45 - 3)), (
        "two of five layers lie on the step; 3 voxels lie inside"
    )
    assert wide.edge == pytest.approx(sharp.edge / 2)
    assert soft.edge == pytest.approx(sharp.edge / 2, rel=0.05)
    assert (sharp.voxels, sharp.texture) == (125, 0.0)


def test_texture_is_the_deviation_inside_and_histograms_are_shared_by_hand() -> None:
    ct = drawn()
    checks = np.indices((3, 3, 3)).sum(axis=0) % 2  # 14 voxels of 0 and 13 of 200 HU inside the border
    ct.array[5:8, 5:8, 5:8] = 200 * checks
    found = look(ct, CUBE)
    assert found.texture == pytest.approx(200 * np.sqrt(14 * 13) / 27, rel=1e-4)
    assert found.shares.sum() == pytest.approx(1)
    assert shared(found, look(drawn(), CUBE)) == pytest.approx((125 - 13) / 125), "0 and 20 HU lie in one bin"
    assert shared(look(drawn(20), CUBE), look(drawn(-300), CUBE)) == 0
    assert look(ct, Lesion((5, 5, 5), np.ones((2, 2, 2), bool))).texture is None


def test_a_rendered_lesion_stands_beside_its_donor_in_real_ct(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One donor's CT is there, one is not; the rendered lesion is 100 HU denser than its donor."""
    settings = load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out", workers=1)
    (settings.data / "profiles").mkdir(parents=True)
    chest = small_chest()
    sha = prepare_host(settings, chest, "A/s0", "real").columns["map_sha256"]
    middle = tuple(int(n) // 2 - 2 for n in chest.array.shape)
    lesion = Lesion(middle, np.ones((5, 5, 5), bool))  # type: ignore[arg-type]
    made = {}
    for name, inside in (("real", -20), ("rendered", 80)):
        hu = np.full(chest.array.shape, -800, np.int16, order="F")
        hu[lesion.box] = inside
        path = settings.data / "raw_ct/A/s0.nii.gz" if name == "real" else settings.output / "store/cts/tissue/aa/twin"
        made[name] = Volume(hu, chest.affine)
        if name == "real":
            write_volume(path, made[name])
    image, twin = "ab" * 16, "ac" * 16
    rows = []
    for uid, free, ct in ((image, False, made["rendered"]), (twin, True, made["real"])):
        path = f"store/cts/tissue/{uid[:2]}/{uid}.nii.gz"
        digest = write_volume(settings.output / path, ct)
        rows.append(
            {"case_uid": "t/a/00000", "source": "tissue", "mode": "x_t", "dataset": "A", "is_lesion_free": free,
             "image_uid": uid, "twin_uid": twin, "path": path, "sha256": digest, "kept": "nifti",
             "attenuation": None if free else "solid"}
        )  # fmt: skip
    nodule = {"case_uid": "t/a/00000", "present": True, "lesion": pack_bits(lesion), "diameter_mm": 6.2,
              "host_person_uid": "A/h", "donor_person_uid": "A/d"}  # fmt: skip
    donors = [{"nodule_uid": f"A/n{i}", "scan_uid": f"A/s{i}", "lesion": pack_bits(lesion)} for i in range(2)]
    frames = {
        "cts": pl.DataFrame(rows),
        "cases": pl.DataFrame({"case_uid": ["t/a/00000"], "host_scan_uid": ["A/s0"]}),
        "insertions": pl.DataFrame([nodule | {"nodule_idx": i, "donor_nodule_uid": f"A/n{i}"} for i in range(2)]),
        "donors": pl.DataFrame(donors),
    }
    scans = pl.DataFrame([{"scan_uid": "A/s0", "dataset": "A", "map_sha256": sha, "ct_path": "A/s0.nii.gz"}])
    whole = compare.read_all
    monkeypatch.setattr(compare, "read_all", lambda root, n, **k: frames[n] if n in frames else whole(root, n, **k))
    monkeypatch.setattr(compare, "real_scans", lambda settings: scans)
    monkeypatch.setattr(compare, "protocol_of", lambda settings: Protocol((40, 40, 32), 0.6, 8, 100))
    result = compare.build(settings, {}, "r1")
    assert result.rejected == 0 and compare.build(settings, {}, "r2").computed == 0
    first, second = read_all(settings.output, "nodule_fidelity").sort("nodule_idx").to_dicts()
    assert (first["overlap"], first["voxels"], first["texture"], first["note"]) == (0.0, 125, 0.0, None)
    assert first["edge"] / first["edge_real"] == pytest.approx(880 / 780, rel=1e-3)
    assert (second["overlap"], second["note"]) == (None, "the data root holds no real CT of A/n1")
