"""``its readers``: parses, calls, prints."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itrialspace_assets.cli.options import Folder, load, plain

if TYPE_CHECKING:
    from itrialspace_assets.base.settings import Settings
    from itrialspace_assets.readers.entry import ReaderEntry
    from itrialspace_assets.readers.trying import TriedCase

app = typer.Typer(no_args_is_help=True, help="List readers, check what they lack, and try one on a case.")

Name = Annotated[str, typer.Argument(help="Name of a reader: an entry of `readers.yaml`, enabled or not.")]


@app.command("list")
def list_readers(folder: Folder = None) -> None:
    """List every reader: whether it is enabled, its kind, where it runs, and whether it is ready.

    Readers are entries of the file `readers/readers.yaml` of the platform. Your own file, which
    ITRIALSPACE_READERS_CONFIG names, adds entries and changes them: `readers: {mock: {enabled: true}}`.

    Example: `its readers list`

    Result: a table on the screen; nothing is written.
    """
    import polars as pl

    from itrialspace_assets.cli.show import show
    from itrialspace_assets.readers.registry import entries_of

    settings = load(folder)
    rows = []
    for name, entry in entries_of(settings).items():
        lacks = _lacks(settings, entry)
        state = (
            "ready" if not lacks else f"not ready: {lacks[0][0]}" + (f" and {len(lacks) - 1} more" * (len(lacks) > 1))
        )
        rows.append((name, "yes" if entry.enabled else "no", entry.kind, entry.location, state))
    show(pl.DataFrame(rows, schema=["reader", "enabled", "kind", "location", "state"], orient="row"), "Readers")
    typer.echo("`its readers check NAME` says how to fix what is missing.")


@app.command("check")
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Names of readers. Default: every enabled one.")] = None,
    folder: Folder = None,
) -> None:
    """Check that readers have all that they need: folders, files, programs, licences.

    Weights are looked up in the folder of ITRIALSPACE_WEIGHTS_DIR. Nothing is downloaded, and no weights are opened.

    Example: `its readers check blob`

    Result: a line for each reader, and what to do where something is missing; the exit code is then 1.
    """
    from itrialspace_assets.readers.registry import entries_of
    from itrialspace_assets.readers.trying import entry_named

    settings = load(folder)
    known = entries_of(settings)
    chosen = [entry_named(settings, n) for n in names] if names else [e for e in known.values() if e.enabled]
    missing = 0
    for entry in chosen:
        lacks = _lacks(settings, entry)
        missing += bool(lacks)
        typer.echo(f"{entry.name}: {'not ready' if lacks else 'ready'}")
        for what, fix in lacks:
            typer.echo(f"  missing: {what}\n  to do:   {fix}")
    if missing:
        raise typer.Exit(1)


def _lacks(settings: "Settings", entry: "ReaderEntry") -> list[tuple[str, str]]:
    """What an entry's reader lacks and how to fix it; a wrong entry lacks a right one."""
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.readers.entry import ReaderEnvironment
    from itrialspace_assets.readers.registry import make

    try:
        return [(need.what, need.fix) for need in make(entry, ReaderEnvironment.of(settings)).needs()]
    except ConfigError as error:
        return [(str(error), "correct the entry")]


@app.command("show")
def show_reader(name: Name, folder: Folder = None) -> None:
    """Show one reader: its entry with what is not given filled in, its words, its revision, its training data.

    The revision is a hash of code, options and weights: what a reader returns is kept under it. Weights that were not
    hashed before are hashed now, which takes minutes where they are large.

    Example: `its readers show mock`

    Result: two tables on the screen; nothing is written.
    """
    import json

    import polars as pl

    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.base.fingerprints import sha256_bytes
    from itrialspace_assets.cli.show import show
    from itrialspace_assets.readers.entry import ReaderEnvironment
    from itrialspace_assets.readers.prompts import version_of, version_sha256
    from itrialspace_assets.readers.registry import KINDS, make
    from itrialspace_assets.readers.trying import entry_named

    settings = load(folder)
    entry = entry_named(settings, name)
    reader = make(entry, ReaderEnvironment.of(settings))
    try:
        revision = reader.revision
    except ConfigError as error:
        revision = f"none: {error}"
    options = KINDS[entry.kind].options(**entry.options).model_dump(mode="json")
    facts = {
        "kind": entry.kind,
        "enabled": "yes" if entry.enabled else "no",
        "location": reader.location,
        "options": json.dumps(options),
        "tasks": ", ".join(reader.tasks) or "none",
        "marks whole scans": "yes" if reader.mark else "no",
        "profile": reader.profile,
        "z offsets": ", ".join(map(str, reader.z_offsets)),
        "controls": ", ".join(reader.controls) or "none",
        "scorer": reader.scorer,
        "trained on": reader.trained_on,
        "licence": reader.licence,
        "revision": revision,
    }
    if reader.prompts:
        version = version_of(entry)
        facts["words"] = f"version {version} (SHA-256 {version_sha256(version)[:16]}), and the entry's own, if any"
    show(pl.DataFrame(list(facts.items()), schema=["what", "value"], orient="row"), f"Reader {name}")
    rows = [
        (task, p.id, sha256_bytes(f"{p.text}\n{p.paraphrase}\n{p.options}".encode())[:16], p.text, p.paraphrase)
        for task, p in reader.prompts.items()
    ]
    if rows:
        schema = ["task", "id", "hash", "text", "paraphrase"]
        show(pl.DataFrame(rows, schema=schema, orient="row"), "Words")


@app.command("try")
def try_reader(
    name: Name,
    case: Annotated[str, typer.Option("--case", help="The case, by its case_uid: size_detection_curve/10_15mm/00000.")],
    source: Annotated[
        str | None, typer.Option("--source", help="Image source: real, tissue. Default: the first that has the case.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="Only this task: presence, lobe, size, malignancy.")
    ] = None,
    condition: Annotated[str | None, typer.Option("--condition", help="Only this guidance: plain, bbox.")] = None,
    marks: Annotated[bool, typer.Option("--marks", help="Mark the case's whole scans too. Takes longer.")] = False,
    page: Annotated[Path | None, typer.Option("--page", help="Write one HTML file with the pictures in it.")] = None,
    folder: Folder = None,
) -> None:
    """Ask one reader about one case, and show what it was shown, what it was asked, and what it said.

    The code of the stage `read` runs, with any reader, enabled or not. No table is written, so a reader can be tried
    before a study. Each picture is followed by the prompt, the text that came back, a score for each option, and the
    answer that the reader's scorer makes of them.

    Example: `its readers try blob --case size_detection_curve/10_15mm/00000 --page blob.html`

    Result: on the screen, or in the file of `--page`.
    """
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.base.fingerprints import replace_file
    from itrialspace_assets.readers.trying import try_case
    from itrialspace_assets.readers.trying_page import page as page_of

    settings = load(folder)
    only = {column: value for column, value in (("task", task), ("condition", condition)) if value}
    tried = try_case(settings, name, case, source, only, marks)
    if not tried.requests and not tried.scans:
        raise ConfigError(
            f"reader {name}: expected requests about {case}, got none {only or ''}; it does not do this task"
        )
    if page is None:
        _print(tried)
        return
    try:
        replace_file(page, page_of(tried, case, settings.anatomy))
    except OSError as error:
        raise ConfigError(f"{page}: expected a file that can be written, got {error.strerror}") from None
    typer.echo(f"{len(tried.requests)} requests, {len(tried.scans)} scans\nResult: {page}")


def _print(case: "TriedCase") -> None:
    """Print what a reader said; pictures on a terminal only."""
    import polars as pl
    from rich.console import Console

    from itrialspace_assets.cli.show import blocks, show

    console = Console(width=None if sys.stdout.isatty() else 120)
    for tried in case.requests:
        row = tried.row
        console.rule(f"{row['task']}, {row['condition']}, {row['control']}")
        for picture in tried.pictures if console.is_terminal else ():
            console.print(blocks(picture, min(console.width, 72)))
        console.print(f"pictures: {len(tried.pictures)}", highlight=False)
        scores = [] if row["option_scores"] is None else zip(row["options"], row["option_scores"], strict=True)
        for what, said in (
            ("prompt", row["prompt"] or "none: the reader needs no words"),
            ("text", "none" if row["raw_text"] is None else row["raw_text"]),
            ("scores", ", ".join(f"{option} {value:.4g}" for option, value in scores) or "none"),
            ("answer", f"{row['answer'] or row['status']}" + (f" ({row['reason']})" if row["reason"] else "")),
            ("truth", f"{tried.truth} (presence; no reader is told)"),
            ("by", f"scorer {row['scorer']} {row['scorer_version']}, {tried.seconds:.3f} s"),
        ):
            console.print(f"{what}: {plain(said)}", markup=False, highlight=False)
    for scan in case.scans:
        show(pl.DataFrame(scan.marks), f"Marks on {scan.image_uid} (mm, RAS)")
    if case.note:
        typer.echo(case.note)
    typer.echo("No table was written.")


@app.command("schema")
def schema(
    out: Annotated[Path, typer.Option("--out", help="Folder to write the files into.")] = Path("schemas"),
) -> None:
    """Write the JSON Schemas of what a program outside is given and must return.

    A reader of the kind `container` runs any image or command. With `interface: own` it reads `request.json` in its
    input folder and writes `result.json` into its output folder; these files say what is in them.

    Example: `its readers schema --out docs/schemas`

    Result: four files in the folder of `--out`.
    """
    import json

    from itrialspace_assets.base.fingerprints import replace_file
    from itrialspace_assets.readers.outside import messages

    for name in messages.PUBLISHED:
        replace_file(out / f"{name}.json", (json.dumps(messages.schema(name), indent=2) + "\n").encode())
    typer.echo(f"Result: {out}")
