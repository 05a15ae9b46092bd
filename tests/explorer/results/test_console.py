"""The SQL console: nothing but the catalog can be read, nothing changed, and no statement outlives its limits."""

import time
from pathlib import Path

import duckdb
import pytest

from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.base.fingerprints import hash_file
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.catalog.rebuild import NAME
from itrialspace_assets.explorer.results.console import ask
from itrialspace_assets.explorer.results.sandbox import Refused, answer

SECRET = "a secret of this machine"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A catalog of one table and one view, beside a file that nobody may read."""
    folder = tmp_path_factory.mktemp("console")
    (folder / "secret.csv").write_text(f"a\n{SECRET}\n")
    with duckdb.connect(str(folder / NAME)) as db:
        db.execute("CREATE TABLE cases AS SELECT range AS n, range * 0.5 AS half FROM range(20)")
        db.execute("CREATE VIEW big AS SELECT * FROM cases WHERE n > 9")
    return load_settings(data_dir=folder, output_dir=folder)


def said(root: Settings, sql: str, values: dict[str, str] | None = None, limit: int = 100) -> dict[str, object]:
    """The answer of the sandbox in this process: the same checks without the start of another one."""
    path = str(root.output / NAME)
    return answer({"path": path, "sql": sql, "values": values or {}, "limit": limit, "memory_mib": 64})


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT count(*) FROM cases", [[20]]),
        ("FROM big ORDER BY n LIMIT 1", [[10, 5.0]]),
        ("WITH x AS (SELECT max(n) AS m FROM catalog.main.cases) SELECT m FROM x", [[19]]),
        ("WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x WHERE n < 3) SELECT sum(n) FROM x", [[6]]),
        ("SELECT n FROM cases WHERE n = $wanted::BIGINT", [[7]]),
        ("SELECT 9007199254740993, 'nan'::DOUBLE, NULL", [["9007199254740993", "nan", None]]),
        ("SELECT count(*) FROM (SUMMARIZE cases)", [[2]]),
        ("SELECT table_name FROM information_schema.tables ORDER BY 1", [["big"], ["cases"]]),
    ],
)
def test_selects_are_answered(root: Settings, sql: str, rows: list[list[object]]) -> None:
    assert said(root, sql, {"wanted": "7"} if "$" in sql else None)["rows"] == rows


def test_rows_end_at_the_limit_and_the_answer_says_so(root: Settings) -> None:
    assert (len(said(root, "FROM cases", limit=20)["rows"]), said(root, "FROM cases", limit=20)["more"]) == (20, False)  # type: ignore[arg-type]
    assert (len(said(root, "FROM cases", limit=19)["rows"]), said(root, "FROM cases", limit=19)["more"]) == (19, True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('{secret}')",
        "SELECT * FROM read_text('{secret}')",
        "SELECT * FROM read_blob('{secret}')",
        "SELECT * FROM read_parquet('{secret}')",
        "SELECT * FROM read_json('{secret}')",
        "SELECT * FROM sniff_csv('{secret}')",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM '{secret}'",
        'SELECT * FROM "{secret}"',
        "SELECT (SELECT content FROM read_text('{secret}'))",
        "WITH x AS (FROM read_text('{secret}')) FROM x",
        "SELECT * FROM query('FROM read_text(''{secret}'')')",
        "SELECT * FROM query_table('duckdb_databases')",
        "SELECT getenv('HOME')",
        "SELECT current_setting('secret_directory')",
        "SELECT * FROM duckdb_settings()",
        "SELECT path FROM duckdb_databases()",
        "SELECT path FROM duckdb_databases",
        "SELECT * FROM pg_catalog.pg_settings",
        "SELECT * FROM pragma_database_list",
        "PRAGMA database_list",
        "SHOW DATABASES",
        "SELECT * FROM duckdb_secrets()",
        "ATTACH '{folder}/{name}' AS other",
        "ATTACH '{folder}/new.duckdb'",
        "COPY cases TO '{folder}/out.csv'",
        "COPY cases FROM '{secret}'",
        "EXPORT DATABASE '{folder}/export'",
        "IMPORT DATABASE '{folder}/export'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET memory_limit = '1TB'",
        "RESET memory_limit",
        "CREATE TABLE x AS SELECT 1",
        "CREATE TEMP TABLE x AS SELECT 1",
        "INSERT INTO cases SELECT 1, 1",
        "UPDATE cases SET n = 0",
        "DELETE FROM cases",
        "DROP TABLE cases",
        "CALL pragma_version()",
        "CHECKPOINT",
        "SELECT 1; DROP TABLE cases",
        "SELECT 1; SELECT 2",
        "-- nothing",
        "SELECT nothing_like_this FROM cases",
        "FROM secret_frame",
        "EXPLAIN ANALYZE SELECT * FROM read_text('{secret}')",
    ],
)
def test_everything_else_is_refused(root: Settings, sql: str) -> None:
    secret_frame = [1]  # DuckDB would look names up in the frames of its caller
    before = (hash_file(root.output / NAME), sorted(p.name for p in root.output.iterdir()))
    with pytest.raises(Refused) as refused:
        said(root, sql.format(secret=root.output / "secret.csv", folder=root.output, name=NAME))
    assert SECRET not in str(refused.value) and secret_frame
    assert before == (hash_file(root.output / NAME), sorted(p.name for p in root.output.iterdir()))


def test_the_connection_itself_is_locked(root: Settings) -> None:
    """The checks of the parsed form are one wall; this is the one behind it."""
    from itrialspace_assets.explorer.results.sandbox import _locked

    with _locked(str(root.output / NAME), 64) as db:
        for sql in (
            f"SELECT * FROM read_text('{root.output / 'secret.csv'}')",
            f"COPY cases TO '{root.output / 'out.csv'}'",
            f"ATTACH '{root.output / 'new.duckdb'}' AS other",
            "SET enable_external_access = true",
            "SET threads = 8",
            "INSERT INTO cases SELECT 1, 1",
        ):
            with pytest.raises(duckdb.Error):
                db.execute(sql)


@pytest.mark.slow
def test_a_statement_ends_at_its_limits_of_time_and_memory(root: Settings) -> None:
    begun = time.monotonic()
    with pytest.raises(ConfigError, match="within 3 s"):
        ask(root, "SELECT count(*) FROM range(1000000000000) a, range(1000000) b", {}, 5, 3)
    assert time.monotonic() - begun < 6
    for sql in ("SELECT repeat('x', 2000000000)", "SELECT list(range) FROM range(1000000000)"):
        with pytest.raises(ConfigError, match="MiB of memory"):
            ask(root, sql, {}, 5)
    assert ask(root, "SELECT 1.50 AS a", {}, 5).rows == ((1.5,),)


def test_refusals_name_no_path(root: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        ask(root, "SELECT * FROM nothing", {}, 5)
    assert str(root.output) not in str(error.value) and "nothing" in str(error.value)
    with pytest.raises(TableError, match="its run --only catalog"):
        ask(load_settings(data_dir=tmp_path, output_dir=tmp_path), "SELECT 1", {}, 5)
