"""Great Expectations over whole tables: suites generated from the registry, and their data docs.

Imports Great Expectations inside the function: the import alone takes seconds. The page is our own,
because Great Expectations' data docs load style sheets from the network and hold times.
"""

import os
from dataclasses import dataclass, field
from importlib.resources import files as package_files
from typing import Any

import jinja2
import polars as pl

from itrialspace_assets.base.fingerprints import replace_file
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.records.schema import Table
from itrialspace_assets.records.store import read_all
from itrialspace_assets.records.tables import TABLES

#: Column of the frame that Great Expectations sees, for a rule over several columns.
_RULE = "rule: {}"


@dataclass(frozen=True)
class Expectation:
    """What is expected of a table, in Great Expectations' words."""

    kind: str
    arguments: dict[str, Any]
    severity: str = "error"

    def __str__(self) -> str:
        column = self.arguments.get("column") or ", ".join(self.arguments.get("column_list", ()))
        rest = {k: v for k, v in self.arguments.items() if k not in ("column", "column_list")}
        told = ", ".join(f"{k} {v}" for k, v in rest.items() if v is not None)
        if str(column).startswith("rule: "):
            return str(column).removeprefix("rule: ")
        return f"{column}: {self.kind.removeprefix('expect_').replace('_', ' ')}{f' ({told})' if told else ''}"


@dataclass(frozen=True)
class ExpectationOutcome:
    """One expectation as it came out: how many rows break it, and the keys of the first."""

    expectation: Expectation
    held: bool
    unexpected: int
    sample: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableOutcome:
    """ExpectationOutcome of one table."""

    table: str
    rows: int
    outcomes: list[ExpectationOutcome] = field(default_factory=list)

    def failed(self, severity: str) -> list[ExpectationOutcome]:
        return [o for o in self.outcomes if not o.held and o.expectation.severity == severity]


def suite_of(table: Table) -> list[Expectation]:
    """An expectation for every rule of a table: columns, nulls, allowed values, ranges, keys, rules over columns."""
    names = [c.name for c in table.columns] + [_RULE.format(r.name) for r in table.rules]
    suite = [Expectation("expect_table_columns_to_match_ordered_list", {"column_list": names})]
    for column in table.columns:
        if not column.nullable:
            suite.append(Expectation("expect_column_values_to_not_be_null", {"column": column.name}))
        if column.allowed:
            suite.append(
                Expectation(
                    "expect_column_values_to_be_in_set", {"column": column.name, "value_set": list(column.allowed)}
                )
            )
        if column.low is not None or column.high is not None:
            bounds = {"column": column.name, "min_value": column.low, "max_value": column.high}
            suite.append(Expectation("expect_column_values_to_be_between", bounds))
    for rule in table.rules:
        truth = {"column": _RULE.format(rule.name), "value_set": [True]}
        suite.append(Expectation("expect_column_values_to_be_in_set", truth, rule.severity))
    key = list(dict.fromkeys((*table.partition, *table.key)))  # a key is unique within its partition
    if len(key) > 1:
        suite.append(Expectation("expect_compound_columns_to_be_unique", {"column_list": key}))
    else:
        suite.append(Expectation("expect_column_values_to_be_unique", {"column": key[0]}))
    return suite


def validate_frames(frames: dict[str, pl.DataFrame]) -> list[TableOutcome]:
    """Run the suite of each table (by name) over a frame of it."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("TQDM_DISABLE", "1")
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}  # type: ignore[assignment]
    source = context.data_sources.add_pandas("tables")
    severity = {"error": "critical", "warning": "warning"}
    verdicts = []
    for name, frame in frames.items():
        table = TABLES[name]
        seen = frame.with_columns(r.holds.alias(_RULE.format(r.name)) for r in table.rules)
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
        suite = gx.ExpectationSuite(name=name)
        expected = suite_of(table)
        for number, e in enumerate(expected):
            kind = getattr(gx.expectations, "".join(p.capitalize() for p in e.kind.split("_")))
            suite.add_expectation(kind(**e.arguments, severity=severity[e.severity], meta={"number": number}))
        wanted = {
            "result_format": "SUMMARY",
            "unexpected_index_column_names": list(table.key),
            "partial_unexpected_count": 5,
        }
        found = batch.get_batch({"dataframe": seen.to_pandas()}).validate(suite, result_format=wanted)
        outcomes = []
        for result in found.results:
            at = expected[result.expectation_config.meta["number"]]  # type: ignore[union-attr]
            shown = result.result.get("partial_unexpected_index_list") or []
            sample = tuple("/".join(str(row[k]) for k in table.key if k in row) for row in shown[:5])
            trouble = (result.exception_info or {}).get("exception_message")
            sample = (str(trouble)[:200],) if trouble else sample
            outcomes.append(
                ExpectationOutcome(at, bool(result.success), int(result.result.get("unexpected_count") or 0), sample)
            )
        verdicts.append(TableOutcome(name, frame.height, sorted(outcomes, key=lambda o: expected.index(o.expectation))))
    return verdicts


def validate_tables(settings: Settings) -> list[TableOutcome]:
    """Run every table's suite over all its partitions and write ``quality/index.html``."""
    verdicts = validate_frames({name: read_all(settings.output, name) for name in TABLES})
    page = jinja2.Template(
        package_files("itrialspace_assets.catalog").joinpath("quality.html").read_text(encoding="utf-8"),
        autoescape=True,
    )
    findings = read_all(settings.output, "findings").sort(
        "dataset", "severity", "rule", descending=[False, True, False]
    )
    text = page.render(verdicts=verdicts, anatomy=settings.anatomy, findings=findings.to_dicts())
    replace_file(settings.output / "quality" / "index.html", text.encode())
    return verdicts
