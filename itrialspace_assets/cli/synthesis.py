"""``its cts``: hand rendered CTs over; and the forecast that ``its synth`` shows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

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


def print_forecasts(settings: Any, modes: Sequence[str], datasets: Sequence[str]) -> None:
    """What each enabled renderer would take for the inserted cases of some pairs that are left.

    Raises:
        ConfigError: no case is inserted, or the disk cannot hold them.
    """
    from itrialspace_assets.errors import ConfigError
    from itrialspace_assets.store import table_path
    from itrialspace_assets.synthesis.build import cases_left, render_cases
    from itrialspace_assets.synthesis.forecast import GIB, forecast, require_free
    from itrialspace_assets.synthesis.renderers import enabled

    pairs = [{"mode": m, "dataset": d} for m in modes for d in datasets if table_path(settings.output, "insertions", mode=m, dataset=d).exists()]  # fmt: skip
    if not pairs:
        raise ConfigError(f"{settings.output}: expected inserted cases of these modes and datasets, found none; run the stages up to insert first")  # fmt: skip
    for renderer in enabled(settings):
        left = [c for p in pairs for c in cases_left(settings, renderer.name, p, render_cases(settings, renderer, p))]
        found = forecast(settings, renderer, left)
        seconds = found.seconds / max(1, min(settings.workers, found.hosts))
        typer.echo(
            f"{renderer.name} (trained on {renderer.trained_on}): {found.cases} cases left on {found.hosts} hosts, about {seconds:.0f} s with {settings.workers} workers "
            f"({'no GPU' if renderer.location == 'cpu' else f'{seconds / 3600:.2g} GPU-hours'}), {found.size / GIB:.3g} GiB ({settings.cts}) of {found.free / GIB:.3g} GiB free"
        )
        require_free(settings, found)
