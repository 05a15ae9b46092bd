"""The estimate of a rendering against the rendering itself, and its refusal where the disk is too small."""

from pathlib import Path

import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.hosts.paths import map_path
from itrialspace_assets.hosts.store import prepare_host, read_host
from itrialspace_assets.imaging.lesions import Lesion, pack_bits
from itrialspace_assets.synthesis import estimate as module
from itrialspace_assets.synthesis.acquisition import STANDARD
from itrialspace_assets.synthesis.case import RenderCase
from itrialspace_assets.synthesis.estimate import estimate_rendering, require_disk
from itrialspace_assets.synthesis.renderers import RENDERERS
from itrialspace_assets.synthesis.rendering import render_case

from ..conftest import small_chest
from ..insertion.shapes import ball
from .nodmaisi.tiny import tiny_weights

TISSUE = RENDERERS["tissue"]


@pytest.fixture
def cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Settings, list[RenderCase]]:
    """Six cases with a lesion each and a clean one, on one host."""
    settings = load_settings(data_dir=tmp_path, output_dir=tmp_path / "out", workers=1)
    host = prepare_host(settings, small_chest(), "D/s", "procedural").columns
    sha, grid = host["map_sha256"], module.HostGrid((40, 36, 30), (1.5, 2.0, 2.5))
    monkeypatch.setattr(module, "host_grids", lambda settings: {sha: grid})
    shape = ball(5, tuple(small_chest().spacing))
    made = []
    for i in range(7):
        lesions = [pack_bits(Lesion((24, 12 + i, 6), shape))] if i else []
        case = RenderCase(
            case_uid=f"t/a/{i:05d}",
            source="tissue",
            mode="x_t",
            dataset="D",
            map_sha256=sha,
            lesions=tuple(lesions),
            anatomy="procedural",
            attenuation="solid",
            acquisition=STANDARD,
            seed=42,
        )
        made.append(case)
    return settings, made


@pytest.mark.parametrize("kept", ["nifti", "delta"])
def test_it_says_about_what_the_files_take(cases: tuple[Settings, list[RenderCase]], kept: str) -> None:
    settings, made = cases[0].model_copy(update={"cts": kept}), cases[1]
    before = sorted(p for p in settings.output.rglob("*") if p.is_file())
    found = estimate_rendering(settings, TISSUE, made)
    assert sorted(p for p in settings.output.rglob("*") if p.is_file()) == before, "the sample leaves nothing"
    assert (found.cases, found.hosts) == (7, 1)
    assert found.seconds > 0
    for case in made:
        render_case(case, settings)
    taken = sum(p.stat().st_size for p in (settings.output / "store" / "cts").rglob("*.nii.gz"))
    assert 0.7 < found.size / taken < 1.5


def test_patches_take_a_fraction_and_nothing_takes_nothing(cases: tuple[Settings, list[RenderCase]]) -> None:
    settings, made = cases
    whole = estimate_rendering(settings, TISSUE, made).size
    assert estimate_rendering(settings.model_copy(update={"cts": "delta"}), TISSUE, made).size < whole / 2
    nothing = estimate_rendering(settings, TISSUE, [])
    assert (nothing.cases, nothing.hosts, nothing.seconds, nothing.size) == (0, 0, 0.0, 0)


def test_a_small_disk_is_refused_with_what_would_fit(
    cases: tuple[Settings, list[RenderCase]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, made = cases
    with monkeypatch.context() as plenty:
        plenty.setattr(module, "free_bytes", lambda folder: module.GIB)
        plenty.setattr(module, "measure_rate", lambda *a: pytest.fail("measured although raw voxels would fit"))
        require_disk(settings, TISSUE, made, len(made))
    monkeypatch.setattr(module, "free_bytes", lambda folder: 20_000)
    with pytest.raises(ConfigError, match=r"7 cases on 1 hosts need about .* GiB are free; ITRIALSPACE_CTS=delta"):
        require_disk(settings, TISSUE, made, len(made))
    with pytest.raises(ConfigError, match=r"free$"):
        require_disk(settings.model_copy(update={"cts": "delta"}), TISSUE, made, len(made))


def test_a_host_that_is_gone_names_itself_and_the_stage(
    cases: tuple[Settings, list[RenderCase]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, made = cases
    map_path(settings.output, made[0].map_sha256).unlink()
    read_host.cache_clear()
    with pytest.raises(ConfigError, match=f"{made[0].map_sha256}.*run the stage hosts again"):
        estimate_rendering(settings, TISSUE, made)
    monkeypatch.setattr(module, "host_grids", lambda settings: {})
    with pytest.raises(ConfigError, match="1 hosts of the inserted cases are not in the host store"):
        estimate_rendering(settings, TISSUE, made)


def test_kept_slices_of_a_whole_renderer_take_their_share(
    cases: tuple[Settings, list[RenderCase]], tmp_path: Path
) -> None:
    """By hand: an image of 2 bytes a voxel for the twin, and five lesion slices of 40 x 36 for each of six cases."""
    changes = {
        "cts": "slices",
        "device": "cpu",
        "nodmaisi_models_dir": tiny_weights(tmp_path / "w").nodmaisi_models_dir,
    }
    settings, made = cases[0].model_copy(update=changes), cases[1]
    nodmaisi = RENDERERS["nodmaisi"]
    depth = ball(5, tuple(small_chest().spacing)).shape[2]
    found = estimate_rendering(settings, nodmaisi, made)
    assert found.size == 2 * 40 * 36 * (30 + 6 * (depth + 2))
    whole = estimate_rendering(settings.model_copy(update={"cts": "nifti"}), nodmaisi, made)
    assert whole.size == 2 * 40 * 36 * 30 * 7
    assert found.seconds == pytest.approx(whole.seconds) and found.seconds > 0
