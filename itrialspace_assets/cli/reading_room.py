"""``its reading``: sessions of the reading room, and what becomes of their answers. Parses, calls, prints."""

from pathlib import Path
from typing import Annotated

import typer

from itrialspace_assets.cli.options import Folder, load

app = typer.Typer(
    no_args_is_help=True, help="List sessions of people who read cases in `its explore`, and use their answers."
)


@app.command("list")
def list_sessions(folder: Folder = None) -> None:
    """List every session of the reading room: who reads, how far it is, and how long an item takes.

    Example: `its reading list --dir .demo`

    Result: a table on the screen; nothing is written.
    """
    from statistics import median

    import polars as pl

    from itrialspace_assets.cli.show import show
    from itrialspace_assets.explorer.reading.journal import sessions

    rows = [
        {
            "session": s.name,
            "reader": s.header.asked.reader,
            "kind": s.header.asked.kind,
            "items": len(s.header.items),
            "answered": s.at,
            "state": "finished" if s.finished else "open",
            "median s": round(median(a.seconds for a in s.answers), 1) if s.answers else None,
        }
        for s in sessions(load(folder))
    ]
    if not rows:
        typer.echo("No session yet; people read in the reading room of `its explore`")
        return
    show(pl.DataFrame(rows), "Reading sessions")


@app.command("import")
def import_reader(
    name: Annotated[str, typer.Argument(help="Name of the person, as its sessions have it.")],
    folder: Folder = None,
) -> None:
    """Make a person's answers a reader `human_<name>`, so that reports and `its compare` treat it like any other.

    Finished sessions count; of a picture that the person read twice, the first reading. The answers become a table of
    the kind `table` beside the sessions. What the person did not read has no answer, and that counts as wrong in
    reports, so let people read whole lists of a split, or compare on what both read (`accuracy_one_n`, `its compare`).

    Example: `its reading import ann --dir .demo`

    Result: `readings/human_<name>.csv` in the output folder, and the command that fills the tables.
    """
    from itrialspace_assets.explorer.reading.answers import register

    reader, slices = register(load(folder), name)
    where = f" --dir {folder}" if folder else ""
    typer.echo(f"Reader: {reader}")
    typer.echo(f"Next: its evaluate --reader {reader} --case-ids {slices}{where}")


@app.command("export")
def export_readings(
    names: Annotated[list[str], typer.Argument(help="Names of people.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the tables.")],
    folder: Folder = None,
) -> None:
    """Write what people answered, beside the truth: every reading, a reader study, and choices between pairs.

    The tables say what the pictures were: do not show them to somebody who is still to read. In the reader study the
    modality is the guidance and the case is the target, so that the same targets under two kinds of guidance compare.

    Example: `its reading export ann ben --out readings`, then `its score mrmc readings/reader_study.csv`

    Result: `readings.csv`, `reader_study.csv` and, of sessions of pairs, `pairs.csv` in the folder of `--out`.
    """
    import polars as pl

    from itrialspace_assets.base.fingerprints import replace_file
    from itrialspace_assets.explorer.reading.answers import (
        chosen_rightly,
        finished,
        mrmc_table,
        pairs,
        readings,
        with_truth,
    )

    settings = load(folder)
    done = finished(settings, names)
    given = readings(done)
    if not given.is_empty():
        known = with_truth(settings, given)
        flat = known.drop("marks").with_columns(pl.col("tasks").list.join(";"))
        replace_file(out / "readings.csv", flat.write_csv().encode())
        replace_file(out / "reader_study.csv", mrmc_table(known).write_csv().encode())
        typer.echo(f"{flat.height} readings")
    chosen = pairs(settings, done)
    if not chosen.is_empty():
        replace_file(out / "pairs.csv", chosen.write_csv().encode())
        for line in chosen_rightly(chosen):
            typer.echo(line)
    typer.echo(f"Result: {out}")
