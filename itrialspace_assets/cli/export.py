"""``its export``."""

from pathlib import Path
from typing import Annotated

import typer

from itrialspace_assets.cli.options import Folder, load

app = typer.Typer(no_args_is_help=True, help="Export what was made, for use elsewhere.")


@app.callback()
def _group() -> None: ...


@app.command()
def cohort(
    modes: Annotated[str, typer.Option(help="Mode numbers, ranges or keys: 1,2,11-13,x_mine.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to fill; must be empty.")],
    ct: Annotated[str, typer.Option("--ct", help="nifti, or dicom: series, DICOM-SEG and DICOM SR.")] = "nifti",
    source: Annotated[str, typer.Option(help="Renderer: tissue or nodmaisi.")] = "tissue",
    folder: Folder = None,
) -> None:
    """Export the cases of some modes: CTs, segmentations, truth, manifests, frozen lists, terms and hashes.

    Every image is marked synthetic. Real pixels are refused, and so are hosts and donors of datasets whose terms forbid
    redistribution; the message names them.

    Example: `its export cohort --modes 2 --out cohort --ct dicom --dir .demo`

    Result: the cohort in the folder of `--out`; its `TERMS.md` says what it is and what to cite.
    """
    from itrialspace_assets import drive
    from itrialspace_assets.care.cohort import cohort as chosen
    from itrialspace_assets.care.cohort import export
    from itrialspace_assets.cli.show import progress

    settings = load(folder)
    found = chosen(settings, drive.choose(settings, modes, None, None, None).modes, source)
    with progress("cases", found.cts.height) as advance:
        count = export(settings, found, out, ct, advance)
    typer.echo(f"{count} cases exported ({ct})\nResult: {out}")
