"""Planned positions: where the host holds the whole nodule, as near as the lattice allows."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itrialspace_assets.hosts.clearance import ClearanceMap
from itrialspace_assets.imaging.anatomy import LOBE_LABELS
from itrialspace_assets.trials.fit import DEEP, fit_positions

LOBE, OTHER = "right_lung_upper_lobe", "right_lung_middle_lobe"
BOX = [10, 71, 20, 61, 5, 46]
SPACING = np.array([0.8, 0.9, 1.5])


def clearance() -> ClearanceMap:
    """A lobe that fills its box but for a block of another at high x; airway along one edge."""
    axes = [np.arange(BOX[2 * a] + 1, BOX[2 * a + 1], s) for a, s in enumerate((4, 3, 2))]
    voxel = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    low, high = np.array(BOX[::2]), np.array(BOX[1::2]) - 1
    edge = (np.minimum(voxel - low, high - voxel) + 1) * SPACING
    label = np.where(voxel[:, 0] > 50, LOBE_LABELS[OTHER], LOBE_LABELS[LOBE]).astype(np.uint8)
    fissure = np.abs(voxel[:, 0] - 50.5) * SPACING[0]
    free = edge.min(axis=1)
    return ClearanceMap(voxel, label, free, np.minimum(free, fissure), free, np.hypot(edge[:, 0], edge[:, 1]))


CLEARANCE = clearance()


def tables(nodules: list[dict[str, Any]], clearance_sha256: str | None = "r") -> pl.DataFrame:
    """The fitted rows of nodules: case number, index, reach in mm, percentages, what is asked."""
    whole = {
        "placement": "profile",
        "lobe": LOBE,
        "scale": 1.0,
        "asked_pleural_mm": None,
        "asked_airway_mm": None,
        "margin_mm": 0.0,
        "fit_mm": None,
        "nodule_idx": 0,
    }
    rows = [
        {
            **whole,
            "case_uid": f"{n.get('arm', 'a')}/{n['number']}",
            "donor_nodule_uid": f"d{i}",
            **{k: v for k, v in n.items() if k not in ("number", "reach", "arm")},
        }
        for i, n in enumerate(nodules)
    ]
    floats = dict.fromkeys(("asked_pleural_mm", "asked_airway_mm", "fit_mm"), pl.Float64)
    frame = pl.DataFrame(rows, schema_overrides=floats, infer_schema_length=None)
    cases = pl.DataFrame(
        [
            {"case_uid": f"{n.get('arm', 'a')}/{n['number']}", "number": n["number"], "host_scan_uid": "h"}
            for n in nodules
        ]
    ).unique(maintain_order=True)
    donors = pl.DataFrame(
        [{"nodule_uid": f"d{i}", "reach_mm": n["reach"], "lesion": ""} for i, n in enumerate(nodules)]
    )
    hosts = pl.DataFrame(
        [
            {
                "scan_uid": "h",
                "map_sha256": "m",
                "room_sha256": clearance_sha256,
                **{f"spacing_{a}": float(s) for a, s in zip("xyz", SPACING, strict=True)},
            }
        ],
        schema_overrides={"room_sha256": pl.String},
    )
    lobes = pl.DataFrame(
        [{"scan_uid": "h", "lobe": x, "box": BOX, "occupied": [BOX[4], BOX[5] - 1]} for x in (LOBE, OTHER)]
    )
    return fit_positions(frame, cases, donors, hosts, lobes, lambda sha: {"m": CLEARANCE}[sha])


def place(row: dict[str, Any]) -> np.ndarray:
    """Voxel of a row's percentages, worked out from the box alone."""
    low, high = np.array(BOX[::2]), np.array(BOX[1::2]) - 1
    return low + np.array([row["ml_pct"], row["ap_pct"], row["cc_pct"]]) / 100 * (high - low)


percents = st.floats(0, 100)


@given(percents, percents, percents, st.floats(0.5, 12), st.sampled_from([LOBE, OTHER]))
def test_the_planned_place_holds_the_nodule_and_none_nearer_does(
    cc: float, ml: float, ap: float, reach: float, lobe: str
) -> None:
    declared = {"number": 0, "reach": reach, "lobe": lobe, "cc_pct": cc, "ml_pct": ml, "ap_pct": ap}
    row = tables([declared]).row(0, named=True)
    fits = (CLEARANCE.label == LOBE_LABELS[lobe]) & (CLEARANCE.free > reach) & (CLEARANCE.own > DEEP * reach)
    if not fits.any():
        assert row["fit_mm"] is None
        assert (row["cc_pct"], row["ml_pct"], row["ap_pct"]) == (cc, ml, ap), "what was declared stands"
        return
    far = np.linalg.norm((CLEARANCE.voxel - place(declared)) * SPACING, axis=1)
    at = np.flatnonzero(np.all(np.abs(CLEARANCE.voxel - place(row)) < 0.01, axis=1))
    assert len(at) == 1
    assert fits[at[0]]
    assert row["fit_mm"] == pytest.approx(far[at[0]], abs=1e-3)
    assert far[at[0]] <= far[fits].min() + 1e-6, "with nothing else asked, the nearest"
    assert row["asked_pleural_mm"] == CLEARANCE.pleura[at[0]]
    assert row["asked_airway_mm"] == pytest.approx(CLEARANCE.airway[at[0]])


def test_of_places_about_as_near_the_asked_distance_decides() -> None:
    """Halfway between lattice voxels 15 and 19 along x, a little nearer to the second: 4.0 and 7.2 mm from the edge and
    more."""
    y, z = 39, 24
    declared = {
        "number": 0,
        "reach": 1.0,
        "ml_pct": 100 * 7.1 / 60,
        "ap_pct": 100 * (y - 20) / 40,
        "cc_pct": 100 * (z - 5) / 40,
    }
    assert place(tables([declared]).row(0, named=True))[0] == pytest.approx(19, abs=0.01)
    asked = tables([declared | {"asked_pleural_mm": 4.0}]).row(0, named=True)
    assert place(asked)[0] == pytest.approx(15, abs=0.01)
    assert asked["asked_pleural_mm"] == pytest.approx(6 * SPACING[0])


def test_companions_are_planned_apart() -> None:
    one = {"number": 0, "cc_pct": 50.0, "ml_pct": 30.0, "ap_pct": 50.0, "reach": 5.0}
    both = tables([one, one | {"nodule_idx": 1, "reach": 4.0}])
    a, b = (place(r) for r in both.iter_rows(named=True))
    assert np.linalg.norm((a - b) * SPACING) > 9.0
    apart = tables([one, one | {"number": 1}])  # two cases of one host know nothing of each other
    assert np.allclose(*(place(r) for r in apart.iter_rows(named=True)))


def test_arms_that_share_a_declared_place_share_the_planned_one() -> None:
    one = {"number": 3, "cc_pct": 96.0, "ml_pct": 30.0, "ap_pct": 50.0}
    arms = tables([one | {"arm": a, "reach": r} for a, r in (("small", 2.0), ("large", 9.0))])
    assert arms["cc_pct"].n_unique() == 1
    alone = tables([one | {"reach": 2.0}])
    assert alone["cc_pct"][0] > arms["cc_pct"][0], "the largest decides"


def test_a_host_without_a_clearance_map_keeps_what_was_declared() -> None:
    row = tables([{"number": 0, "reach": 2.0, "cc_pct": 1.0, "ml_pct": 2.0, "ap_pct": 3.0}], clearance_sha256=None).row(
        0, named=True
    )
    assert (row["cc_pct"], row["ml_pct"], row["ap_pct"], row["fit_mm"], row["asked_pleural_mm"]) == (
        1.0,
        2.0,
        3.0,
        None,
        None,
    )
