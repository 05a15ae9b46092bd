"""``its cts``: hand rendered CTs over; and the forecast that ``its synth`` shows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from itrialspace_assets.cli.options import Folder, load

app = typer.Typer(no_args_is_help=True, help="Hand rendered CTs over.")


weights_app = typer.Typer(
    no_args_is_help=True, help="Weights of GPU renderers: what is expected where, and whether it is there."
)


@app.callback()
def _group() -> None: ...


@weights_app.command("check")
def check_weights(folder: Folder = None) -> None:
    """Say which files NodMAISI needs, where they are looked for, how many parameters they hold, and whether they are as
    locked."""
    from itrialspace_assets.synthesis.nodmaisi import networks, weights

    settings = load(folder)
    for name, (own, public) in weights.FILES.items():
        typer.echo(f"{name:15} {own} (in the public MAISI set: {public})")
    typer.echo(f"looked for in   NODMAISI_MODELS_DIR={settings.nodmaisi_models_dir or '(not set)'}")
    found = weights.find(settings)
    for name, count in networks.parameters(networks.read_architecture(found.architecture)).items():
        typer.echo(f"{name:15} {count:,} parameters")
    typer.echo(f"All as locked; {found.sha256}")


@weights_app.command()
def lock(folder: Folder = None) -> None:
    """Write the SHA-256 of NodMAISI's weights beside them: from now on these very files are expected."""
    from itrialspace_assets.synthesis.nodmaisi import weights

    typer.echo(f"Locked in {weights.lock(load(folder))}")


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
    from itrialspace_assets.records.layout import MODES
    from itrialspace_assets.synthesis.export import chosen, export_cts

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
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.records.store import table_path
    from itrialspace_assets.synthesis.build import cases_left, payloads, render_cases
    from itrialspace_assets.synthesis.estimate import estimate_rendering, require_free
    from itrialspace_assets.synthesis.renderers import enabled

    pairs = [
        {"mode": m, "dataset": d}
        for m in modes
        for d in datasets
        if table_path(settings.output, "insertions", mode=m, dataset=d).exists()
    ]
    if not pairs:
        raise ConfigError(
            f"{settings.output}: expected inserted cases of these modes and datasets, found none; run the "
            "stages up to insert first"
        )
    for renderer in enabled(settings):
        left = [c for p in pairs for c in cases_left(settings, renderer.name, p, render_cases(settings, renderer, p))]
        found = estimate_rendering(settings, renderer, payloads(left))
        renderer.require_weights(settings)
        renderer.require_device(settings)
        at_once = max(1, renderer.workers(settings) // (settings.per_gpu if renderer.location == "gpu" else 1))
        seconds = found.seconds / max(1, min(at_once, found.hosts))
        takes = (
            "no GPU"
            if renderer.location == "cpu"
            else (
                f"{found.seconds / 3600:.3g} GPU-hours, {renderer.gpu_gib:g} GiB of GPU memory, {settings.per_gpu} "
                "workers a GPU"
            )
        )
        if renderer.location == "gpu" and settings.device == "cpu":
            takes = "of a GPU; the processor takes far longer"
        typer.echo(
            f"{renderer.name} (trained on {renderer.trained_on}): {found.cases} cases left on {found.hosts} "
            f"hosts, about {seconds:.0f} s with {at_once} at once "
            f"({takes}), {_size(found.size)} ({settings.cts}) of {_size(found.free)} free"
        )
        require_free(settings, found)


def _size(size: int) -> str:
    return f"{size / 2**40:.3g} TiB" if size >= 2**40 else f"{size / 2**30:.3g} GiB"
