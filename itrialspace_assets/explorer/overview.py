"""What a data root is, in one answer: name, counts, datasets, tables, and what it must say about itself."""

import polars as pl

from itrialspace_assets import __version__
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.base.yaml_files import read_yaml
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.readers import mock
from itrialspace_assets.readers.registry import entries_of, own_readers
from itrialspace_assets.records.store import read_table, table_files, table_path
from itrialspace_assets.records.tables import TABLES


class DatasetCount(StrictModel):
    """A dataset and what of it is in the index; zeros where nothing is."""

    name: str
    population: str
    label_source: str
    licence: str
    nodules: int
    scans: int


class Overview(StrictModel):
    """A data root.

    Attributes:
        name: of its folder.
        version: of this platform.
        anatomy: real or procedural.
        marks: sentences that every view must show: what here is procedural, synthetic or simulated.
        nodules: in the index.
        scans: in the index.
        persons: in the index.
        datasets: registered ones.
        tables: names of the tables that have been made.
    """

    name: str
    version: str
    anatomy: str
    marks: tuple[str, ...]
    nodules: int
    scans: int
    persons: int
    datasets: tuple[DatasetCount, ...]
    tables: tuple[str, ...]


def overview(settings: Settings) -> Overview:
    """What a data root is; counts are 0 before the index is made."""
    scans = pl.DataFrame(schema=TABLES["scans"].schema)
    if table_path(settings.output, "scans").exists():
        scans = read_table(settings.output, "scans", ["scan_uid", "dataset", "person_uid", "n_nodules"])
    by_dataset = {
        name: (nodules, n)
        for name, nodules, n in scans.group_by("dataset").agg(pl.col("n_nodules").sum(), pl.len()).iter_rows()
    }
    return Overview(
        name=settings.data.parent.name if settings.data.name == "data" else settings.data.name,
        version=__version__,
        anatomy=settings.anatomy,
        marks=marks(settings),
        nodules=int(scans["n_nodules"].sum()),
        scans=scans.height,
        persons=scans["person_uid"].n_unique(),
        datasets=tuple(
            DatasetCount(
                name=name,
                population=entry.population,
                label_source=entry.label_source,
                licence=entry.licence,
                nodules=by_dataset.get(name, (0, 0))[0],
                scans=by_dataset.get(name, (0, 0))[1],
            )
            for name, entry in datasets(settings).items()
        ),
        tables=tuple(name for name in TABLES if table_files(settings.output, name)),
    )


def marks(settings: Settings) -> tuple[str, ...]:
    """Sentences that say what here shows or comes from no person; empty where all is real."""
    found = []
    procedural = settings.anatomy == "procedural"
    if procedural:
        found.append("Procedural anatomy: drawn by a program, it shows no person. Results here are no evidence.")
    if table_files(settings.output, "cts"):
        found.append("Synthetic CTs: made by a renderer, not by a scanner.")
    own = own_readers(settings) if procedural else None
    came_with_it = set(read_yaml(own)["readers"]) if own else set()
    simulated = [
        e.name
        for e in entries_of(settings).values()
        if e.enabled and (e.kind == mock.KIND.name or e.name in came_with_it)
    ]
    if simulated:
        found.append(f"Simulated answers, made by a program and given by nobody: {', '.join(simulated)}.")
    return tuple(found)
