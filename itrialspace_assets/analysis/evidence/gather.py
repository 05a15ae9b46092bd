"""What the tables say about the cases of one report, read once for checklists, scorecards and cards.

Counts rows and joins stages; says nothing in words and estimates nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from itrialspace_assets.analysis.frozen import ListKey, Lock, locks
from itrialspace_assets.analysis.protocol.study import LockState, Study, changed_since_lock
from itrialspace_assets.analysis.scoring.rows import MetricRow, columns_of
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import partition_of, read_all, read_file, table_files
from itrialspace_assets.records.tables import TABLES

#: Name of the report over all modes and datasets; the reports of studies begin with it.
STUDY = "study"
_ANSWER_COLUMNS = ["source", "reader", "task", "condition", "control", "status", "answer", "scorer", "scorer_version"]
_ASKED_COLUMNS = ["source", "reader", "reader_revision", "prompt_id", "prompt_sha256", "profile", "z_offsets"]
_PLANNED = ["size_bucket", "lobe", "planned_diameter_mm", "fit", "relaxations"]


@dataclass(frozen=True)
class Scope:
    """What a report is of: its name, the trial modes and the datasets whose own CTs are read."""

    name: str
    modes: tuple[str, ...]
    datasets: tuple[str, ...]


@dataclass(frozen=True)
class AuthorStatements:
    """What the authors of a study state and no table can tell; None: not stated."""

    question: str | None = None
    context_of_use: str | None = None
    model_influence: str | None = None
    decision_consequence: str | None = None


@dataclass(frozen=True)
class Terms:
    """The terms of a dataset: what its publisher allows, and where that is stated."""

    dataset: str
    licence: str
    source: str
    citation: str
    redistributable: bool


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the tables hold for one report.

    Attributes:
        scope: which modes and datasets.
        study: the protocol in force.
        stated: what the authors state.
        split: name of the frozen lists.
        anatomy: ``real`` or ``procedural``.
        changed: the study is not the one that was locked with the split.
        minimum: least number that texts may show of real people; None: any.
        trials: rows of ``trials`` without the resolved file.
        arms: rows of ``arms``.
        balance: rows of ``balance``.
        cases: planned cases: mode, arm, host_*, size_bucket and lobe planned for the first nodule, and whether the case
            was ``inserted``.
        stages: a row for each case and image source: ``rendered``, ``sliced``, ``answered`` (by every reader of the
            source).
        planned: rows of ``case_nodules`` of nodules that are present: case_uid, mode and ``_PLANNED``.
        insertions: rows of ``insertions`` of nodules that are present.
        rejected: rows of ``rejected_cases`` of the cases.
        cts: rows of ``cts``.
        slices: source, mode, dataset, profile, condition, control, presence, anatomy and ``pictures`` of each.
        answers: counts ``n`` of answers by ``_ANSWER_COLUMNS`` and mode.
        asked: counts ``n`` of requests by ``_ASKED_COLUMNS``.
        metrics: rows of ``metrics``.
        fidelity: rows of ``fidelity``, those averaged over planes.
        overlaps: rows of ``host_overlaps``.
        people: persons whose anatomy is shown: person_uid, dataset, age, sex, smoking.
        findings: findings of the datasets: dataset, label_source, mask_source, population_type and ``n``.
        lists: frozen lists and their locks.
        terms: terms of the datasets that took part, by dataset.
    """

    scope: Scope
    study: Study
    stated: AuthorStatements
    split: str
    anatomy: str
    changed: bool
    minimum: int | None
    trials: pl.DataFrame
    arms: pl.DataFrame
    balance: pl.DataFrame
    cases: pl.DataFrame
    stages: pl.DataFrame
    planned: pl.DataFrame
    insertions: pl.DataFrame
    rejected: pl.DataFrame
    cts: pl.DataFrame
    slices: pl.DataFrame
    answers: pl.DataFrame
    asked: pl.DataFrame
    metrics: pl.DataFrame
    fidelity: pl.DataFrame
    overlaps: pl.DataFrame
    people: pl.DataFrame
    findings: pl.DataFrame
    lists: Mapping[ListKey, Lock] = field(default_factory=dict)
    terms: tuple[Terms, ...] = ()

    def only(self, mode: str) -> "Evidence":
        """The same of one trial mode alone; people, findings, terms, lists and requests stay those of all."""
        kept = {
            name: getattr(self, name).filter(pl.col("mode") == mode)
            for name in ("trials", "arms", "balance", "cases", "stages", "planned", "insertions", "cts", "slices")
        }
        cases = kept["cases"]["case_uid"].to_list()
        return replace(
            self,
            **kept,
            scope=Scope(mode, (mode,), ()),
            rejected=self.rejected.filter(pl.col("case_uid").is_in(cases)),
            answers=self.answers.filter(pl.col("mode") == mode),
            metrics=self.metrics.filter(pl.col("analysis") == mode),
        )


def scope_of(settings: Settings, name: str) -> Scope:
    """Modes and datasets of a report, by its name: a mode, real-<dataset>, or study for everything there is."""
    if name == STUDY or name.startswith(f"{STUDY}-"):
        modes = tuple(p.parent.name for p in table_files(settings.output, "cases"))
        real = table_files(settings.output, "slices", source=REAL, mode=REAL)
        return Scope(name, modes, tuple(p.parent.name for p in real))
    if name.startswith(f"{REAL}-"):
        return Scope(name, (), (name.removeprefix(f"{REAL}-"),))
    return Scope(name, (name,), ())


def gather(
    settings: Settings,
    study: Study,
    name: str,
    rows: Sequence[MetricRow] | None = None,
    stated: AuthorStatements | None = None,
    measured: bool = True,
    state: LockState | None = None,
) -> Evidence:
    """Read what the tables hold for a report.

    Args:
        settings: which split, and where tables lie.
        study: the protocol in force.
        name: of the report: a mode, real-<dataset>, or study.
        rows: the report's own metrics; None: those of the table.
        stated: what the authors state.
        measured: whether to read what is measured over all modes at once, after their reports: ``fidelity`` and
            ``host_overlaps``.
        state: of the study's lock, where it is known already: it reads every table of answers; None: looked up.
    """
    scope = scope_of(settings, name)
    read = _Reader(settings.output, scope)
    answers, told = read.answers()
    cases = _cases(read)
    metrics = read.metrics() if rows is None else _frame(rows)
    terms = datasets(settings)
    people = _people(read, cases)
    took_part = read.took_part(people)
    return Evidence(
        scope=scope,
        study=study,
        stated=stated or AuthorStatements(),
        split=settings.split,
        anatomy=settings.anatomy,
        changed=changed_since_lock(settings, study) if state is None else state.exploratory,
        minimum=None,
        trials=read.planned("trials", ["mode", "trial", "question", "size", "seed", "overrides", "relaxed"]),
        arms=read.planned("arms"),
        balance=read.planned("balance"),
        cases=cases,
        stages=_stages(read, cases, told),
        planned=read.planned("case_nodules", ["case_uid", "mode", "nodule_idx", "present", *_PLANNED]).filter(
            "present"
        ),
        insertions=read.planned("insertions").filter("present"),
        rejected=read.rejected().join(cases.select("case_uid"), on="case_uid", how="semi"),
        cts=read.images("cts"),
        slices=read.slices(),
        answers=answers,
        asked=read.asked(),
        metrics=metrics,
        fidelity=read.measured("fidelity", measured).filter(pl.col("plane") == "average"),
        overlaps=read.measured("host_overlaps", measured),
        people=people,
        findings=read.findings(people["dataset"].unique().sort().to_list()),
        lists={k: v for k, v in locks(settings, settings.split).items() if k.name in read.names()},
        terms=tuple(
            Terms(name, of.licence, of.licence_source, of.citation, of.redistributable)
            for name, of in terms.items()
            if name in took_part
        ),
    )


def _frame(rows: Sequence[MetricRow]) -> pl.DataFrame:
    return TABLES["metrics"].frame([columns_of(r) for r in rows])


@dataclass(frozen=True)
class _Reader:
    """Reads the partitions of tables that belong to a report."""

    root: Path
    scope: Scope

    def names(self) -> set[str]:
        return {*self.scope.modes, *(f"{REAL}-{d}" for d in self.scope.datasets)}

    def planned(self, table: str, columns: list[str] | None = None) -> pl.DataFrame:
        """Rows of a table that is partitioned by mode."""
        return _concat(table, [p for m in self.scope.modes for p in table_files(self.root, table, mode=m)], columns)

    def files(self, table: str) -> list[Path]:
        """Files of a table that is partitioned by mode and dataset, ``real`` among the modes."""
        of_modes = [p for m in self.scope.modes for p in table_files(self.root, table, mode=m)]
        of_real = [p for d in self.scope.datasets for p in table_files(self.root, table, mode=REAL, dataset=d)]
        return of_modes + of_real

    def images(self, table: str) -> pl.DataFrame:
        return _concat(table, [p for m in self.scope.modes for p in table_files(self.root, table, mode=m)])

    def rejected(self) -> pl.DataFrame:
        """Rows of ``rejected_cases`` of the report's modes; a partition of theirs begins with the mode."""
        files = [
            path
            for path in table_files(self.root, "rejected_cases")
            if partition_of("rejected_cases", path)["partition"].split("~")[0] in self.scope.modes
        ]
        return _concat("rejected_cases", files)

    def measured(self, table: str, wanted: bool) -> pl.DataFrame:
        return read_all(self.root, table) if wanted else TABLES[table].empty()

    def metrics(self) -> pl.DataFrame:
        """Those of the report's modes and datasets, and of the report itself."""
        names = sorted({*self.names(), self.scope.name})
        return _concat("metrics", [p for n in names for p in table_files(self.root, "metrics", analysis=n)])

    def slices(self) -> pl.DataFrame:
        columns = ["source", "mode", "dataset", "profile", "condition", "control", "presence", "anatomy"]
        return _counted("slices", self.files("slices"), columns).rename({"n": "pictures"})

    def asked(self) -> pl.DataFrame:
        return _counted("generations", self.files("generations"), _ASKED_COLUMNS)

    def answers(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Counts of answers; and slice_uid, source and reader of what was answered on the pictures themselves."""
        files = self.files("answers")
        columns = [*_ANSWER_COLUMNS, "mode"]
        told = [
            read_file("answers", p, ["slice_uid", "source", "reader", "mode", "control", "status"])
            .filter((pl.col("control") == "none") & (pl.col("status") == "ok"))
            .select("slice_uid", "source", "reader", "mode")
            .unique()
            for p in files
        ]
        empty = TABLES["answers"].empty().select("slice_uid", "source", "reader", "mode")
        return _counted("answers", files, columns), pl.concat([empty, *told]).unique()

    def findings(self, names: Sequence[str]) -> pl.DataFrame:
        files = [p for n in names for p in table_files(self.root, "profiles", dataset=n)]
        return _counted("profiles", files, ["dataset", "label_source", "mask_source", "population_type"])

    def took_part(self, people: pl.DataFrame) -> set[str]:
        """Datasets of hosts, donors and real slices."""
        donors = self.planned("case_nodules", ["case_uid", "nodule_idx", "donor_dataset"])["donor_dataset"]
        return {*people["dataset"], *donors, *self.scope.datasets}


def _concat(table: str, files: Sequence[Path], columns: list[str] | None = None) -> pl.DataFrame:
    empty = TABLES[table].empty()
    frames = [read_file(table, p, columns) for p in files]
    return pl.concat([empty if columns is None else empty.select(columns), *frames])


def _counted(table: str, files: Sequence[Path], columns: list[str]) -> pl.DataFrame:
    """Rows by the values of some columns, counted file by file, so that no whole table is held."""
    empty = TABLES[table].empty().select(columns).with_columns(n=pl.lit(0, pl.UInt32))
    parts = [read_file(table, p, columns).group_by(columns).agg(n=pl.len()) for p in files]
    return pl.concat([empty, *parts]).group_by(columns).agg(pl.col("n").cast(pl.Int64).sum()).sort(columns)


def _cases(read: _Reader) -> pl.DataFrame:
    hosts = ["host_dataset", "host_person_uid", "host_scan_uid", "host_age", "host_sex", "host_smoking"]
    cases = read.planned("cases", ["case_uid", "mode", "arm", *hosts, "lesion_free_twin"])
    first = read.planned("case_nodules", ["case_uid", "nodule_idx", "size_bucket", "lobe"]).filter(
        pl.col("nodule_idx") == 0
    )
    inserted = read.planned("insertions", ["case_uid", "nodule_idx"]).select("case_uid").unique()
    return (
        cases.join(first.drop("nodule_idx"), on="case_uid", how="left")
        .join(inserted.with_columns(inserted=pl.lit(True)), on="case_uid", how="left")
        .with_columns(pl.col("inserted").fill_null(False))
        .sort("mode", "case_uid")
    )


def _stages(read: _Reader, cases: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """Which cases each image source rendered, cut and had answered by all its readers."""
    rendered = _concat(
        "cts",
        [p for m in read.scope.modes for p in table_files(read.root, "cts", mode=m)],
        ["case_uid", "source", "is_lesion_free"],
    )
    rendered = rendered.filter(~pl.col("is_lesion_free")).select("case_uid", "source").unique()
    cut = [
        read_file("slices", p, ["slice_uid", "case_uid", "source"]).unique()
        for m in read.scope.modes
        for p in table_files(read.root, "slices", mode=m)
    ]
    sliced = pl.concat([TABLES["slices"].empty().select("slice_uid", "case_uid", "source"), *cut])
    readers = told.group_by("source", "mode").agg(pl.col("reader").n_unique().alias("_readers"))
    answered = (
        sliced.join(told, on=["slice_uid", "source"])
        .group_by("case_uid", "source", "mode")
        .agg(pl.col("reader").n_unique().alias("_of"))
    )
    whole = answered.join(readers, on=["source", "mode"]).filter(pl.col("_of") == pl.col("_readers"))
    sources = pl.concat([rendered["source"], sliced["source"]]).unique().sort().to_frame()
    found = cases.select("case_uid", "mode", "arm", "size_bucket", "lobe", "host_dataset").join(sources, how="cross")
    for name, frame in (("rendered", rendered), ("sliced", sliced), ("answered", whole)):
        mark = frame.select("case_uid", "source").unique().with_columns(pl.lit(True).alias(name))
        found = found.join(mark, on=["case_uid", "source"], how="left").with_columns(pl.col(name).fill_null(False))
    return found.sort("source", "mode", "case_uid")


def _people(read: _Reader, cases: pl.DataFrame) -> pl.DataFrame:
    """Persons whose anatomy is shown: hosts of planned cases, and people of real slices."""
    hosts = cases.select(
        person_uid="host_person_uid", dataset="host_dataset", age="host_age", sex="host_sex", smoking="host_smoking"
    )
    wanted = ["scan_uid", "person_uid", "dataset", "age", "sex", "smoking"]
    files = [p for d in read.scope.datasets for p in table_files(read.root, "hosts", dataset=d)]
    scans = _concat("hosts", files, wanted).drop("scan_uid")
    cut = [
        read_file("slices", p, ["dataset", "host_person_uid"]).unique()
        for d in read.scope.datasets
        for p in table_files(read.root, "slices", source=REAL, mode=REAL, dataset=d)
    ]
    shown = pl.concat([TABLES["slices"].empty().select("dataset", "host_person_uid"), *cut])
    real = scans.join(shown, left_on=["dataset", "person_uid"], right_on=["dataset", "host_person_uid"], how="semi")
    return pl.concat([hosts, real]).unique("person_uid").sort("person_uid")
