"""Reads the tables that planning draws from: once a process, and of each table the columns that planning uses.

All modes that a process plans draw from one candidate pool. Plans nothing and writes nothing.
"""

from functools import lru_cache
from pathlib import Path

import polars as pl

from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.records.store import file_digests, read_all, read_table, table_files
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.trials import declared, fit, pool, published, verify
from itrialspace_assets.trials.pool import CandidatePool

_READS = ("nodules", "scans", "hosts", "host_lobes", "donors")


def _all(*needs: tuple[str, ...]) -> list[str]:
    """The columns that some modules name, each once."""
    return list(dict.fromkeys(column for need in needs for column in need))


_INDEX = _all(
    pool.NODULE_COLUMNS, declared.PLACE_COLUMNS, published.INDEX_COLUMNS, verify.INDEX_COLUMNS, ("has_nodule_mask",)
)


def pool_of(settings: Settings) -> tuple[CandidatePool, pl.DataFrame]:
    """The candidate pool, which every trial draws from, and the index.

    Raises:
        TableError: the stages hosts and index have not run.
    """
    output = settings.output
    return _pool(output, digest(file_digests(output, [f for name in _READS for f in table_files(output, name)])))


def fit_tables(
    output: Path, donor_datasets: pl.Series, host_datasets: pl.Series
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """What ``fit`` reads of a plan's ``donors``, its ``hosts``, and the ``host_lobes`` of those with a clearance map.

    Nothing of it is kept: it is as large as all else that planning reads.

    Args:
        output: the output folder.
        donor_datasets: where the plan's donors are from, shape (n,).
        host_datasets: where its hosts are from, shape (m,).
    """
    donors = _of_datasets(output, "donors", fit.DONOR_COLUMNS, donor_datasets)
    hosts = _of_datasets(output, "hosts", ("dataset", *fit.HOST_COLUMNS), host_datasets)
    known = hosts.filter(pl.col("room_sha256").is_not_null())
    return donors, hosts, _of_datasets(output, "host_lobes", fit.LOBE_COLUMNS, known["dataset"])


def _of_datasets(output: Path, name: str, columns: tuple[str, ...], datasets: pl.Series) -> pl.DataFrame:
    """Some columns of a table, of the datasets that are named in ``datasets``."""
    names = datasets.drop_nulls().unique().sort()
    frames = [read_table(output, name, columns, dataset=dataset) for dataset in names]
    return pl.concat([TABLES[name].empty().select(columns), *frames])


@lru_cache(maxsize=1)
def _pool(output: Path, digests: str) -> tuple[CandidatePool, pl.DataFrame]:
    """The pool of the files with these digests."""
    nodules = read_table(output, "nodules", _INDEX)
    donors, hosts = read_all(output, "donors", pool.DONOR_COLUMNS), read_all(output, "hosts", pool.HOST_COLUMNS)
    if hosts.is_empty() and not nodules["has_nodule_mask"].any():
        scans = read_table(output, "scans", [*pool.HOST_COLUMNS, "has_organ_map"])
        if not scans["has_organ_map"].any():
            return declared.declared_pool(nodules, scans, donors), nodules
    return pool.make_pool(nodules, donors, hosts, read_all(output, "host_lobes", pool.LOBE_COLUMNS)), nodules
