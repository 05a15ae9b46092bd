"""``its cts``, and the estimate that ``its synth`` prints."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itrialspace_assets.cli.options import Case, Folder, Workers, load, mode_key

if TYPE_CHECKING:
    from itrialspace_assets.base.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Export rendered CTs, and render masks of a release.")


@app.callback()
def _group() -> None: ...


@app.command()
def export(
    mode: Annotated[str, typer.Argument(help="Mode number or key.")],
    to: Annotated[Path, typer.Option("--to", help="Folder to fill.")],
    dicom: Annotated[bool, typer.Option("--dicom", help="Write DICOM series instead of NIfTI files.")] = False,
    case: Case = None,
    twins: Annotated[bool, typer.Option("--twins", help="Write the lesion-free twins too, one for each host.")] = False,
    source: Annotated[str, typer.Option(help="Renderer: tissue or nodmaisi.")] = "tissue",
    folder: Folder = None,
) -> None:
    """Export the CTs of a mode as NIfTI or DICOM. Works with whole images and with patches.

    Each file is marked synthetic.

    Example: `its cts export 2 --to cts --dicom`

    Result: one file or DICOM series for each case in the folder of `--to`.
    """
    from itrialspace_assets.cli.show import progress
    from itrialspace_assets.synthesis.export import chosen, export_cts

    settings = load(folder)
    rows = chosen(settings, mode_key(mode), source, case, twins)
    with progress("CTs", rows.height) as advance:
        count = export_cts(settings, rows, to, dicom, advance)
    typer.echo(f"{count} CTs exported ({'DICOM series' if dicom else 'NIfTI'})\nResult: {to}")


@app.command()
def render(
    release: Annotated[Path, typer.Argument(help="Release in the published layout: inserted_masks/ and manifests/.")],
    mode: Annotated[str | None, typer.Option(help="Mode number or key. Default: every mode of the release.")] = None,
    source: Annotated[str, typer.Option(help="Renderer: tissue or nodmaisi.")] = "tissue",
    seed: Annotated[int | None, typer.Option(help="Seed of every random draw.", min=0)] = None,
    workers: Workers = None,
    folder: Folder = None,
) -> None:
    """Render CTs from the inserted masks of a release: masks of others, CTs of your own.

    A part whose masks disagree with its manifest or its audit is refused by its name, before anything is rendered. The
    audit of each CT says whose mask it is. A stopped command continues when it is run again.

    Example: `its cts render downloads/iTrialSpace --mode 2`

    Result: CTs and their audits in the folder `generated_cts_tissue/` of the output folder.
    """
    from itrialspace_assets.cli.show import progress
    from itrialspace_assets.records.layout import published_mode
    from itrialspace_assets.release.mask_cts import render_masks
    from itrialspace_assets.release.masks import released_masks
    from itrialspace_assets.release.partitions import anatomy_of
    from itrialspace_assets.synthesis.renderers import enabled

    settings = load(folder, seed=seed, workers=workers, renderers=source)
    (renderer, *_), root = enabled(settings), release.absolute()
    only = published_mode(mode_key(mode)) if mode is not None else None
    lost = 0
    for part, masks in released_masks(root, settings, only, anatomy_of(root)).items():
        with progress(part, len(masks)) as advance:
            made = render_masks(settings, renderer, part, masks, advance)
        cleared = f"; host from the mask itself in {made.cleared}" if made.cleared else ""
        typer.echo(f"{part}: {made.rendered} of {len(masks)} cases rendered ({made.computed} now){cleared}")
        for rejection in made.rejected:
            typer.echo(f"  rejected {rejection.uid}: {rejection.reason.value}: {rejection.detail}", err=True)
        lost += len(masks) - made.rendered
        typer.echo(f"Result: {made.folder}")
    if lost:
        raise typer.Exit(1)


def print_estimates(settings: "Settings", modes: Sequence[str], datasets: Sequence[str]) -> None:
    """Print the time and disk space that each enabled renderer needs for the inserted cases that are left.

    Args:
        settings: outputs, renderers, workers.
        modes: keys of the modes.
        datasets: host datasets.

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
        found = estimate_rendering(settings, renderer, list(payloads(left)))
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
            takes = "on a GPU; the CPU takes far longer"
        typer.echo(
            f"{renderer.name} (trained on {renderer.trained_on}): {found.cases} cases left on {found.hosts} "
            f"hosts, about {seconds:.0f} s with {at_once} at once "
            f"({takes}), {_size(found.size)} ({settings.cts}) of {_size(found.free)} free"
        )
        require_free(settings, found)


def _size(size: int) -> str:
    return f"{size / 2**40:.3g} TiB" if size >= 2**40 else f"{size / 2**30:.3g} GiB"
