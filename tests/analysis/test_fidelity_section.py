"""The fidelity section: distances beside their floor, lesions beside their donors, reasons where nothing is known."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.reports.document import Chart, Estimate, Paragraph, Table
from itrialspace_assets.analysis.reports.fidelity_section import fidelity_part
from itrialspace_assets.analysis.scoring.nodule_likeness import nodule_likeness
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.records.store import write_table
from itrialspace_assets.records.tables import TABLES

STUDY = load_study(load_settings())


def distance(compared: str, matched: float | None, **columns: object) -> dict[str, object]:
    kind = "real_to_real" if compared.startswith("real") else "real_to_synthetic"
    limits: dict[str, float | None] = {"low": None, "high": None, "floor": None, "floor_low": None, "floor_high": None}
    if matched is not None:
        limits = {"low": matched - 0.2, "high": matched + 0.2, "floor": 1.0, "floor_low": 0.8, "floor_high": 1.3}
    return {
        "reference": "real", "compared": compared, "kind": kind, "plane": "average", "metric": "descriptor_distance",
        "extractor": "descriptor-1", "value": 1.5, "images_reference": 40, "images_compared": 20, "images_matched": 20,
        "matched": matched, **limits, "protocol": "{}", "anatomy": "real", **columns,
    }  # fmt: skip


def lesions(n: int, seed: int = 1) -> pl.DataFrame:
    """Solid lesions whose border is 50 HU/mm steeper than that of their donors, one of them without a real CT."""
    rng = np.random.default_rng(seed)
    edge = rng.normal(200, 20, n)
    rows = [
        {"source": "tissue", "image_uid": f"{i:032x}", "nodule_idx": 0, "case_uid": f"t/a/{i}", "attenuation": "solid",
         "nodule_uid": f"A/{i}", "host_person_uid": f"A/h{i}", "donor_person_uid": f"A/d{i}", "diameter_mm": 8.0,
         "overlap": 0.7, "edge": float(e + 50 + rng.normal(0, 5)), "edge_real": float(e), "texture": None,
         "texture_real": None, "voxels": 60, "voxels_real": 60}
        for i, e in enumerate(edge)
    ]  # fmt: skip
    return TABLES["nodule_fidelity"].frame([*rows, rows[0] | {"nodule_idx": 1, "overlap": None, "edge": None,
                                                              "edge_real": None, "note": "none"}])  # fmt: skip


def settings_with(folder: Path, rows: list[dict[str, object]]) -> Settings:
    settings = load_settings(data_dir=folder, output_dir=folder / "out")
    write_table(settings.output, "fidelity", rows)
    write_table(settings.output, "nodule_fidelity", lesions(30))
    return settings


def test_lesions_are_compared_with_their_donors_pair_by_pair() -> None:
    """Against scipy's paired t interval, where every lesion has persons of its own."""
    from scipy import stats

    rows = lesions(30)
    both, edge, texture = nodule_likeness(rows, STUDY)
    apart = (
        rows.filter(pl.col("edge").is_not_null()).select(pl.col("edge") - pl.col("edge_real")).to_series().to_numpy()
    )
    wanted = stats.ttest_1samp(apart, 0).confidence_interval()
    assert (edge.value, edge.low, edge.high) == tuple(pytest.approx(x, abs=1e-3) for x in (apart.mean(), *wanted))
    assert (edge.n, edge.without, edge.low > 40) == (30, 1, True)
    assert edge.rendered is not None and edge.real is not None
    assert edge.rendered - edge.real == pytest.approx(edge.value, abs=1e-3)
    assert (both.value, both.flag) == (0.7, "no variation between clusters")
    assert (texture.value, texture.n, texture.flag) == (None, 0, "no lesion has a real counterpart")
    assert nodule_likeness(rows.clear(), STUDY) == []


def test_distances_stand_beside_the_floor_of_the_real_set(tmp_path: Path) -> None:
    few = "3 and 3 images: too few for halves of 2 or more"
    rows = [distance("tissue/m01", 2.0), distance("tissue/m02", 1.0), distance("tissue/m03", 1.2),
            distance("real/B", None, reference="real/A", flag=few)]  # fmt: skip
    (section,) = fidelity_part(settings_with(tmp_path, rows), STUDY, "planned").sections
    table = next(b for b in section.blocks if isinstance(b, Table) and b.name == "fidelity")
    assert [r[-1] for r in table.rows] == ["above the floor", "within the floor", "not told apart from the floor", None]
    assert isinstance(table.rows[3][4], Estimate) and table.rows[3][4].flag == few
    (chart,) = [b for b in section.blocks if isinstance(b, Chart)]
    assert len(chart.spec["layer"]) == 4 and "tissue/m01 to real, n 20: 2, floor 1" in chart.alt
    assert "real CT as acquired" in str(chart.spec["title"]) and "'tissue'" in str(chart.spec["title"])
    said = [b.text for b in section.blocks if isinstance(b, Paragraph) and b.kind == "warning"]
    assert any("not FID" in text for text in said) and f"{few}." in said
    nodules = next(b for b in section.blocks if isinstance(b, Table) and b.name == "nodule_fidelity")
    assert [r[2] for r in nodules.rows] == ["HU histogram in common", "edge, HU/mm", "texture, HU"]


@pytest.mark.parametrize("note", ["not estimable by construction: anatomy is procedural", None])
def test_without_a_distance_the_reason_stands_alone(tmp_path: Path, note: str | None) -> None:
    rows = [distance("all", None, value=None, note=note)] if note else []
    (section,) = fidelity_part(settings_with(tmp_path, rows), STUDY).sections
    (block,) = section.blocks
    assert isinstance(block, Paragraph) and section.standing == "context"
    assert block.text == f"{note or 'no rendered image and no real CT to compare'}."
