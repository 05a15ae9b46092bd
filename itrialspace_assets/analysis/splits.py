"""Chooses the slices of frozen lists: when all slices of a mode (or real dataset) exist, or by a rule of the user's.

A report scores a list, not the slices that happen to exist. How a list is written and verified is in ``frozen``.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import polars as pl

from itrialspace_assets.analysis.frozen import (
    ListKey,
    changes,
    first_of,
    freeze,
    list_path,
    locks,
    read_list,
)
from itrialspace_assets.analysis.protocol.study import load_study, lock_study
from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import Options, Partition, Result, Step, data_version, descends_from, label
from itrialspace_assets.imaging.pictures import markdown
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import file_digests, read_all, read_table, table_files, table_path, write_table
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.synthesis.renderers import enabled

VERSION = "2"
#: Rules by which slices are chosen (docs/facts/evaluation.md#frozen-lists): every slice; those of targets that every
#: reader answered, in every task, on plain pictures; the same under every published guidance.
SplitRule = Literal["all", "release_v1", "release_v1_full"]
#: Columns of ``slices`` by which slices are chosen, and that lists hold.
_CHOSEN = (*TABLES["slices"].key, "target_uid", "published_id", "sha256")
_PUBLISHED_CONDITIONS = ("plain", "bbox", "contour", "bbox_contour")
_PUBLISHED_TASKS = ("presence", "lobe", "size")


@dataclass(frozen=True)
class Candidate:
    """A list that could be frozen now: image source, and name (the mode, or real-<dataset>)."""

    source: str
    name: str

    @property
    def mode(self) -> str:
        return REAL if self.source == REAL else self.name

    def slices(self, settings: Settings) -> pl.DataFrame:
        """What choosing and freezing need of its rows of ``slices``; read anew each time."""
        return present_slices(settings, self.source, self.name, _CHOSEN)


def missing_pairs(settings: Settings, source: str, mode: str) -> list[str]:
    """Datasets whose slices of a mode are missing or not made from the present manifest; empty if none is.

    Args:
        settings: where tables and records lie.
        source: a renderer's name.
        mode: key of the mode, for example ``m02_size_detection_curve``.

    Returns:
        Sorted names of host datasets, or ``["manifest"]`` where the mode is not planned.
    """
    if not table_path(settings.output, "cases", mode=mode).exists():
        return ["manifest"]
    hosts = read_table(settings.output, "cases", mode=mode)["host_dataset"].unique().sort().to_list()
    slices, manifest = f"{source}/eval_slices", label("cohort_manifests", {"mode": mode})
    pairs = {d: label(slices, {"mode": mode, "dataset": d}) for d in hosts}
    return [d for d, of in pairs.items() if not descends_from(settings, of, manifest, mode)]


def candidates(settings: Settings) -> list[Candidate]:
    """Every list that could be frozen now: its slices are all there, and made from the present manifest."""
    found = []
    modes = [p.parent.name for p in table_files(settings.output, "cases")]
    for source in (r.name for r in enabled(settings)):
        for mode in modes:
            if not missing_pairs(settings, source, mode):
                found.append(Candidate(source, mode))
    for path in table_files(settings.output, "slices", source=REAL, mode=REAL):
        name = path.parent.name
        if data_version(settings, label(f"{REAL}/eval_slices", {"dataset": name})):
            found.append(Candidate(REAL, f"{REAL}-{name}"))
    return found


def present_slices(settings: Settings, source: str, name: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The rows of ``slices`` of a list there are, whatever they were made from.

    Args:
        settings: where tables lie.
        source: ``real`` or a renderer's name.
        name: of the list: the mode, or real-<dataset>.
        columns: those that are wanted, the table's key among them; None: all.
    """
    if source == REAL:
        where = {"mode": REAL, "dataset": name.removeprefix(f"{REAL}-")}
        return read_all(settings.output, "slices", columns, source=source, **where)
    return read_all(settings.output, "slices", columns, source=source, mode=name)


def chosen_by(rule: str, slices: pl.DataFrame, answers: pl.DataFrame, readers: Collection[str]) -> pl.DataFrame:
    """The slices that a rule chooses: of a target all profiles and neighbours, with all their pictures.

    Args:
        rule: how they are chosen.
        slices: rows of ``slices``.
        answers: rows of ``answers`` of the same source and mode, of all readers.
        readers: the readers that must all have answered.

    Raises:
        ConfigError: there is no such rule, or it asks for answers and no reader is enabled.
    """
    if rule not in get_args(SplitRule):
        raise ConfigError(f"--rule {rule!r}: expected one of {', '.join(get_args(SplitRule))}")
    if rule == "all":
        return slices
    if not readers:
        raise ConfigError(f"--rule {rule}: expected enabled readers, found none (readers.yaml)")
    conditions = _PUBLISHED_CONDITIONS if rule == "release_v1_full" else _PUBLISHED_CONDITIONS[:1]
    given = answers.filter(
        pl.col("condition").is_in(conditions),
        pl.col("control") == "none",
        pl.col("task").is_in(_PUBLISHED_TASKS),
        pl.col("status") != "error",
    )
    needed = len(readers) * len(conditions) * len(_PUBLISHED_TASKS)
    whole = (
        given.filter(pl.col("reader").is_in(list(readers)))
        .unique(["target_uid", "reader", "condition", "task"])
        .group_by("target_uid")
        .len()
        .filter(pl.col("len") == needed)
    )
    return slices.join(whole.select("target_uid"), on="target_uid", how="semi", maintain_order="left")


def named_by(ids: Collection[str], slices: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """The slices that ids name, with all their pictures, and the ids that name none.

    Args:
        ids: each a ``slice_uid``, a ``published_id`` or a ``case_uid``.
        slices: rows of ``slices``.
    """
    wanted = pl.Series("id", sorted(set(ids)), pl.String())
    columns = ("slice_uid", "published_id", "case_uid")
    found = slices.filter(pl.any_horizontal(pl.col(c).is_in(wanted.to_list()) for c in columns))
    known = pl.concat([found[c] for c in columns]).unique()
    return found, wanted.filter(~wanted.is_in(known.to_list())).to_list()


def rejected_by_people(settings: Settings) -> frozenset[str]:
    """Cases whose last review, by whomever, is a rejection: no list that is frozen from now on holds them."""
    last = read_all(settings.output, "reviews").sort("number").unique("case_uid", keep="last")
    return frozenset(last.filter(pl.col("verdict") == "reject")["case_uid"])


def without(rejected: Collection[str], slices: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The slices that no rejected case shows, and how many rejected cases of theirs there are.

    A list holds slices, so one that a rejected case shares with another would bring it back into reports.

    Args:
        rejected: each a ``case_uid``.
        slices: rows of ``slices``.
    """
    out = slices.filter(pl.col("case_uid").is_in(list(rejected)))
    kept = slices.join(out.select("slice_uid").unique(), on="slice_uid", how="anti", maintain_order="left")
    return kept, out["case_uid"].n_unique()


def options(settings: Settings) -> Options:
    """Options that decide which lists are frozen and scored; reports depend on the same."""
    return {"split": settings.split, "study": load_study(settings).sha256}


STEP = Step(("evaluation_splits",), "splits", (), VERSION, options)


def build(settings: Settings, partition: Partition) -> Result:
    """Freeze the lists that are complete and not frozen yet; never rewrite one; write ``splits``.

    Cases that people rejected are left out of the lists that are frozen now.

    Raises:
        TableError: a frozen list is not what its lock says.
    """
    require_data_root(settings)
    lock_study(settings, load_study(settings))
    known, frozen, rejected, left_out = locks(settings, settings.split), 0, rejected_by_people(settings), 0
    for candidate in candidates(settings):
        key = ListKey(settings.split, candidate.source, candidate.name)
        if key not in known:
            slices, cases = without(rejected, candidate.slices(settings))
            if slices.is_empty() and cases:
                continue
            freeze(settings, key, slices, "all")
            frozen += 1
            left_out += cases
    return _written(settings, frozen, left_out)


def _written(settings: Settings, frozen: int, left_out: int) -> Result:
    """The table ``splits`` of all lists of the split.

    Args:
        settings: where lists and tables lie.
        frozen: lists that were frozen now.
        left_out: cases that were left out of them because people rejected them.
    """
    found = locks(settings, settings.split)
    frames = [
        read_list(settings, key).with_columns(
            split=pl.lit(key.split),
            source=pl.lit(key.source),
            mode=pl.lit(REAL if key.source == REAL else key.name),
            name=pl.lit(key.name),
            list_sha256=pl.lit(lock.list_sha256),
        )
        for key, lock in found.items()
    ]
    rows = pl.concat(frames) if frames else TABLES["splits"].empty()
    written = write_table(settings.output, "splits", rows)
    table = (
        rows.group_by("source", "name", "list_sha256")
        .agg(pl.col("slice_uid").n_unique().alias("slices"), pl.len().alias("pictures"))
        .sort("source", "name")
    )
    lists = [list_path(settings, key) for key in found]  # not the lock: it holds a time
    return Result(
        {"splits": rows.height},
        frozen,
        len(found) - frozen,
        preview=markdown(table) + (f"\n\n{left_out} cases left out: rejected by people" if left_out else ""),
        written=(written,),
        files=file_digests(settings.output, lists),
    )


def broken_lists(settings: Settings, split: str | None = None) -> list[str]:
    """Frozen lists of a split that are not what was frozen, or not what there is now, each with the difference.

    Args:
        settings: where lists and tables lie.
        split: name of the split; the configured one if None.
    """
    problems = []
    for key in locks(settings, split or settings.split):
        try:
            frozen = read_list(settings, key)
        except TableError as error:
            problems.append(str(error))
            continue
        slices = present_slices(settings, key.source, key.name, _CHOSEN)
        if found := changes(frozen, slices):
            problems.append(f"{key}: {first_of(found)}")
    return problems


def edited_lists(settings: Settings) -> list[str]:
    """Frozen lists of the split that are not what their lock says, each with the difference; opens no table."""
    problems = []
    for key in locks(settings, settings.split):
        try:
            read_list(settings, key)
        except TableError as error:
            problems.append(str(error))
    return problems


def unfrozen_slices(settings: Settings) -> list[str]:
    """Lists of the split that were frozen by the rule ``all`` and lack slices that are there now."""
    found = []
    rejected = rejected_by_people(settings)
    for key, lock in locks(settings, settings.split).items():
        present, _ = without(rejected, present_slices(settings, key.source, key.name, _CHOSEN))
        new = set(present["slice_uid"]) - set(read_list(settings, key)["slice_uid"])
        if lock.rule == "all" and new:
            found.append(
                f"{key}: {len(new)} slices are new; freeze another split (ITRIALSPACE_SPLIT) to report on them"
            )
    return found
