"""``its clean``."""

import sys
from typing import Annotated

import typer

from itrialspace_assets.cli.options import Folder, load


def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only. Remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    gone_host: Annotated[
        str | None, typer.Option("--gone-host", help="Name of a host that is down: runs that it drove are ended first.")
    ] = None,
    folder: Folder = None,
) -> None:
    """Remove files of the output folder that nothing needs: orphans, leftovers of killed runs, old journals, reports.

    Counts and bytes are printed first. Without `--yes` it asks; where there is no terminal it removes nothing. The
    ledger, frozen lists and their pictures, locks, the history and the data root are never touched, nor is a file that
    changed within the last hour. It refuses while a run is active; runs of a host that is down count as active until
    `--gone-host` names it. What was up to date stays up to date.

    Example: `its clean --dry-run --dir .demo`

    Result: counts on the screen; fewer files in the output folder.
    """
    import polars as pl

    from itrialspace_assets.base.settings import require_data_root
    from itrialspace_assets.care.clean import remove, require_idle
    from itrialspace_assets.care.orphans import find
    from itrialspace_assets.cli.show import show

    settings = load(folder)
    require_data_root(settings)
    require_idle(settings, gone_host)
    kinds = find(settings)
    rows = [
        {
            "what": kind.what,
            "files": len(kind.files),
            "bytes freed": kind.freed,
            "first": str(kind.files[0].relative_to(settings.output)) if kind.files else None,
        }
        for kind in kinds
    ]
    show(pl.DataFrame(rows, infer_schema_length=None), f"In {settings.output}")
    if not any(kind.files for kind in kinds):
        typer.echo("Nothing to remove")
        return
    if dry_run or not (yes or (sys.stdin.isatty() and typer.confirm("Remove these files?"))):
        typer.echo("Nothing was removed" + ("" if dry_run else "; give --yes to remove"))
        return
    typer.echo(f"{remove(settings, kinds)} files removed")
