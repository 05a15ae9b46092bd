"""Planning reads of each table the columns that it names, and of a plan's hosts those with a clearance map."""

import json
from pathlib import Path

import polars as pl
import pytest

from itrialspace_assets.base.errors import TableError
from itrialspace_assets.base.fingerprints import replace_parts
from itrialspace_assets.records.store import read_all, read_table, table_path
from itrialspace_assets.trials import fit, pool
from itrialspace_assets.trials.published import _csv, _json
from itrialspace_assets.trials.sources import fit_tables, pool_of

from .conftest import Paper


def test_the_pool_holds_what_the_whole_tables_give(paper: Paper) -> None:
    whole = pool.make_pool(
        read_table(paper.settings.output, "nodules"),
        *(read_all(paper.settings.output, name) for name in ("donors", "hosts", "host_lobes")),
    )
    made, index = pool_of(paper.settings)
    assert made.donors.equals(whole.donors)
    assert made.hosts.equals(whole.hosts)
    assert (made.lobe_clearance == whole.lobe_clearance).all()
    assert index.equals(paper.index.select(index.columns))
    assert set(index.columns) < set(paper.index.columns), "not the whole"


def test_no_lobe_is_read_of_hosts_without_a_clearance_map(paper: Paper) -> None:
    datasets = pl.Series(["LUNGx", "LUNGx"])
    donors, hosts, lobes = fit_tables(paper.settings.output, datasets, datasets)
    assert hosts.height == read_table(paper.settings.output, "hosts", dataset="LUNGx").height
    assert hosts["room_sha256"].is_null().all()
    assert donors.columns == list(fit.DONOR_COLUMNS)
    assert set(donors["nodule_uid"].str.split("/").list.first()) == {"LUNGx"}
    assert lobes.is_empty()
    assert lobes.columns == list(fit.LOBE_COLUMNS)


def test_a_manifest_written_in_parts_is_that_of_the_whole_frame() -> None:
    rows = pl.DataFrame({"a": range(600), "b": [None, 'x,\n"y'] * 300})
    assert b"".join(_csv(rows)) == rows.write_csv().encode()
    head = {"n": 600}
    whole = b"".join(_json(head, rows))
    assert json.loads(whole) == {"n": 600, "cases": rows.to_dicts()}
    assert whole == json.dumps(head)[:-1].encode() + b', "cases": ' + rows.write_json().encode() + b"}"


def test_a_table_in_a_folder_with_odd_characters_is_read(paper: Paper, tmp_path: Path) -> None:
    root = tmp_path / "a[1]*?%20~"
    source = table_path(paper.settings.output, "nodules")
    target = table_path(root, "nodules")
    sha = replace_parts(target, [source.read_bytes()[:100], source.read_bytes()[100:]])
    assert len(sha) == 64
    assert target.read_bytes() == source.read_bytes()
    assert read_table(root, "nodules", ["label", "nodule_uid"]).equals(paper.index.select("label", "nodule_uid"))
    target.write_bytes(source.read_bytes()[:-400])
    with pytest.raises(TableError, match=r"part\.parquet in nodules is damaged"):
        read_table(root, "nodules")
