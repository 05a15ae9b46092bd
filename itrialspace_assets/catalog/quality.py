"""Great Expectations over whole tables: suites generated from the registry, and their data docs.

Imports Great Expectations inside the function: the import alone takes seconds.
"""

import html
import json
import os
from dataclasses import dataclass
from typing import Any

from itrialspace_assets.fingerprints import replace_file
from itrialspace_assets.settings import Settings
from itrialspace_assets.store import read_all
from itrialspace_assets.tables import TABLES, Table


@dataclass(frozen=True)
class Verdict:
    """Outcome of one table: expectations that held, and those that did not with sample values."""

    table: str
    rows: int
    expectations: int
    failed: list[str]


def suite_of(table: Table) -> list[tuple[str, dict[str, Any]]]:
    """(expectation type, arguments) for every rule of a table."""
    rules: list[tuple[str, dict[str, Any]]] = [
        ("expect_table_columns_to_match_ordered_list", {"column_list": [c.name for c in table.columns]})
    ]
    for column in table.columns:
        if not column.nullable:
            rules.append(("expect_column_values_to_not_be_null", {"column": column.name}))
        if column.allowed:
            rules.append(
                ("expect_column_values_to_be_in_set", {"column": column.name, "value_set": list(column.allowed)})
            )
        if column.low is not None or column.high is not None:
            rules.append(
                (
                    "expect_column_values_to_be_between",
                    {"column": column.name, "min_value": column.low, "max_value": column.high},
                )
            )
    key = list(dict.fromkeys((*table.partition, *table.key)))  # a key is unique within its partition
    if len(key) > 1:
        rules.append(("expect_compound_columns_to_be_unique", {"column_list": key}))
    else:
        rules.append(("expect_column_values_to_be_unique", {"column": key[0]}))
    return rules


def validate_tables(settings: Settings) -> list[Verdict]:
    """Run every table's suite over all its partitions and write ``quality/index.html``."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("TQDM_DISABLE", "1")
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}  # type: ignore[assignment]
    source = context.data_sources.add_pandas("tables")
    verdicts = []
    for table in TABLES.values():
        frame = read_all(settings.output, table.name).to_pandas()
        batch = source.add_dataframe_asset(table.name).add_batch_definition_whole_dataframe("all")
        suite = gx.ExpectationSuite(name=table.name)
        for kind, arguments in suite_of(table):
            suite.add_expectation(
                getattr(gx.expectations, "".join(p.capitalize() for p in kind.split("_")))(**arguments)
            )
        found = batch.get_batch({"dataframe": frame}).validate(suite, result_format="SUMMARY")
        failed = [
            f"{r.expectation_config.type} {json.dumps({k: v for k, v in r.expectation_config.kwargs.items() if k != 'batch_id'}, default=str)[:160]}: "  # type: ignore[union-attr]
            f"{str((r.exception_info or {}).get('exception_message') or r.result.get('partial_unexpected_list'))[:160]}"
            for r in found.results if not r.success
        ]  # fmt: skip
        verdicts.append(Verdict(table.name, len(frame), len(found.results), failed))
    replace_file(settings.output / "quality" / "index.html", _page(settings, verdicts).encode())
    return verdicts


def _page(settings: Settings, verdicts: list[Verdict]) -> str:
    rows = "".join(
        f"<tr><td>{v.table}</td><td>{v.rows}</td><td>{v.expectations}</td><td>{'all held' if not v.failed else '<br>'.join(html.escape(f) for f in v.failed)}</td></tr>"
        for v in verdicts
    )
    return (
        "<!doctype html><meta charset=utf-8><title>Data quality</title><style>body{font:15px system-ui;margin:2rem}td,th{padding:.3rem .8rem;"
        "border-bottom:1px solid #ddd;text-align:left}</style><h1>Data quality</h1>"
        f"<p>Anatomy: {settings.anatomy}. Suites are generated from the table registry.</p><table><tr><th>table<th>rows<th>expectations<th>outcome</tr>{rows}</table>"
    )
