"""``its cts``: hand rendered CTs over."""

from pathlib import Path
from typing import Annotated

import typer

from itrialspace_assets.cli.options import Folder, load

app = typer.Typer(no_args_is_help=True, help="Hand rendered CTs over.")


@app.callback()
def _group() -> None: ...


@app.command()
def export(
    mode: Annotated[str, typer.Argument(help="Mode number or key.")],
    to: Annotated[Path, typer.Option("--to", help="Folder to fill.")],
    dicom: Annotated[bool, typer.Option("--dicom", help="DICOM series instead of NIfTI files.")] = False,
    case: Annotated[
        str | None, typer.Option(help="One case_uid, for example size_detection_curve/10_15mm/00000.")
    ] = None,
    twins: Annotated[bool, typer.Option("--twins", help="The lesion-free twins as well, each host once.")] = False,
    source: Annotated[str, typer.Option(help="Renderer.")] = "tissue",
    folder: Folder = None,
) -> None:
    """Write the CTs of a mode as NIfTI or DICOM, also where only patches are kept; each file says it is synthetic."""
    from itrialspace_assets.cli.show import progress
    from itrialspace_assets.synthesis.export import chosen, export_cts
    from itrialspace_assets.trials.model import MODES

    settings = load(folder)
    key = MODES[int(mode) - 1] if mode.isdigit() and 1 <= int(mode) <= len(MODES) else mode
    rows = chosen(settings, key, source, case, twins)
    with progress("CTs", rows.height) as advance:
        count = export_cts(settings, rows, to, dicom, advance)
    typer.echo(f"{count} CTs ({'DICOM series' if dicom else 'NIfTI'}) in {to}")
