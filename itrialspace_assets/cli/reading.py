"""``its evaluate``, ``its rescore`` and ``its ledger``: parses, calls, prints."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itrialspace_assets.cli.options import Folder, Workers, load

if TYPE_CHECKING:
    from itrialspace_assets.base.settings import Settings
    from itrialspace_assets.orchestration.nodes import Key
    from itrialspace_assets.readers.ledger import Ledger

ledger_app = typer.Typer(no_args_is_help=True, help="Check and compact what readers returned.")

Readers = Annotated[str | None, typer.Option("--reader", help="Readers, separated by commas. Default: all enabled.")]
Sources = Annotated[
    str | None, typer.Option("--source", help="Image sources, separated by commas: real, tissue. Default: all.")
]
Modes = Annotated[str | None, typer.Option(help="Mode numbers, ranges or keys. Default: all that have slices.")]
Datasets = Annotated[str | None, typer.Option(help="Host datasets, separated by commas. Default: all.")]


def evaluate(
    readers: Readers = None,
    sources: Sources = None,
    modes: Modes = None,
    datasets: Datasets = None,
    split: Annotated[str | None, typer.Option(help="Read the slices of this frozen split only.")] = None,
    case_ids: Annotated[
        Path | None,
        typer.Option("--case-ids", help="File of case_uids, slice_uids or published ids, one a line: read these only."),
    ] = None,
    max_cases: Annotated[
        int | None, typer.Option("--max-cases", help="Read at most this many cases of each mode and dataset.", min=1)
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Requests given at once. Default: 64.", min=1)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the estimate only.")] = False,
    workers: Workers = None,
    folder: Folder = None,
) -> None:
    """Let readers read the slices that are cut, after an estimate of requests and time.

    What was asked before, for whichever mode, is not asked again. A reader of which nothing is known yet is asked a few
    requests for the estimate. With `--split`, `--case-ids` or `--max-cases` the tables hold these slices only, until
    `its run` reads the others. Progress is printed to the error stream.

    Example: `its evaluate --reader blob --source tissue --max-cases 5 --dry-run`

    Result: tables of answers in the output folder; with `--dry-run` only the estimate on the screen.
    """
    from itrialspace_assets import drive
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.base.settings import require_data_root

    if split and case_ids:
        raise ConfigError("--split and --case-ids: give one of them")
    given = {"workers": workers, "batch": batch, "max_cases": max_cases, "split": split}
    settings = load(folder, **given, case_ids=case_ids and case_ids.absolute())
    require_data_root(settings)
    if split:
        settings = load(folder, **given, case_ids=_ids(settings))
    choice = drive.choose(settings, modes, datasets, "read", None)
    found = drive.partitions_with(settings, choice, "slices", *_named(settings, readers, sources))
    if not found:
        raise ConfigError(
            f"expected a reader of {sources or 'an image source'} among {readers or 'those enabled'}, got none; "
            "the key sources of an entry of readers.yaml says what it reads"
        )
    if not any(found.values()):
        raise ConfigError(
            f"{settings.output}: expected slices of these modes and datasets, found none; cut them with "
            "`its run --to slice`"
        )
    unknown = _unknown_ids(settings, settings.case_ids) if settings.case_ids is not None and not split else []
    _print_estimates(settings, found)
    if dry_run:
        typer.echo("No table was written (--dry-run)")
        if unknown:
            raise typer.Exit(1)
        return
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("itrialspace.read").setLevel(logging.INFO)
    if drive.drive_nodes(settings, choice, found) or unknown:
        raise typer.Exit(1)


def rescore(
    readers: Readers = None,
    sources: Sources = None,
    modes: Modes = None,
    datasets: Datasets = None,
    folder: Folder = None,
) -> None:
    """Make the answers again from what readers returned, with the scorer of `readers.yaml`. No reader is asked.

    Only partitions whose scorer, or anything else that they depend on, has changed are made again.

    Example: `its rescore --reader blob`

    Result: the table `answers` in the output folder.
    """
    from itrialspace_assets import drive
    from itrialspace_assets.base.settings import require_data_root

    settings = load(folder, ask=False)
    require_data_root(settings)
    choice = drive.choose(settings, modes, datasets, "read", None)
    found = drive.partitions_with(settings, choice, "generations", *_named(settings, readers, sources))
    if drive.drive_nodes(settings, choice, found):
        raise typer.Exit(1)


def _named(settings: "Settings", readers: str | None, sources: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of readers and sources that options give; all where one is not given."""
    from itrialspace_assets.readers.registry import readers as enabled_readers
    from itrialspace_assets.records.layout import REAL
    from itrialspace_assets.synthesis.renderers import enabled

    known_readers = tuple(enabled_readers(settings))
    hint = "; enable others in the file of ITRIALSPACE_READERS_CONFIG"
    return (
        _chosen("--reader", readers, known_readers, hint),
        _chosen("--source", sources, (REAL, *(r.name for r in enabled(settings))), ""),
    )


def _chosen(option: str, text: str | None, known: Sequence[str], hint: str) -> tuple[str, ...]:
    from itrialspace_assets.base.errors import ConfigError

    names = tuple(name.strip() for name in (text or "").split(",") if name.strip()) or tuple(known)
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"{option}: expected names out of {', '.join(known)}, got {', '.join(unknown)}{hint}")
    return names


def _ids(settings: "Settings") -> Path:
    """A file with the slices of every list of the split."""
    from itrialspace_assets.analysis.frozen import locks, read_list
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.base.fingerprints import replace_file

    lists = locks(settings, settings.split)
    if not lists:
        raise ConfigError(f"--split {settings.split}: expected frozen lists, found none; `its splits list` shows them")
    uids = {uid for key in lists for uid in read_list(settings, key)["slice_uid"]}
    path: Path = settings.output / "work" / "evaluate" / f"{settings.split}.txt"
    replace_file(path, "".join(f"{uid}\n" for uid in sorted(uids)).encode())
    return path


def _unknown_ids(settings: "Settings", path: Path) -> list[str]:
    """Ids of a file that name no slice that is cut, told: the tables would be written without a word about them.

    Args:
        settings: where the slices lie.
        path: of the file.

    Raises:
        ConfigError: none of them names a slice, or the file holds no id or cannot be read.
    """
    from itrialspace_assets.analysis.splits import named_by
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.readers.questions import ids_in
    from itrialspace_assets.records.store import read_all
    from itrialspace_assets.records.tables import TABLES

    ids = ids_in(path)
    named, unknown = named_by(ids, read_all(settings.output, "slices", columns=[*TABLES["slices"].key, "published_id"]))
    said = f"{len(unknown)} of {len(ids)} ids name no slice that is cut, first: {', '.join(unknown[:10])}"
    if named.is_empty():
        raise ConfigError(f"--case-ids {path}: expected case_uids, slice_uids or published ids of slices, got {said}")
    if unknown:
        typer.echo(said, err=True)
    return unknown


def _print_estimates(settings: "Settings", found: "Mapping[Key, list[dict[str, str]]]") -> None:
    from itrialspace_assets.readers.compute import at_once
    from itrialspace_assets.readers.estimate import estimate_reading
    from itrialspace_assets.readers.registry import readers

    for (source, _, name), partitions in found.items():
        if not partitions:
            continue
        reader = readers(settings)[name]
        about = estimate_reading(settings, source, reader, partitions)
        workers = at_once(settings, reader.device)
        seconds = about.seconds(workers)
        takes = (
            ""
            if seconds is None or not about.left
            else (f", about {seconds:.0f} s with {workers} at once ({(about.each or 0) * 1000:.3g} ms each)")
        )
        scans = f", {about.scans} scans to mark" if about.scans else ""
        typer.echo(
            f"{source}/{name} (trained on {reader.trained_on}): {about.requests} requests of {len(partitions)} "
            f"partitions, {about.left} left{takes}{scans}"
        )


@ledger_app.command("verify")
def verify(readers: Readers = None, folder: Folder = None) -> None:
    """Check the ledger: damaged or missing files, and requests that were answered in two ways. Changes nothing.

    Example: `its ledger verify`

    Result: a table on the screen; the exit code is 1 if something is wrong.
    """
    import polars as pl

    from itrialspace_assets.cli.show import show

    rows, problems = [], []
    for name, revision, ledger in _ledgers(load(folder), readers):
        found = ledger.verify()
        files = len(ledger.shards()) + len(ledger.tails())
        rows.append((name, revision, len(ledger.keys()) if not found else None, files, len(found)))
        problems += [(name, revision, p.file, p.what) for p in found]
    show(pl.DataFrame(rows, schema=["reader", "revision", "answers", "files", "problems"], orient="row"), "Ledger")
    if problems:
        show(pl.DataFrame(problems, schema=["reader", "revision", "file", "problem"], orient="row"), "Problems")
        raise typer.Exit(1)


@ledger_app.command("compact")
def compact(readers: Readers = None, folder: Folder = None) -> None:
    """Gather small files of the ledger: at most one file for 10,000 answers is left. Loses no answer.

    Example: `its ledger compact`

    Result: fewer files in the folder `ledger` of the output folder.
    """
    for name, revision, ledger in _ledgers(load(folder), readers):
        before, after = ledger.compact()
        typer.echo(f"{name}/{revision}: {before} files before, {after} after")


def _ledgers(settings: "Settings", names: str | None) -> "list[tuple[str, str, Ledger]]":
    """(reader, revision, ledger) of the readers that are named, or of all.

    Raises:
        ConfigError: nothing was ever asked, or not of a reader that is named; lists those that were asked.
    """
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.readers.ledger import ledgers

    found = list(ledgers(settings))
    if not found:
        raise ConfigError(f"{settings.output}: expected a ledger, found none; ask a reader with `its evaluate`")
    chosen = _chosen("--reader", names, sorted({name for name, _, _ in found}), "; nothing was asked of others yet")
    return [one for one in found if one[0] in chosen]
