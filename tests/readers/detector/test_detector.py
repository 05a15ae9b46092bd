"""The nodule detector: what a network finds at a voxel is marked where that voxel lies in the world."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itrialspace_assets.base.errors import CaseRejected, ConfigError, Reason
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.orchestration.op_tags import shard_tags
from itrialspace_assets.readers import read
from itrialspace_assets.readers.api import Reader, Scan
from itrialspace_assets.readers.build import make_step
from itrialspace_assets.readers.case import MarkScan, ReadWork, RealScan
from itrialspace_assets.readers.detector import marks, network
from itrialspace_assets.readers.detector.kind import CHECKPOINT
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment
from itrialspace_assets.readers.registry import make, readers
from itrialspace_assets.records.layout import REAL

AIR_HU, BRIGHT_HU = -1000, 300
#: Voxels of the image a voxel of each map stands for.
STRIDES = ((4, 4, 2), (8, 8, 4), (16, 16, 8))


def volume(shape: tuple[int, int, int], spacing: tuple[float, float, float], *bright: tuple[int, int, int]) -> Volume:
    """Air with single bright voxels; no axis has the size, voxel or origin of another."""
    array = np.full(shape, AIR_HU, np.int16)
    for at in bright:
        array[at] = BRIGHT_HU
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-21.5, 130.25, -400.0]
    return Volume(array, affine)


def firing() -> Any:
    """A network whose first map fires where the image is bright, and whose boxes are the anchors as they are."""
    import torch

    class Firing(torch.nn.Module):
        spatial_dims, num_classes, num_anchors, size_divisible = 3, 1, 3, network.DIVISIBLE
        cls_key, box_reg_key = "classification", "box_regression"

        def forward(self, images: torch.Tensor) -> dict[str, list[torch.Tensor]]:
            pooled = [torch.nn.functional.max_pool3d(images, stride) for stride in STRIDES]
            score = 12 * pooled[0] - 10
            silent = torch.full_like(score, -20.0)
            first = torch.cat([score, silent, silent], dim=1)  # the first of three anchors
            others = [torch.full_like(level, -20.0).repeat(1, 3, 1, 1, 1) for level in pooled[1:]]
            boxes = [torch.zeros_like(level).repeat(1, 18, 1, 1, 1) for level in pooled]
            return {self.cls_key: [first, *others], self.box_reg_key: boxes}

    return Firing()


def found(ct: Volume, window: tuple[int, int, int] = network.WINDOW) -> list[Any]:
    return marks.marks_of(network.detector(firing(), window), ct, window, "float32", "cpu")


@pytest.mark.parametrize("window", [network.WINDOW, (32, 32, 16)])
def test_a_mark_lies_where_the_network_fired(window: tuple[int, int, int]) -> None:
    """On the network's own grid it is the middle of the first anchor over the voxel, to a thousandth of a mm."""
    at = (13, 37, 23)
    ct = volume((64, 52, 30), marks.SPACING_MM, at)
    (mark,) = found(ct, window)
    anchor = [a // s * s + s // 2 for a, s in zip(at, STRIDES[0], strict=True)]
    np.testing.assert_allclose(mark.world, ct.to_world(anchor), atol=2e-3)
    edges = np.array(network.ANCHORS[0]) * marks.SPACING_MM
    assert mark.diameter_mm == pytest.approx(edges.mean(), abs=2e-3)
    assert mark.score == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-5)
    for axis in range(3):
        flipped = Volume(np.ascontiguousarray(np.flip(ct.array, axis)), ct.affine)
        (other,) = found(flipped, window)
        moved = np.abs(np.subtract(other.world, mark.world)) > 5
        np.testing.assert_array_equal(moved, np.arange(3) == axis)


@pytest.mark.parametrize("spacing", [(0.5, 0.9, 2.5), (1.1, 0.6, 1.0), (0.98, 0.98, 0.75)])
def test_marks_of_a_scan_with_other_voxels_lie_in_the_world(spacing: tuple[float, float, float]) -> None:
    """The grid and the way back agree on a ball's middle; the mark lies within half a voxel of map and scan."""
    middle = np.array([20, 44, 17])
    ct = volume((60, 70, 40), spacing)
    grid = np.moveaxis(np.indices(ct.array.shape), 0, -1)
    ct.array[(np.square((grid - middle) * spacing).sum(axis=-1)) <= 2.6**2] = BRIGHT_HU
    image = marks.on_grid(ct, "cpu")[0].double().numpy()
    seen = np.argwhere(image >= 0)
    at = np.average(seen, axis=0, weights=(image - image.min()).ravel())
    boxes = np.array([[*(at - 2), *(at + 2)]], np.float32)
    (mark,) = marks.in_world(boxes, np.ones(1, np.float32), ct, image.shape)
    ball = np.argwhere(ct.array == BRIGHT_HU).mean(axis=0)
    np.testing.assert_allclose(mark.world, ct.to_world(ball), atol=0.05)
    assert mark.diameter_mm == pytest.approx(4 * np.mean(marks.SPACING_MM), rel=0.02)
    best = found(ct)[0]
    reach = np.array(STRIDES[0]) * marks.SPACING_MM / 2 + 2.6
    assert (np.abs(np.subtract(best.world, ct.to_world(middle))) <= reach + np.array(spacing) / 2).all()


def test_two_nodules_are_two_marks_and_air_is_none() -> None:
    first, second = (12, 20, 8), (50, 8, 30)
    ct = volume((64, 48, 40), marks.SPACING_MM, first, second)
    ct.array[second] = 150  # weaker
    strong, weak = found(ct)
    assert strong.score > weak.score > network.LEAST_SCORE
    for mark, at in ((strong, first), (weak, second)):
        assert (np.abs(np.subtract(mark.world, ct.to_world(at))) < 2).all()
    assert found(volume((40, 30, 20), marks.SPACING_MM)) == []


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights with the bundle's layout: the published network with random weights."""
    import torch

    folder = tmp_path_factory.mktemp("weights")
    path = folder / "retinanet" / CHECKPOINT
    path.parent.mkdir(parents=True)
    torch.manual_seed(4)
    state = {key: torch.empty_like(value, device="cpu") for key, value in network.build("meta").state_dict().items()}
    for key, value in state.items():
        if value.is_floating_point() and value.ndim > 1:
            value.normal_(0, 1 / math.sqrt(value[0].numel()))
        else:
            value.fill_(1 if key.endswith(("weight", "running_var")) else 0)
    torch.save(state, path)
    return folder


def reader(weights: Path | None, **options: Any) -> Reader:
    place = ReaderEnvironment(weights, (weights or Path("none")).with_name("hashes.sqlite"))
    return make(ReaderEntry(name="retinanet", kind="detector", location="gpu", options=options), place)


def test_the_published_network_marks_a_scan_from_its_folder(bundle: Path) -> None:
    import torch

    made = reader(bundle)
    assert made.needs() == [] and made.mark is not None and made.tasks == ()
    ct = volume((32, 48, 16), marks.SPACING_MM)
    ct.array[...] = np.random.default_rng(5).integers(-900, 100, ct.array.shape)
    got = made.mark(Scan("D/s", lambda: ct, lambda: None))
    assert 0 < len(got) <= network.MOST
    assert [m.score for m in got] == sorted((m.score for m in got), reverse=True)
    net = network.build("meta").eval()
    net.load_state_dict(torch.load(bundle / "retinanet" / CHECKPOINT, weights_only=True), assign=True)
    with torch.inference_mode():
        maps = net((torch.from_numpy(ct.array).float()[None, None] + 1024) / 1324)
    assert got[0].score == pytest.approx(float(max(m.max() for m in maps["classification"]).sigmoid()), rel=1e-5)
    corners = ct.to_world([[-0.5] * 3, np.array(ct.array.shape) + 0.5])
    assert all((corners[0] <= m.world).all() and (m.world <= corners[1]).all() for m in got)


def test_the_stage_marks_a_scan_whose_file_has_other_axes(bundle: Path, tmp_path: Path) -> None:
    """The file's axes run to the right-hand side, to the back: marks are in RAS all the same, and are kept."""
    ct = volume((32, 28, 16), marks.SPACING_MM)
    ct.array[...] = np.random.default_rng(6).integers(-900, 100, ct.array.shape)
    write_volume(tmp_path / "data" / "raw_ct" / "a.nii.gz", ct, orientation="LPS")
    config = tmp_path / "readers.yaml"
    config.write_text("readers: {retinanet: {enabled: true}}")
    settings = load_settings(
        data_dir=tmp_path / "data",
        output_dir=tmp_path / "out",
        readers_config=config,
        weights_dir=bundle,
        device="cpu",
    )
    how = readers(settings)["retinanet"]
    scan = RealScan(image_uid="D/a", key="k1", ct_path="a.nii.gz")
    read.work(ReadWork(job=MarkScan(reader="retinanet", scan=scan)), settings)
    kept = read.kept_marks(settings, how, scan)
    assert how.mark is not None and kept
    wanted = how.mark(Scan("D/a", lambda: ct, lambda: None))
    got = [((m["world_x"], m["world_y"], m["world_z"]), m["diameter_mm"], m["score"]) for m in kept]
    assert got == [(m.world, m.diameter_mm, m.score) for m in wanted]
    tags = shard_tags(make_step(REAL, how), settings)
    assert tags["dagster-k8s/config"]["container_config"]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_what_is_wrong_with_a_detector_is_said(bundle: Path, tmp_path: Path) -> None:
    import torch

    (need,) = reader(tmp_path).needs()
    assert "models/model.pt" in need.what and "lung_nodule_ct_detection" in need.fix
    path = tmp_path / "retinanet" / CHECKPOINT
    path.parent.mkdir(parents=True)
    state = torch.load(bundle / "retinanet" / CHECKPOINT, weights_only=True)
    state.pop(next(iter(state)))
    torch.save(state, path)
    scan = Scan("D/s", lambda: volume((16, 16, 8), marks.SPACING_MM), lambda: None)
    mark = reader(tmp_path).mark
    assert mark is not None
    with pytest.raises(ConfigError, match=r"model\.pt: expected the weights of the published RetinaNet: 1 differ"):
        mark(scan)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ConfigError, match=r"model\.pt: expected a PyTorch checkpoint of tensors only"):
        mark(scan)
    with pytest.raises(ConfigError, match="window: expected multiples of 16 x 16 x 8 voxels, got 500 x 512 x 192"):
        reader(tmp_path, window=(500, 512, 192))
    with pytest.raises(ConfigError, match="marks whole scans: expected no tasks"):
        make(
            ReaderEntry(name="a", kind="detector", tasks=("presence",)), ReaderEnvironment(None, tmp_path / "h.sqlite")
        )


def test_too_little_memory_rejects_the_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def small(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(CaseRejected) as rejected:
        marks.marks_of(small, volume((16, 16, 8), marks.SPACING_MM), network.WINDOW, "float32", "cpu")
    assert rejected.value.reason == Reason.OUT_OF_MEMORY
