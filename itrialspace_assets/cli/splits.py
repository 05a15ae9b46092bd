"""``its splits``: freeze, verify, import, list. Parses, calls ``analysis.splits``, prints."""

from pathlib import Path
from typing import Annotated, Any

import typer

from itrialspace_assets.cli.options import Folder, load

app = typer.Typer(no_args_is_help=True, help="Freeze and verify the lists of slices that reports score.")

Name = Annotated[str, typer.Argument(help="Name of the split, for example demo_v2.")]
Split = Annotated[str | None, typer.Argument(help="Name of the split. Default: ITRIALSPACE_SPLIT.")]
Source = Annotated[str | None, typer.Option(help="Image source: real or a renderer. Default: all.")]


@app.command("list")
def list_splits(folder: Folder = None) -> None:
    """List the frozen lists of every split: slices, rule, hash and when they were frozen.

    Example: `its splits list --dir .demo`

    Result: a table on the screen; nothing is written.
    """
    import polars as pl

    from itrialspace_assets.analysis.frozen import locks
    from itrialspace_assets.cli.show import show

    settings = load(folder)
    names = sorted(p.parent.name for p in (settings.output / "splits").glob("*/lock.json"))
    rows = [
        {
            "split": key.split,
            "source": key.source,
            "list": key.name,
            "slices": lock.n,
            "rule": lock.rule,
            "SHA-256": lock.list_sha256[:12],
            "frozen": lock.created_at,
            "description": lock.description,
        }
        for name in names
        for key, lock in locks(settings, name).items()
    ]
    if rows:
        show(pl.DataFrame(rows), "Frozen lists", 200)
    else:
        typer.echo("Nothing is frozen yet; freeze with `its splits freeze NAME`")


@app.command()
def freeze(
    name: Name,
    rule: Annotated[
        str,
        typer.Option(
            help="Slices that are chosen: all; release_v1 (every enabled reader answered them, plain pictures); "
            "release_v1_full (under all four conditions)."
        ),
    ] = "all",
    case_ids: Annotated[
        Path | None,
        typer.Option("--case-ids", help="Text file of ids, one a line: slice_uid, published id or case_uid."),
    ] = None,
    source: Source = None,
    modes: Annotated[
        str | None,
        typer.Option(help="Mode numbers, ranges or keys. Default: all whose slices are there, and real ones."),
    ] = None,
    description: Annotated[str, typer.Option(help="What the split is for.")] = "",
    folder: Folder = None,
) -> None:
    """Freeze lists of slices under a name, with the hash of every picture. A frozen list is never written again.

    Reports of ITRIALSPACE_SPLIT=NAME score these slices, and refuse a list or a picture that has changed. Cases that
    people rejected (table `reviews`) are left out; the last review of a case counts. A mode that is named and lacks
    slices is told; the exit code is then 1.

    Example: `its splits freeze readers_v1 --rule release_v1_full --dir .demo`

    Result: `splits/NAME/` in the output folder; the last line names it.
    """
    from itrialspace_assets.analysis.frozen import ListKey, locks, split_folder
    from itrialspace_assets.analysis.frozen import freeze as write
    from itrialspace_assets.analysis.splits import candidates, chosen_by, named_by, rejected_by_people, without
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.readers.registry import slice_readers
    from itrialspace_assets.records.store import read_all
    from itrialspace_assets.records.tables import TABLES

    settings = load(folder, split=name)
    if source is not None:
        _require_source(settings, source, "--source")
    ids = _ids(case_ids)
    wanted = _modes(settings, modes) if modes else None
    found = [c for c in candidates(settings) if source in (None, c.source) and (wanted is None or c.mode in wanted)]
    if not found:
        raise ConfigError(f"{name}: expected slices of a whole mode or dataset, found none; run `its run --to slice`")
    known, unknown, frozen, rejected = locks(settings, name), set(ids), 0, rejected_by_people(settings)
    said = [*TABLES["answers"].key, "reader", "status"]
    for candidate in found:
        answers = read_all(settings.output, "answers", said, source=candidate.source, mode=candidate.mode)
        slices = chosen_by(rule, candidate.slices(settings), answers, slice_readers(settings, candidate.source))
        if ids:
            slices, missing = named_by(ids, slices)
            unknown &= set(missing)
        slices, left_out = without(rejected, slices)
        key = ListKey(name, candidate.source, candidate.name)
        if key in known or slices.is_empty():
            typer.echo(f"{candidate.source}/{candidate.name}: {'is frozen already' if key in known else 'no slice'}")
            continue
        lock = write(settings, key, slices, "case-ids" if ids else rule, description)
        frozen += 1
        told = f"; {left_out} cases left out, rejected by people" if left_out else ""
        typer.echo(f"{candidate.source}/{candidate.name}: {lock.n} slices, SHA-256 {lock.list_sha256[:12]}{told}")
    if unknown:
        typer.echo(f"{len(unknown)} ids name no slice, first: {', '.join(sorted(unknown)[:10])}", err=True)
    absent = sorted(set(wanted or ()) - {c.mode for c in found})
    for mode in absent:
        typer.echo(f"{mode}: left out, not all of its slices are there; cut them with `its run --to slice`", err=True)
    typer.echo(f"{frozen} lists frozen")
    typer.echo(f"Result: {split_folder(settings, name)}")
    if unknown or absent:
        raise typer.Exit(1)


def _modes(settings: Any, text: str) -> tuple[str, ...]:
    """Keys of the modes that an option names."""
    from itrialspace_assets import drive

    return drive.choose(settings, text, None, "splits", None).modes


def _require_source(settings: Any, source: str, where: str) -> None:
    """Refuse an image source that there is not.

    Args:
        settings: which renderers are enabled.
        source: its name.
        where: it was given, for the message.

    Raises:
        ConfigError: it is neither ``real`` nor an enabled renderer.
    """
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.records.layout import REAL
    from itrialspace_assets.synthesis.renderers import enabled

    known = (REAL, *(r.name for r in enabled(settings)))
    if source not in known:
        raise ConfigError(
            f"{where}: expected an image source out of {', '.join(known)}, got {source}; name one by --source, or "
            "enable a renderer by ITRIALSPACE_RENDERERS"
        )


def _ids(path: Path | None) -> list[str]:
    """Ids of a text file; blank lines and lines that start with # do not count.

    Raises:
        ConfigError: there is no such file, or it holds no id.
    """
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.records.layout import ids_of

    if path is None:
        return []
    try:
        found = ids_of(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected a text file of ids in UTF-8, got {error}") from None
    if not found:
        raise ConfigError(f"{path}: expected ids, one a line, got none")
    return found


@app.command()
def verify(name: Split = None, folder: Folder = None) -> None:
    """Compare the frozen lists of a split with their lock, and their pictures with those there are.

    The first ten differences of each list are named; the exit code is then 1.

    Example: `its splits verify demo_v1 --dir .demo`

    Result: differences on the screen; nothing is written.
    """
    from itrialspace_assets.analysis.frozen import locks
    from itrialspace_assets.analysis.splits import broken_lists
    from itrialspace_assets.base.errors import ConfigError

    settings = load(folder, split=name)
    split = settings.split
    if not (known := locks(settings, split)):
        raise ConfigError(f"{split}: no list is frozen; freeze with `its splits freeze {split}`")
    problems = broken_lists(settings, split)
    for problem in problems:
        typer.echo(problem)
    typer.echo(f"{split}: {len(known)} lists, {len(problems)} of them changed")
    if problems:
        raise typer.Exit(1)


@app.command("import")
def import_list(
    file: Annotated[Path, typer.Argument(help="Published list: NAME.synthetic.txt or NAME.real.txt.")],
    source: Annotated[
        str | None, typer.Option(help="Image source of its slices. Default: real or nodmaisi, by the file's name.")
    ] = None,
    description: Annotated[str, typer.Option(help="What the split is for.")] = "",
    folder: Folder = None,
) -> None:
    """Freeze the slices that a published list names, under its name. Its ids are those of the published layout.

    A mode or dataset of which not every named slice is there is left out and named; the exit code is then 1. Cut them
    and import the list again: what is frozen already stays.

    Example: `its splits import release_v1.synthetic.txt --source tissue --dir .demo`

    Result: `splits/NAME/` in the output folder; the last line names it.
    """
    from itrialspace_assets.analysis.frozen import ListKey, locks, split_folder
    from itrialspace_assets.analysis.frozen import freeze as write
    from itrialspace_assets.analysis.splits import candidates, named_by
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.records.layout import REAL, list_sha256

    parts = file.name.rsplit(".", 2)
    if (
        len(parts) != 3
        or not parts[0]
        or parts[2] != "txt"
        or not (parts[1] == REAL or parts[1].startswith("synthetic"))
    ):
        raise ConfigError(
            f"{file.name}: expected NAME.SET.txt with the set real, synthetic or synthetic_RENDERER, for example "
            "release_v1.synthetic.txt"
        )
    name, kind = parts[0], parts[1]
    of = source or (REAL if kind == REAL else kind.removeprefix("synthetic").lstrip("_") or "nodmaisi")
    settings = load(folder, split=name)
    _require_source(settings, of, "--source" if source else file.name)
    ids = set(_ids(file))
    groups: dict[str, list[str]] = {}
    for uid in ids:
        groups.setdefault(uid.split("/", 1)[0], []).append(uid)
    known, absent, frozen = locks(settings, name), dict(groups), 0
    for candidate in (c for c in candidates(settings) if c.source == of):
        there = candidate.slices(settings)
        for group in set(there["published_id"].str.split("/").list.first()) & set(groups):
            slices, missing = named_by(groups[group], there)
            if missing:
                absent[group] = missing
                continue
            key = ListKey(name, of, candidate.name)
            del groups[group]
            if key in known and known[key].list_sha256 == list_sha256(slices["slice_uid"]):
                typer.echo(f"{of}/{candidate.name}: is frozen already")
                continue
            lock = write(settings, key, slices, "imported", description or file.name)
            typer.echo(f"{of}/{candidate.name}: {lock.n} slices, SHA-256 {lock.list_sha256[:12]}")
            frozen += 1
    for group, named in sorted(groups.items()):
        lost = absent[group]
        typer.echo(
            f"{group}: left out, {len(lost)} of its {len(named)} slices are not there (source {of}), first: "
            f"{', '.join(sorted(lost)[:10])}; cut them with `its run --to slice`",
            err=True,
        )
    typer.echo(f"{frozen} lists frozen")
    typer.echo(f"Result: {split_folder(settings, name)}")
    if groups:
        raise typer.Exit(1)
