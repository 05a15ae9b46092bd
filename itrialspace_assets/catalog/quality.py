"""Great Expectations over whole tables: suites made from the registry, and a page of what they found.

The registry's writer refuses a table that breaks a rule of severity ``error``. Such a rule can fail here only if a
file was changed after it was written, so one expectation of each table runs the registry's validator over all of its
files. Each rule that the writer does not enforce (severity ``warning``) has an expectation of its own. References
between tables are checked in ``references``.

A suite runs again only if the files of its table, or the suite, changed: outcomes are kept below ``work/quality``.
Great Expectations is imported inside a function, because the import takes seconds. The page is our own, because the
data docs of Great Expectations load style sheets from the network and hold times.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.resources import files as package_files
from pathlib import Path
from typing import Literal

import jinja2
import polars as pl
from pydantic import ValidationError

from itrialspace_assets.base.fingerprints import digest, hash_file, replace_file
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.records.schema import Table, errors, obeys, rules_at_write, violations
from itrialspace_assets.records.store import partition_of, read_all, read_file, table_files
from itrialspace_assets.records.tables import TABLES

#: Raise it when a suite would judge equal tables in another way; outcomes that were kept are then ignored.
VERSION = "1"
#: Column of the batch that names a row: the values of its key, joined with ``/``.
ROW = "row"
#: Name of the expectation that covers every rule that the writer enforces.
REGISTRY = "obeys the registry"
#: Rows that an outcome names at most; ours.
_SHOWN = 5


class Expectation(StrictModel):
    """A boolean column of the batch that Great Expectations expects to be true in every row.

    ``at_write``: the writer refuses a table that breaks it, so it can fail only if a file was changed afterwards.
    """

    name: str
    says: str
    severity: Literal["error", "warning"]
    at_write: bool


class ExpectationOutcome(StrictModel):
    """How many rows break an expectation, the keys of the first, and which rules of the registry they break."""

    expectation: Expectation
    held: bool
    unexpected: int
    sample: tuple[str, ...] = ()
    details: tuple[str, ...] = ()


class TableOutcome(StrictModel):
    """Outcomes of one table's suite over ``rows`` rows."""

    table: str
    rows: int
    outcomes: tuple[ExpectationOutcome, ...]

    def failed(self, severity: str) -> list[ExpectationOutcome]:
        """The expectations of a severity that some row breaks."""
        return [o for o in self.outcomes if not o.held and o.expectation.severity == severity]


class _Kept(StrictModel):
    """A table's outcome on disk; ``inputs`` is the hash of the files and the suite that gave it."""

    inputs: str
    outcome: TableOutcome


@dataclass(frozen=True)
class Batch:
    """What Great Expectations sees of a table: a boolean column for each expectation, and the rows' names.

    ``details`` says which rules of the registry are broken, and in which file.
    """

    rows: pl.DataFrame
    details: tuple[str, ...] = ()


def suite_of(table: Table) -> list[Expectation]:
    """One expectation for all rules that the writer enforces, and one for each rule that it does not."""
    count = len(rules_at_write(table))
    enforced = f"each of the {count} rules that the writer enforces holds"
    return [
        Expectation(name=REGISTRY, says=enforced, severity="error", at_write=True),
        *(
            Expectation(name=r.name, says=r.says, severity="warning", at_write=False)
            for r in table.rules
            if r.severity == "warning"
        ),
    ]


def batch_of(table: Table, parts: Iterable[tuple[str, dict[str, str], pl.DataFrame]]) -> Batch:
    """Evaluate a table's rules over its files.

    Args:
        table: the contract.
        parts: of each file its name, the folder of each partition dimension, and its rows. A file of another
            schema becomes one row that breaks the registry.
    """
    key = tuple(dict.fromkeys((*table.partition, *table.key)))  # a key is unique within its partition
    whole = replace(table, key=key)
    sound: list[pl.DataFrame] = [table.empty().with_columns(pl.lit(True).alias("its folder"))]
    details: list[str] = []
    strangers: list[str] = []
    for name, folders, frame in parts:
        if dict(frame.schema) != dict(table.schema):
            details += [f"{name}: {v}" for v in violations(table, frame)]
            strangers.append(name)
            continue
        own = pl.all_horizontal(pl.lit(True), *(pl.col(d).str.replace_all("/", "~") == f for d, f in folders.items()))
        sound.append(frame.with_columns(own.alias("its folder")))
    frame = pl.concat(sound)
    inside = frame["its folder"]
    if misplaced := frame.filter(~inside).height:
        details.append(f"{misplaced} rows lie in the folder of another partition")
    frame = frame.drop("its folder")
    good = obeys(whole, frame) & inside
    if not good.all():
        details += [str(v) for v in errors(violations(whole, frame))]
    rules = [e for e in suite_of(table) if not e.at_write]
    holds = {r.name: r.holds.fill_null(True) for r in table.rules}
    rows = frame.select(
        pl.concat_str([pl.col(k).cast(pl.String).fill_null("?") for k in table.key], separator="/").alias(ROW),
        good.alias(REGISTRY),
        *(holds[e.name].alias(e.name) for e in rules),
    )
    broken = pl.DataFrame({ROW: strangers}, schema={ROW: pl.String}).with_columns(
        pl.lit(False).alias(REGISTRY), *(pl.lit(True).alias(e.name) for e in rules)
    )
    return Batch(pl.concat([rows, broken]), tuple(details))


def validate(batches: dict[str, Batch]) -> list[TableOutcome]:
    """Run the suite of each table (by name) over its batch with Great Expectations."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("TQDM_DISABLE", "1")
    import great_expectations as gx
    from great_expectations.expectations.core.expect_column_values_to_be_in_set import ExpectColumnValuesToBeInSet
    from great_expectations.expectations.metadata_types import FailureSeverity

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}  # type: ignore[assignment]
    source = context.data_sources.add_pandas("tables")
    severity = {"error": FailureSeverity.CRITICAL, "warning": FailureSeverity.WARNING}
    wanted = {
        "result_format": "SUMMARY",
        "unexpected_index_column_names": [ROW],
        "partial_unexpected_count": _SHOWN,
    }
    verdicts = []
    for name, batch in batches.items():
        expected = suite_of(TABLES[name])
        suite = gx.ExpectationSuite(
            name=name,
            expectations=[
                ExpectColumnValuesToBeInSet(
                    column=e.name, value_set=[True], severity=severity[e.severity], meta={"number": number}
                )
                for number, e in enumerate(expected)
            ],
        )
        definition = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
        found = definition.get_batch({"dataframe": batch.rows.to_pandas()}).validate(suite, result_format=wanted)
        outcomes: dict[int, ExpectationOutcome] = {}
        for result in found.results:
            number = result.expectation_config.meta["number"]  # type: ignore[union-attr]
            trouble = (result.exception_info or {}).get("exception_message")
            shown = result.result.get("partial_unexpected_index_list") or []
            outcomes[number] = ExpectationOutcome(
                expectation=expected[number],
                held=bool(result.success),
                unexpected=int(result.result.get("unexpected_count") or 0),
                sample=tuple(str(row[ROW]) for row in shown[:_SHOWN]),
                details=(str(trouble)[:200],) if trouble else batch.details if expected[number].at_write else (),
            )
        verdicts.append(
            TableOutcome(table=name, rows=batch.rows.height, outcomes=tuple(outcomes[n] for n in range(len(expected))))
        )
    return verdicts


def validate_tables(settings: Settings) -> list[TableOutcome]:
    """Judge every table over all its partitions and write ``quality/index.html``.

    A table whose files and suite are those of the last time keeps its outcome.

    Raises:
        TableError: a file is damaged or of another contract.
    """
    now = _inputs(settings)
    kept = {name: _read_kept(_kept_path(settings, name)) for name in TABLES}
    known = {name: k.outcome for name, k in kept.items() if k is not None and k.inputs == now[name]}
    if stale := [name for name in TABLES if name not in known]:
        for outcome in validate({name: _read_batch(settings, name) for name in stale}):
            known[outcome.table] = outcome
            content = _Kept(inputs=now[outcome.table], outcome=outcome)
            replace_file(_kept_path(settings, outcome.table), content.model_dump_json(indent=1).encode())
    verdicts = [known[name] for name in TABLES]
    _write_page(settings, verdicts)
    return verdicts


def _inputs(settings: Settings) -> dict[str, str]:
    """Hash of each table's suite and of its files: by content, as a changed file may have the size and time of the
    one that was written."""
    made_by = [VERSION, version("great_expectations")]
    return {
        name: digest(
            [
                *made_by,
                table.contract,
                [e.model_dump() for e in suite_of(table)],
                [str(r.holds) for r in table.rules],
                [(str(p.relative_to(settings.output)), hash_file(p)) for p in table_files(settings.output, name)],
            ]
        )
        for name, table in TABLES.items()
    }


def _kept_path(settings: Settings, name: str) -> Path:
    return settings.output / "work" / "quality" / f"{name}.json"


def _read_kept(path: Path) -> _Kept | None:
    """The outcome that was kept; None if there is none, or none that this version can read."""
    try:
        return _Kept.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _read_batch(settings: Settings, name: str) -> Batch:
    return batch_of(
        TABLES[name],
        (
            (str(path.relative_to(settings.output / "tables")), partition_of(name, path), read_file(name, path))
            for path in table_files(settings.output, name)
        ),
    )


def _write_page(settings: Settings, verdicts: Sequence[TableOutcome]) -> None:
    page = jinja2.Template(
        package_files("itrialspace_assets.catalog").joinpath("quality.html").read_text(encoding="utf-8"),
        autoescape=True,
    )
    findings = read_all(settings.output, "findings").sort(
        "dataset", "severity", "rule", descending=[False, True, False]
    )
    enforced = {v.table: rules_at_write(TABLES[v.table]) for v in verdicts}
    text = page.render(verdicts=verdicts, anatomy=settings.anatomy, findings=findings.to_dicts(), enforced=enforced)
    replace_file(settings.output / "quality" / "index.html", text.encode())
