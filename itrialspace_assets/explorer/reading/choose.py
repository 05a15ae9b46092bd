"""Which pictures a session shows, and in which order; the same seed shows the same in the same order."""

import secrets
from collections.abc import Sequence

import numpy as np
import polars as pl

from itrialspace_assets.analysis.frozen import ListKey, locks, read_list
from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.base.seeds import case_seeds, draws
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.reading.model import MOST_ITEMS, Header, SessionItem, SessionPicture, SessionRequest
from itrialspace_assets.readers.entry import ReaderEntry
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import read_all
from itrialspace_assets.records.tables import CONDITIONS

#: Slices of this preprocess profile are shown: the one of readers that name none.
PROFILE = str(ReaderEntry.model_fields["profile"].default)
_KEY = ("slice_uid", "condition", "control", "case_uid")
_READ = (
    *_KEY,
    *("source", "mode", "dataset", "target_uid", "profile", "z_offset", "path", "sha256", "width", "height", "affine"),
    *("presence", "size_bucket", "size_class", "lobe"),
)


def slices_under(settings: Settings, condition: str) -> pl.DataFrame:
    """Slices of targets' own planes that can be read under a guidance: without controls, of one profile.

    Raises:
        TableError: there are none.
    """
    found = read_all(settings.output, "slices", columns=_READ).filter(
        pl.col("condition") == condition,
        pl.col("control") == "none",
        pl.col("z_offset") == 0,
        pl.col("profile") == PROFILE,
    )
    if found.is_empty():
        raise TableError(f"slices: expected some under {condition} ({PROFILE}), found none; run `its run --to slice`")
    return found


class OfferedSplit(StrictModel):
    """A frozen split and its lists, as source/name."""

    split: str
    lists: tuple[str, ...]


class Offer(StrictModel):
    """What a session can be about."""

    splits: tuple[OfferedSplit, ...]
    modes: tuple[str, ...]
    conditions: tuple[str, ...]


def offers(settings: Settings) -> Offer:
    """What a session can be about; empty where nothing is cut."""
    splits = sorted(p.parent.name for p in (settings.output / "splits").glob("*/lock.json"))
    slices = read_all(settings.output, "slices", columns=[*_KEY, "mode"])
    return Offer(
        splits=tuple(
            OfferedSplit(split=s, lists=tuple(f"{k.source}/{k.name}" for k in locks(settings, s))) for s in splits
        ),
        modes=tuple(slices["mode"].unique().sort()),
        conditions=tuple(c for c in CONDITIONS if c in slices["condition"].unique()),
    )


def header(settings: Settings, asked: SessionRequest, name: str, started: str) -> Header:
    """The header of a new session.

    Args:
        settings: output folder.
        asked: what it is about.
        name: of the session.
        started: when it starts.

    Raises:
        ConfigError: nothing, or too much, is of the kind that is asked for.
        TableError: there are no slices, or a frozen list is gone or changed.
    """
    slices = slices_under(settings, asked.condition)
    rows = _pairs(slices, asked) if asked.kind == "pairs" else _cases(settings, slices, asked)
    if not 0 < len(rows[0]) <= MOST_ITEMS:
        raise ConfigError(f"expected 1 to {MOST_ITEMS} items, got {len(rows[0])}; choose other modes or lists")
    items = zip(*(_pictures(part) for part in rows), strict=True)
    return Header(session=name, asked=asked, items=tuple(SessionItem(pictures=pair) for pair in items), started=started)


def _pictures(rows: pl.DataFrame) -> list[SessionPicture]:
    columns = [c for c in SessionPicture.model_fields if c != "token"]
    return [
        SessionPicture(token=secrets.token_urlsafe(12), **row) for row in rows.select(columns).iter_rows(named=True)
    ]


def _shuffled(rows: pl.DataFrame, seed: int, what: str, by: str) -> pl.DataFrame:
    """Rows in an order that a seed draws by one of their ids."""
    order = case_seeds(seed, "reading", what, last=rows[by].to_list())
    return rows.with_columns(_order=pl.Series(order)).sort("_order", by).drop("_order")


def _cases(settings: Settings, slices: pl.DataFrame, asked: SessionRequest) -> tuple[pl.DataFrame]:
    if asked.split is not None:
        wanted = _frozen(settings, asked.split, asked.lists)
        slices = slices.join(wanted.select("slice_uid", "condition"), on=["slice_uid", "condition"], how="semi")
    else:
        slices = slices.filter(pl.col("mode").is_in(asked.modes))
        cases = _shuffled(slices.select("case_uid").unique(), asked.seed, "cases", "case_uid").head(asked.cases or 0)
        slices = slices.filter(pl.col("case_uid").is_in(cases["case_uid"].implode()))
    return (_shuffled(slices.unique("slice_uid", keep="first", maintain_order=True), asked.seed, "order", "slice_uid"),)


def _frozen(settings: Settings, split: str, lists: Sequence[str]) -> pl.DataFrame:
    """Pictures of the lists of a split."""
    keys = locks(settings, split)
    known = {f"{key.source}/{key.name}": key for key in keys}
    if unknown := [name for name in lists if name not in known]:
        raise ConfigError(f"lists: expected some of {', '.join(known) or 'none'}, got {unknown[0]!r}")
    chosen: list[ListKey] = [known[name] for name in (lists or known)]
    if not chosen:
        raise ConfigError(f"split {split}: expected frozen lists, found none; `its splits list` shows them")
    return pl.concat([read_list(settings, key) for key in chosen]).filter(pl.col("control") == "none").unique()


def _pairs(slices: pl.DataFrame, asked: SessionRequest) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Pictures on the left and on the right: a real nodule and a synthetic one of its size, of its lobe where possible.

    Args:
        slices: that can be shown.
        asked: how many, and of which modes the synthetic ones are.
    """
    shown = slices.filter(pl.col("presence") == "present").unique("slice_uid", keep="first", maintain_order=True)
    real = _shuffled(shown.filter(pl.col("source") == REAL), asked.seed, "real", "slice_uid")
    made = shown.filter(pl.col("source") != REAL)
    made = _shuffled(
        made.filter(pl.col("mode").is_in(asked.modes)) if asked.modes else made, asked.seed, "made", "slice_uid"
    )
    close = _matched(real, made, ["size_bucket", "lobe"])
    left = _matched(
        real.join(close, left_on="slice_uid", right_on="real", how="anti"),
        made.join(close, left_on="slice_uid", right_on="made", how="anti"),
        ["size_bucket"],
    )
    pairs = pl.concat([close, left])
    if pairs.is_empty():
        raise ConfigError("pairs: expected real and synthetic slices with a nodule of one size, found none")
    pairs = _shuffled(pairs, asked.seed, "order", "real").head(asked.cases or 0)
    swapped = pl.Series((draws(asked.seed, "reading", "sides", n=pairs.height) >> np.uint64(63)).astype(bool))
    first, second = pairs["real"].zip_with(~swapped, pairs["made"]), pairs["made"].zip_with(~swapped, pairs["real"])
    return _rows(shown, first), _rows(shown, second)


def _matched(real: pl.DataFrame, made: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Ids of pairs that agree in some columns: the first of each with the first of the other, and so on."""
    sides = [
        side.drop_nulls(by).select(
            *by, pl.int_range(pl.len()).over(by).alias("_place"), pl.col("slice_uid").alias(name)
        )
        for side, name in ((real, "real"), (made, "made"))
    ]
    return sides[0].join(sides[1], on=[*by, "_place"], maintain_order="left").select("real", "made")


def _rows(slices: pl.DataFrame, uids: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"slice_uid": uids}).join(slices, on="slice_uid", how="left", maintain_order="left")
