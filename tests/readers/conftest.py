"""A partition of drawn slices, and the mock reader on it: the reading stage without a data root or Dagster."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.base.fingerprints import replace_file, sha256_bytes
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.imaging.pictures import png
from itrialspace_assets.readers import build
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import read_table, write_table

WHERE = {"source": REAL, "mode": REAL, "dataset": "LUNA16"}
PART = {"dataset": "LUNA16"}


def slice_rows(root: Path, targets: range, conditions: tuple[str, ...] = ("plain", "bbox")) -> list[dict[str, Any]]:
    """Rows of ``slices`` with pictures below ``root``: every other target has a nodule."""
    rows = []
    for i in targets:
        for c, condition in enumerate(conditions):
            data = png(np.full((12, 10), (7 * i + c) % 256, np.uint8))
            path = f"store/slices/{i:04}_{condition}.png"
            replace_file(root / path, data)
            present = i % 2 == 0
            rows.append(
                {
                    "slice_uid": f"s{i:04}", "target_uid": f"t{i:04}", "condition": condition,
                    "control": "none", **WHERE,
                    "case_uid": f"real/LUNA16/{i // 2}", "image_uid": f"LUNA16/{i // 4}", "published_id": f"LUNA16/{i}",
                    "path": path, "sha256": sha256_bytes(data), "profile": "lung_axial", "slice_z": i,
                    "z_offset": 0,
                    "pixel_x_mm": 0.7, "pixel_y_mm": 0.7, "width": 10, "height": 12,
                    "presence": "present" if present else "absent", "lobe": "left_lung_upper_lobe" if present else None,
                    "size_class": "5-10mm" if present else None, "size_bucket": "5-10mm" if present else None,
                    "diameter_mm": 7.0 if present else None, "target_pixels": 9 if present else 0,
                    "negative_type": None if present else "level", "guidance_site": "lesion" if present else "never",
                    "pair_uid": f"real/LUNA16/{i // 2}", "paired": False, "other_lesions_in_slice": False,
                    "host_person_uid": f"p{i // 4}", "donor_person_uid": None, "anatomy": "procedural",
                    "affine": [0.7, 0, 0, 0, 0, 0.7, 0, 0, 0, 0, 1, 0], "guidance_covers_target": False,
                }
            )  # fmt: skip
    return rows


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Settings]:
    """Settings with the mock reader and so many drawn targets; options go to the mock's entry."""

    def make(targets: int = 24, entry: str = "", rows: list[dict[str, Any]] | None = None, **settings: Any) -> Settings:
        config = tmp_path / f"readers_{sha256_bytes(entry.encode())[:8]}.yaml"
        mock = entry if "enabled:" in entry else f"enabled: true, {entry}"
        config.write_text(f"readers: {{blob: {{enabled: false}}, mock: {{{mock}}}}}")
        (tmp_path / "data" / "profiles").mkdir(parents=True, exist_ok=True)
        made = load_settings(
            **{"data_dir": tmp_path / "data", "output_dir": tmp_path / "out", "readers_config": config, "workers": 1}
            | settings
        )
        rows = slice_rows(made.output, range(targets)) if rows is None else rows
        write_table(made.output, "slices", rows, **WHERE)
        return made

    return make


def read(settings: Settings, run_id: str) -> Any:
    """Plan, work and collect one partition; the result."""
    for shard in build.plan(settings, REAL, "mock", PART, run_id):
        build.work(settings, REAL, "mock", PART, run_id, shard)
    return build.collect(settings, REAL, "mock", PART, run_id)


def table(settings: Settings, name: str) -> pl.DataFrame:
    return read_table(settings.output, name, reader="mock", **WHERE)
