"""The catalog's file: what it loads, which DuckDB opens it, and what a damaged part says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from itrialspace_assets.base.errors import CatalogBusy, TableError
from itrialspace_assets.base.settings import PROCEDURAL_MARK, Settings, load_settings
from itrialspace_assets.catalog.rebuild import LOADED, NAME, STORAGE_VERSION, build, connect, contents, views
from itrialspace_assets.records.store import table_path, write_table
from itrialspace_assets.records.tables import TABLES

#: Path of a Python that has DuckDB 1.4; without it the test with an older client is skipped. Read here, because
#: tests run without any variable of the platform.
OLD_CLIENT = os.environ.get("OLD_DUCKDB_PYTHON")
_ASK = """
import duckdb, sys
db = duckdb.connect(sys.argv[1], read_only=True)
names = [r[0] for r in db.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY 1").fetchall()]
for name in names:
    db.execute(f'SELECT * FROM "{name}"').fetchall()
print(duckdb.__version__, db.execute("SELECT count(*) FROM reviews").fetchone()[0], *names)
"""


@pytest.fixture
def built(tmp_path: Path) -> Settings:
    """A catalog of one review, beside a data root."""
    (tmp_path / "data" / "profiles").mkdir(parents=True)
    (tmp_path / "data" / PROCEDURAL_MARK).write_text(json.dumps({"anatomy": "procedural"}))
    review = {"case_uid": "a/b/00000", "reviewer": "me", "verdict": "accept", "reason": None, "number": 1}
    write_table(tmp_path / "out", "reviews", [review])
    settings = load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out")
    build(settings, {})
    return settings


def test_the_file_is_written_for_older_clients(built: Settings, tmp_path: Path) -> None:
    copy = tmp_path / "another_name.duckdb"
    copy.write_bytes((built.output / NAME).read_bytes())
    with duckdb.connect(str(copy), read_only=True) as db:
        (version,) = db.execute(
            "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = 'another_name'"
        ).fetchone()  # type: ignore[misc]
        assert db.execute("SELECT count(*) FROM reviews").fetchone() == (1,)
        for name in views():
            db.execute(f'SELECT * FROM "{name}"').fetchall()
    assert version.removesuffix("+") == STORAGE_VERSION == "v1.4.0"


@pytest.mark.skipif(
    not OLD_CLIENT, reason="OLD_DUCKDB_PYTHON: expected the path of a Python with duckdb 1.4, found none"
)
def test_an_older_client_opens_it(built: Settings) -> None:
    assert OLD_CLIENT
    run = subprocess.run(
        [OLD_CLIENT, "-c", _ASK, str(built.output / NAME)], capture_output=True, text=True, env={}, check=False
    )
    assert run.returncode == 0, run.stderr
    version, rows, *names = run.stdout.split()
    assert version.startswith("1.4.")
    assert (rows, names) == ("1", sorted(views()))


def test_every_table_is_loaded_with_its_columns(built: Settings) -> None:
    assert set(LOADED) == set(TABLES)
    assert set(contents(built)) == set(LOADED)
    with connect(built) as db:
        for name in LOADED:
            found = db.execute(
                "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index", [name]
            ).fetchall()
            assert [c for c, _ in found] == list(TABLES[name].schema)
            assert all(comment for _, comment in found)


def test_a_damaged_part_is_named_and_the_old_catalog_stays(built: Settings) -> None:
    before = contents(built)
    path = table_path(built.output, "reviews")
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    with pytest.raises(TableError, match=r"reviews: part\.parquet in reviews is damaged"):
        build(built, {})
    middle = bytearray(whole)
    middle[8:40] = bytes(32)
    path.write_bytes(bytes(middle))
    with pytest.raises(TableError, match="reviews"):
        build(built, {})
    assert contents(built) == before
    assert not list(built.output.glob(f".{NAME}.*"))


def test_a_folder_with_brackets_is_not_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "data" / "profiles").mkdir(parents=True)
    for name in ("study1", "study[1]"):
        review = {"case_uid": "a/b/00000", "reviewer": name, "verdict": "accept", "reason": None, "number": 1}
        write_table(tmp_path / name, "reviews", [review])
    settings = load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "study[1]")
    build(settings, {})
    with connect(settings) as db:
        assert db.execute("SELECT reviewer FROM reviews").fetchall() == [("study[1]",)]


def test_a_catalog_that_another_program_holds_is_locked_not_damaged(built: Settings) -> None:
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(built.output / NAME)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(CatalogBusy, match=rf"holds it open for writing, got: .*{other.pid}.*Close"):
            connect(built)
        other.communicate()
    connect(built).close()
