"""Runs one SELECT over the catalog in a process of its own. Started by ``console``; imports DuckDB alone.

The process may open no file but the catalog, set nothing, and take no more memory than it is given. It reads a question
as JSON from its standard input and writes the answer, or what is wrong, as JSON to its standard output.
"""

import json
import math
import re
import resource
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import duckdb

#: Functions that give a table and read nothing but what they are given.
_TABLE_FUNCTIONS = {"range", "generate_series", "unnest", "duckdb_tables", "duckdb_columns", "duckdb_views"}
#: Functions of a value that tell about the server's machine.
_TELL_TALES = {"current_setting", "getenv", "getvariable"}
#: Relations beside those of the catalog; they hold names alone.
_INFORMATION = {"information_schema.tables", "information_schema.columns"}
#: Characters of one value, and of all (ours: what a page can show).
_CELL, _ALL = 10_000, 20_000_000
#: Whole numbers above it lose digits in JavaScript, so they travel as text.
_WHOLE = 2**53


class Refused(Exception):
    """The statement is not allowed, or wrong."""


def _locked(path: str, memory_mib: int) -> duckdb.DuckDBPyConnection:
    """A connection that knows the catalog and nothing else."""
    db = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    quoted = path.replace("'", "''")
    for command in (
        f"ATTACH '{quoted}' AS catalog (READ_ONLY)",
        "USE catalog",
        "SET temp_directory = ''",
        "SET python_enable_replacements = false",
        f"SET memory_limit = '{memory_mib}MiB'",
        "SET threads = 2",
        "SET enable_external_access = false",
        "SET lock_configuration = true",
    ):
        db.execute(command)
    return db


def _select(db: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    """The one statement of a text, if it only selects from the catalog.

    Raises:
        Refused: it is anything else; says what.
    """
    try:
        statements = db.extract_statements(sql)
    except duckdb.Error as error:
        raise Refused(str(error)) from None
    if len(statements) != 1:
        raise Refused(f"expected one statement, got {len(statements)}")
    kind = statements[0].type
    if kind != duckdb.StatementType.SELECT:
        raise Refused(
            f"expected SELECT (or FROM, WITH, DESCRIBE, SUMMARIZE), got {kind.name}: the catalog is only read"
        )
    (parsed,) = db.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchone() or ("{}",)
    tree = json.loads(parsed)
    if tree.get("error", True):
        raise Refused(str(tree.get("error_message", "the statement cannot be checked")))
    known = {str(name).lower() for (name,) in db.execute("SELECT table_name FROM information_schema.tables").fetchall()}
    nodes = list(_nodes(tree))
    known |= {str(entry["key"]).lower() for n in nodes for entry in (n.get("cte_map") or {}).get("map", [])}
    known |= {str(n["ctename"]).lower() for n in nodes if n.get("ctename")}
    for node in nodes:
        _require_allowed(node, known)
    return statements[0]


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every mapping of a parsed statement."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _require_allowed(node: dict[str, Any], known: set[str]) -> None:
    """Refuse a part of a statement that reads anything but the catalog.

    Args:
        node: of the parsed statement.
        known: relations that may be read, in lower case.

    Raises:
        Refused: it does.
    """
    kind = node.get("type")
    if kind == "TABLE_FUNCTION":
        name = str(node["function"].get("function_name", "")).lower()
        if name not in _TABLE_FUNCTIONS:
            raise Refused(f"{name}(): expected tables and views of the catalog; functions that read are turned off")
    elif kind == "FUNCTION" and str(node.get("function_name", "")).lower() in _TELL_TALES:
        raise Refused(f"{node['function_name']}(): is turned off")
    elif kind in ("BASE_TABLE", "SHOW_REF"):
        path = [str(part).strip('"').lower() for part in node["qualified_name"]["path"]]
        special = kind == "SHOW_REF" and (node.get("query") is not None or path[-1:] in (["tables"], [""]))
        if special or ".".join(path[-2:]) in _INFORMATION:
            return
        if path[:-1] not in ([], ["main"], ["catalog"], ["catalog", "main"]) or path[-1] not in known:
            raise Refused(f"{'.'.join(path)}: the catalog has no such table or view")


def _value(value: Any) -> Any:
    """A value as JSON: text of at most so many characters for what JSON lacks."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= _WHOLE:
        return value
    if isinstance(value, float | Decimal) and math.isfinite(value):
        return float(value)
    text = str(value)
    return text if len(text) <= _CELL else text[:_CELL] + "…"


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Columns, rows, and whether there were more.

    Args:
        question: path, sql, values, limit, memory_mib.
    """
    limit, left = int(question["limit"]), _ALL
    with _locked(question["path"], int(question["memory_mib"])) as db:
        try:
            result = db.execute(_select(db, question["sql"]), question["values"] or None)
            columns = [{"name": str(d[0]), "type": str(d[1])} for d in result.description or []]
            rows: list[list[Any]] = []
            while (row := result.fetchone()) is not None and len(rows) < limit and left > 0:
                rows.append([_value(v) for v in row])
                left -= sum(len(str(v)) for v in rows[-1])
            return {"columns": columns, "rows": rows, "more": row is not None}
        except duckdb.OutOfMemoryException:
            raise MemoryError from None
        except duckdb.Error as error:
            raise Refused(re.sub(r"\s*LINE \d+:.*", "", str(error), flags=re.DOTALL)) from None


def main() -> None:
    """Answer the question on the standard input."""
    question = json.load(sys.stdin)
    space = int(question["space_mib"]) << 20
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        said = answer(question)
    except Refused as error:
        said = {"refused": str(error)}
    except MemoryError:
        said = {"memory": True}
    json.dump(said, sys.stdout, allow_nan=False)


if __name__ == "__main__":
    main()
