"""The map of slices: outcomes as answers say, places as the slices show, none from an answer to another picture."""

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.layouts.slices import AnswerFilter, answered, colour, draw, place
from itrialspace_assets.explorer.server.routes.maps import router
from itrialspace_assets.index.query import Index
from tests.analysis.small_run import MODE, SOURCE, answers, run_settings, slices, write_answers, write_slices
from tests.explorer.bare_app import Root, client
from tests.explorer.nodules import known

ASKED = AnswerFilter(SOURCE, "mock")


@pytest.fixture
def run(tmp_path: Path) -> Settings:
    """Six cases: right, wrong, refused, unparsed, to another picture, not answered, in turn of the plain slices."""
    settings = run_settings(tmp_path)
    rows = slices(6)
    write_slices(settings, rows)
    plain = rows.filter(pl.col("condition") == "plain").sort("case_uid", "presence")
    kind = pl.int_range(pl.len()) % 6
    wrong = pl.when(pl.col("presence") == "present").then(pl.lit("absent")).otherwise(pl.lit("present"))
    said = plain.with_columns(
        kind=kind,
        status=pl.when(kind == 2)
        .then(pl.lit("refused"))
        .when(kind == 3)
        .then(pl.lit("unparsed"))
        .otherwise(pl.lit("ok")),
        answer=pl.when(kind.is_in([0, 4])).then("presence").when(kind == 1).then(wrong),
        sha256=pl.when(kind == 4).then(pl.lit("f" * 64)).otherwise(pl.col("sha256")),
    ).filter(pl.col("kind") < 5)
    write_answers(settings, "mock", answers(settings, "mock", said))
    return settings


def test_outcomes_are_what_was_answered_to_the_present_picture(run: Settings) -> None:
    found = colour(run, ASKED, draw(run, ASKED))
    wanted = ["right", "wrong", "refused", "refused", "not_answered", "not_answered"] * 2
    order = slices(6).filter(pl.col("condition") == "plain").sort("case_uid", "presence")
    of = dict(found.select("slice_uid", "outcome").rows())
    assert [of[uid] for uid in order["slice_uid"]] == wanted
    assert found["slice_uid"].is_sorted()
    boxed = AnswerFilter(SOURCE, "mock", condition="bbox")
    assert colour(run, boxed, draw(run, boxed))["outcome"].unique().to_list() == ["not_answered"]
    size = AnswerFilter(SOURCE, "mock", task="size")
    shown = colour(run, size, draw(run, size))
    assert shown.filter(pl.col("presence") == "absent")["outcome"].unique().to_list() == ["no_truth"]
    assert draw(run, size).points.select("x", "y").equals(found.select("x", "y"))
    assert answered(run).row(0) == (SOURCE, "mock", [MODE])
    assert draw(run, AnswerFilter("*", "mock")).points.is_empty()
    with pytest.raises(ConfigError, match="condition 'arrow': expected one of plain"):
        draw(run, AnswerFilter(SOURCE, "mock", condition="arrow"))


def test_like_slices_lie_together() -> None:
    """Two kinds of slices that differ in what they show are apart; missing and zero values stay finite."""
    rng = np.random.default_rng(2)
    kind = np.repeat([0, 1], 40)
    shown = pl.DataFrame(
        {
            "diameter_mm": np.where(kind, 25.0, 5.0) + rng.normal(0, 0.4, 80),
            "area_mm2": np.where(kind, 400.0, 20.0) + rng.normal(0, 2, 80),
            "contrast_hu": 500 + rng.normal(0, 100, 80),
            "pleural_mm": 10 + rng.normal(0, 3, 80),
            **{p: rng.uniform(0, 100, 80) for p in ("cc_pct", "ml_pct", "ap_pct")},
            "lobe": rng.choice(["left_lung_upper_lobe", "right_lung_upper_lobe"], 80),
        }
    ).with_columns(pl.when(pl.int_range(80) % 9 == 0).then(None).otherwise(pl.col("contrast_hu")).alias("contrast_hu"))
    points = place(shown)
    middles = np.array([points[kind == k].mean(axis=0) for k in (0, 1)])
    own = np.linalg.norm(points - middles[kind], axis=1)
    other = np.linalg.norm(points - middles[1 - kind], axis=1)
    assert (own < other).mean() > 0.95
    assert np.isfinite(place(shown.with_columns(diameter_mm=pl.lit(0.0)))).all()
    assert place(shown.head(0)).shape == (0, 2)


def test_the_map_is_streamed_and_kept(run: Settings) -> None:
    root = Root(run, Index(known()))
    web = client(root, router)
    found = pl.read_ipc_stream(io.BytesIO(web.get(f"/api/slices/map?source={SOURCE}&reader=mock").content))
    assert found.schema["x"] == found.schema["diameter_mm"] == pl.Float32
    assert found["outcome"].cast(pl.String).value_counts().sort("outcome").rows() == [
        ("not_answered", 4),
        ("refused", 4),
        ("right", 2),
        ("wrong", 2),
    ]
    drawn = root.made["slices_drawn"][1]
    web.get(f"/api/slices/map?source={SOURCE}&reader=mock&task=size")
    assert root.made["slices_drawn"][1] is drawn
    assert web.get("/api/maps").json()["slices"] == [{"source": SOURCE, "reader": "mock", "modes": [MODE]}]
