"""The two sides of ``its compare``: whose answers, from which output folder, and the same cases of both side by side.

A side is a reader of an output folder, as its tables have it, or an earlier revision of one, as the ledger has it.
Answers are paired by the published id of their slice; a pair of other pictures, or of another target, is none.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from itrialspace_assets.analysis.scoring.cases import truth
from itrialspace_assets.analysis.scoring.observations import OTHER_UNITS
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import hash_file
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.readers.ledger import Ledger
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.readers.requests import given
from itrialspace_assets.readers.scorers import score
from itrialspace_assets.records.store import read_all, table_path

#: Where a side is looked for: [FOLDER:]READER[@REVISION].
_SPEC = re.compile(r"^(?:(?P<folder>.+):)?(?P<reader>[a-z0-9_]{1,40})(?:@(?P<revision>[0-9a-f]{4,}(?:-unverified)?))?$")
#: What makes two answers a pair.
UNIT = ["source", "mode", "published_id", "condition", "task"]
#: What a slice is, whoever reads it.
FACTS = [
    *("dataset", "case_uid", "slice_uid", "target_uid", "arm", "presence", "negative_type", "lobe", "size_class"),
    *("size_bucket", "diameter_mm", "label", "guidance_site", "host_person_uid", "donor_person_uid", "pair_uid"),
]
_ANSWER = ["answer", "score", "status"]
#: Ids that a message names.
_FIRST = 10


@dataclass(frozen=True)
class Side:
    """Answers of one side.

    Attributes:
        name: as it was asked for.
        root: output folder.
        reader: name of the reader.
        revisions: of the reader that answered; empty where the tables do not say.
        scorer: rule that made the answers.
        answers: ``UNIT``, ``FACTS``, answer, score, status, and path, sha256 and profile of the picture.
        stale: answers to another picture than the present one, which are left out.
    """

    name: str
    root: Path
    reader: str
    revisions: tuple[str, ...]
    scorer: str
    answers: pl.DataFrame
    stale: int


@dataclass(frozen=True)
class SliceIds:
    """Some slices by their published ids: how many, and the first ten."""

    count: int
    first: tuple[str, ...]

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "SliceIds":
        named = frame.select(pl.concat_str("source", "published_id", separator="/")).to_series().unique().sort()
        return cls(named.len(), tuple(named.head(_FIRST)))


@dataclass(frozen=True)
class PairedSides:
    """The same slices answered by both, and what is not the same.

    Attributes:
        rows: ``UNIT``, ``FACTS``, ``truth``, and with a_ and b_ in front: answer, score, status, right, path, sha256.
        only_a: slices that A alone has an answer row for.
        only_b: those of B.
        twice_a: slices with several answers of A, left out.
        twice_b: those of B.
        changed: slices of one id that are another target or another picture on the other side, left out.
        manifests: modes whose manifests differ between the two output folders.
    """

    rows: pl.DataFrame
    only_a: SliceIds
    only_b: SliceIds
    twice_a: SliceIds
    twice_b: SliceIds
    changed: SliceIds
    manifests: tuple[str, ...]


def read_side(settings: Settings, spec: str, task: str, condition: str) -> Side:
    """Answers of one side in a task under a condition; controls are left out.

    Args:
        settings: the output folder where the side names none, and which readers there are.
        spec: ``[FOLDER:]READER[@REVISION]``; a folder holds tables/, or out/ with them.
        task: the task.
        condition: guidance.

    Raises:
        ConfigError: there is no such folder, reader or revision; names those there are.
    """
    found = _SPEC.match(spec)
    if found is None:
        raise ConfigError(f"{spec!r}: expected READER, FOLDER:READER or READER@REVISION, for example blob or old:blob")
    root = settings.output if found["folder"] is None else _root(Path(found["folder"]), spec)
    slices = read_all(root, "slices").filter(
        pl.col("control") == "none", pl.col("z_offset") == 0, pl.col("condition") == condition
    )
    if slices.is_empty():
        raise ConfigError(f"{spec}: expected slices under {condition} in {root}, found none; run `its run --to read`")
    if found["revision"] is None:
        return _of_tables(settings, spec, root, found["reader"], slices, task)
    return _of_ledger(settings, spec, root, found["reader"], found["revision"], slices, task)


def _root(folder: Path, spec: str) -> Path:
    """The output folder that a side names."""
    for path in (folder, folder / "out"):
        if (path / "tables").is_dir():
            return path
    raise ConfigError(f"{spec}: expected an output folder (with tables/) or a folder with out/, found none at {folder}")


def _of_tables(settings: Settings, spec: str, root: Path, reader: str, slices: pl.DataFrame, task: str) -> Side:
    rows = read_all(root, "answers", reader=reader).filter(
        pl.col("control") == "none", pl.col("slice_uid").is_not_null(), pl.col("task") == task
    )
    if rows.is_empty():
        there = sorted({p.name for p in (root / "tables" / "answers").glob("*/*") if p.is_dir()})
        raise ConfigError(
            f"{spec}: expected answers of the reader {reader} about {task} in {root}, found none; readers with answers "
            f"there: {', '.join(there) or 'none'}"
        )
    scorers = rows["scorer"].unique().sort().to_list()
    known = readers(settings)
    scorer = known[reader].scorer if len(scorers) > 1 and reader in known else scorers[0]
    if len(scorers) > 1 and reader not in known:
        raise ConfigError(
            f"{spec}: expected answers of one scorer, got {', '.join(scorers)}; enable {reader} in readers.yaml"
        )
    joined = slices.join(
        rows.filter(pl.col("scorer") == scorer).select(
            *("slice_uid", "condition", "source", "mode", "dataset", "task", "picture_sha256", "z_offsets"), *_ANSWER
        ),
        on=["slice_uid", "condition", "source", "mode", "dataset"],
    )
    other = (pl.col("z_offsets") == "0") & (pl.col("picture_sha256") != pl.col("sha256"))
    asked = read_all(root, "generations", reader=reader, columns=[*_GENERATION, "reader_revision"])
    revisions = tuple(asked["reader_revision"].unique().sort())
    return Side(spec, root, reader, revisions, scorer, _kept(joined.filter(~other)), joined.filter(other).height)


#: Key of ``generations``, which is read with every choice of its columns.
_GENERATION = ["target_uid", "profile", "z_offsets", "condition", "control", "prompt_id"]


def _of_ledger(
    settings: Settings, spec: str, root: Path, reader: str, revision: str, slices: pl.DataFrame, task: str
) -> Side:
    folders = sorted(p.name for p in (root / "ledger" / reader).glob("*") if p.is_dir())
    of = [name for name in folders if name.startswith(revision)]
    if len(of) != 1 or reader not in readers(settings):
        raise ConfigError(
            f"{spec}: expected one revision of an enabled reader, got {len(of)}; revisions of {reader} in the ledger: "
            f"{', '.join(folders) or 'none'}"
        )
    how = readers(settings)[reader]
    rows = Ledger(root / "ledger" / reader / of[0]).rows().filter(pl.col("control") == "none", pl.col("task") == task)
    said = score(rows.with_columns(failure=pl.lit(None, pl.String)), how.scorer)
    shown = given(how, slices, {}).select("slice_uid", "condition", "picture_sha256")
    joined = slices.join(shown, on=["slice_uid", "condition"]).join(
        said.select("picture_sha256", "condition", "task", *_ANSWER), on=["picture_sha256", "condition"]
    )
    return Side(spec, root, reader, (of[0],), how.scorer, _kept(joined), 0)


def _kept(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(*UNIT, *FACTS, *_ANSWER, "path", "sha256", "profile")


def pair(a: Side, b: Side) -> PairedSides:
    """The slices that both answered, side by side. A slice that one side lacks is named, not counted."""
    twice = [side.answers.filter(pl.struct(UNIT).is_duplicated()) for side in (a, b)]
    once = [side.answers.filter(~pl.struct(UNIT).is_duplicated()) for side in (a, b)]
    own = (*_ANSWER, "path", "sha256", "profile")
    second = once[1].select(*UNIT, pl.col("target_uid").alias("b_target"), *(pl.col(c).alias(f"b_{c}") for c in own))
    both = once[0].rename({c: f"a_{c}" for c in own}).join(second, on=UNIT)
    other = (pl.col("target_uid") != pl.col("b_target")) | (
        (pl.col("a_profile") == pl.col("b_profile")) & (pl.col("a_sha256") != pl.col("b_sha256"))
    )
    rows = both.filter(~other).with_columns(truth=truth())
    right = {
        f"{x}_right": pl.when(pl.col("truth").is_not_null()).then(
            ((pl.col(f"{x}_status") == "ok") & (pl.col(f"{x}_answer") == pl.col("truth"))).fill_null(False)
        )
        for x in "ab"
    }
    return PairedSides(
        rows.drop("b_target").with_columns(**right).sort(UNIT),
        SliceIds.of(once[0].join(b.answers, on=UNIT, how="anti")),
        SliceIds.of(once[1].join(a.answers, on=UNIT, how="anti")),
        SliceIds.of(twice[0]),
        SliceIds.of(twice[1]),
        changed=SliceIds.of(both.filter(other)),
        manifests=_manifests(a.root, b.root, both["mode"].unique().sort().to_list()),
    )


def _manifests(a: Path, b: Path, modes: Sequence[str]) -> tuple[str, ...]:
    """Modes whose tables of planned cases and nodules differ; a mode that was not planned has none."""
    if a.resolve() == b.resolve():
        return ()

    def hashes(root: Path, mode: str) -> list[str]:
        paths = [table_path(root, name, mode=mode) for name in ("cases", "case_nodules")]
        return [hash_file(p) if p.exists() else "" for p in paths]

    return tuple(mode for mode in modes if hashes(a, mode) != hashes(b, mode))


def as_observations(pairs: pl.DataFrame, scorers: dict[str, str]) -> pl.DataFrame:
    """Pairs as rows that metrics are computed from, with ``side`` (a or b).

    Args:
        pairs: ``PairedSides.rows``, all or some.
        scorers: scorer of each side.
    """
    sides = []
    for side, scorer in scorers.items():
        of = {c: f"{side}_{c}" for c in (*_ANSWER, "sha256")}
        log_odds = pl.lit(scorer not in OTHER_UNITS)
        sides.append(pairs.select(*UNIT, *FACTS, side=pl.lit(side), log_odds=log_odds, one_n=pl.lit(True), **of))
    return pl.concat(sides)
