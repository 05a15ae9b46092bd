import pytest
from hypothesis import given
from hypothesis import strategies as st

from itrialspace_assets.imaging.anatomy import (
    LABEL_NAMES,
    SIZE_BUCKETS,
    answer_size,
    equivalent_diameter,
    lobe_label,
    side_of_lobe,
    size_bucket,
    size_buckets,
)


@pytest.mark.parametrize(
    ("diameter", "bucket"),
    [(4.999, "<5mm"), (5, "5-10mm"), (9.999, "5-10mm"), (10, "10-15mm"), (15, "15-20mm"), (20, "20-30mm"), (30, ">30mm"), (200, ">30mm")],
)  # fmt: skip
def test_buckets_are_half_open(diameter: float, bucket: str) -> None:
    assert size_bucket(diameter) == bucket


@pytest.mark.parametrize(
    ("diameter", "answer"),
    [(4.999, "<5mm"), (5, "5-10mm"), (9.999, "5-10mm"), (10, "10-20mm"), (19.999, "10-20mm"), (20, ">20mm")],
)
def test_answer_classes_follow_the_published_edges(diameter: float, answer: str) -> None:
    assert answer_size(diameter) == answer


@pytest.mark.parametrize("wrong", [0, -1, float("nan")])
def test_a_diameter_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="> 0 mm"):
        size_bucket(wrong)


@given(st.lists(st.floats(0.1, 300), min_size=2))
def test_buckets_keep_order(values: list[float]) -> None:
    ordered = [SIZE_BUCKETS.index(b) for b in size_buckets(sorted(values))]
    assert ordered == sorted(ordered)


def test_lobe_aliases_and_sides() -> None:
    assert lobe_label("RML") == lobe_label(" right lung middle lobe ") == 31
    assert lobe_label("liver") is None
    assert side_of_lobe("left_lung_upper_lobe") == "left"
    assert side_of_lobe("background") == "unknown"


def test_label_names_of_the_published_map() -> None:
    assert (LABEL_NAMES[38], LABEL_NAMES[49], LABEL_NAMES[63], LABEL_NAMES[86]) == (
        "vertebra_T12", "vertebra_T1", "left_rib_1", "right_rib_12",
    )  # fmt: skip


def test_equivalent_diameter_of_a_known_sphere() -> None:
    assert equivalent_diameter(523.5987755982989) == pytest.approx(10.0)  # pi/6 * 10^3
