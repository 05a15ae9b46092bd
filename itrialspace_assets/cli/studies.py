"""``its study``: list, show, new, lock, check, schema. Parses, calls ``analysis.protocol``, prints."""

from pathlib import Path
from typing import Annotated

import typer

from itrialspace_assets.cli.options import Folder, before_first, load

app = typer.Typer(no_args_is_help=True, help="Write, lock and check study files: what is asked, and by which rules.")

Name = Annotated[str, typer.Argument(help="Name of the study: its file without .yaml.")]
Split = Annotated[str | None, typer.Option(help="Split that it is locked for. Default: ITRIALSPACE_SPLIT.")]


@app.command("list")
def list_studies(folder: Folder = None) -> None:
    """List every study with its question, its primary number, and whether it is locked for the present split.

    Example: `its study list`

    Result: a table on the screen; nothing is written.
    """
    import polars as pl

    from itrialspace_assets.analysis.protocol.files import read_study, study_files
    from itrialspace_assets.analysis.protocol.lock import lock_path
    from itrialspace_assets.cli.show import show

    settings, rows = load(folder), []
    for name, path in study_files(settings).items():
        study = read_study(path)
        first = study.primary
        rows.append(
            {
                "study": f"{name} *" if name == settings.study else name,
                "primary": f"{first.metric} of {first.task}, {first.condition}",
                "SHA-256": study.sha256[:12],
                f"locked for {settings.split}": "yes" if lock_path(settings, name).exists() else "no",
                "question": study.question,
            }
        )
    show(pl.DataFrame(rows), "Studies (* reports follow it: ITRIALSPACE_STUDY)", 100)


@app.command("show")
def show_study(name: Name, folder: Folder = None) -> None:
    """Show a study in plain words: question, primary number, populations, rules, limits.

    Example: `its study show virtual_lesion_study`

    Result: text on the screen; nothing is written.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from itrialspace_assets.analysis.protocol.files import find_study
    from itrialspace_assets.analysis.protocol.words import in_words

    settings = load(folder)
    study = find_study(settings, name)
    table = Table(box=None, show_header=False, title=f"{study.study} ({study.sha256[:12]})", title_justify="left")
    for heading, text in in_words(study):
        table.add_row(Text(heading, style="bold"), Text(text))
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of your study: small letters, digits and _.")],
    source: Annotated[str, typer.Option("--from", help="Study to copy.")] = "demo",
    out: Annotated[
        Path | None,
        typer.Option("--dir-out", help="Folder of your studies. Default: ITRIALSPACE_STUDIES_DIR, else ./studies."),
    ] = None,
    folder: Folder = None,
) -> None:
    """Copy a study file with its comments for you to edit.

    Example: `its study new mine --from virtual_lesion_study`, then edit `studies/mine.yaml`, then lock it

    Result: a file `NAME.yaml`; the last line names it.
    """
    from itrialspace_assets.analysis.protocol.files import copy_study

    settings = load(folder)
    own = out or settings.studies_dir or Path("studies")
    target = copy_study(before_first(settings, "studies_dir"), source, name, own)
    typer.echo("Next: edit the file; then, before readers are asked:")
    typer.echo(f"ITRIALSPACE_STUDIES_DIR={target.parent} its study lock {name}")
    typer.echo(f"Reports follow it with ITRIALSPACE_STUDIES_DIR={target.parent} ITRIALSPACE_STUDY={name}")
    typer.echo(f"Result: {target}")


@app.command()
def lock(name: Name, split: Split = None, folder: Folder = None) -> None:
    """Write down a study's hash and content for a split, and which answers exist already. A lock is written once.

    Lock before readers are asked. An edit afterwards, or an answer from before, makes reports exploratory. `its run`
    locks the study of ITRIALSPACE_STUDY before it asks readers, if nobody has.

    Example: `its study lock demo --dir .demo`

    Result: `splits/SPLIT.NAME.lock.json` in the output folder; the last line names it.
    """
    from itrialspace_assets.analysis.protocol.files import find_study
    from itrialspace_assets.analysis.protocol.lock import lock_path, lock_state, lock_study, require_unlocked
    from itrialspace_assets.base.settings import require_data_root

    settings = load(folder, study=name, split=split)
    study = find_study(settings, name)
    require_data_root(settings)
    require_unlocked(settings, name)
    lock_study(settings, study)
    for line in lock_state(settings, study).found:
        typer.echo(line)
    typer.echo(f"SHA-256 {study.sha256}")
    typer.echo("Write this hash down where you cannot change it, for example in a registry of studies")
    typer.echo(f"Result: {lock_path(settings, name)}")


@app.command()
def check(name: Name, split: Split = None, folder: Folder = None) -> None:
    """Compare a study with its lock, and with what this installation has.

    Says what was edited, which answers existed when it was locked, and which readers, sources, modes, conditions and
    controls it names that are not enabled. The exit code is 1 where reports are exploratory.

    Example: `its study check demo --dir .demo`

    Result: text on the screen; nothing is written.
    """
    from itrialspace_assets.analysis.protocol.files import find_study
    from itrialspace_assets.analysis.protocol.installation import missing
    from itrialspace_assets.analysis.protocol.lock import lock_state

    settings = load(folder, study=name, split=split)
    study = find_study(settings, name)
    state = lock_state(settings, study)
    for line in state.changes:
        typer.echo(f"edited: {line}")
    for line in state.found:
        typer.echo(line)
    for line in missing(settings, study):
        typer.echo(f"note: {line}")
    typer.echo(state.reason)
    if state.status == "missing":
        typer.echo(f"Next: its study lock {name}")
    if state.exploratory:
        raise typer.Exit(1)


@app.command()
def schema() -> None:
    """Print the JSON Schema of study files, for editors; it explains every key.

    Example: `its study schema > study.schema.json`

    Result: text on the screen; nothing is written.
    """
    import json

    from itrialspace_assets.analysis.protocol.files import json_schema

    typer.echo(json.dumps(json_schema(), indent=1, sort_keys=True))
