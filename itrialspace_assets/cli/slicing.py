"""``its slices``: parses, counts, runs, prints."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from itrialspace_assets.cli.options import Folder, Workers, load

if TYPE_CHECKING:
    from itrialspace_assets.base.settings import Settings
    from itrialspace_assets.orchestration.nodes import Key


def slices(
    modes: Annotated[
        str | None, typer.Option(help="Mode numbers, ranges or keys. Default: all that are rendered.")
    ] = None,
    datasets: Annotated[str | None, typer.Option(help="Host datasets, separated by commas. Default: all.")] = None,
    sources: Annotated[
        str | None, typer.Option("--source", help="Image sources, separated by commas: real, tissue. Default: all.")
    ] = None,
    profiles: Annotated[
        str | None, typer.Option("--profile", help="Preprocess profiles, separated by commas. Default: lung_axial.")
    ] = None,
    z_offsets: Annotated[
        str | None, typer.Option("--z", help="Slices counted from the target's plane: -1,0,1. Default: 0.")
    ] = None,
    conditions: Annotated[
        str | None, typer.Option(help="Guidance, separated by commas. Default: plain,bbox,contour,bbox_contour.")
    ] = None,
    controls: Annotated[
        str | None, typer.Option(help="Control pictures: blank,box_only,contralateral_box. Default: none.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the pictures only. Cut nothing.")] = False,
    workers: Workers = None,
    folder: Folder = None,
) -> None:
    """Cut evaluation slices of the images there are, after a count of the pictures.

    Options stand for ITRIALSPACE_PROFILES, _Z_OFFSETS, _CONDITIONS and _CONTROLS. Give `its evaluate` and `its run` the
    same, or they cut the slices again as their settings say.

    Example: `its slices --modes 2 --profile lung_axial,lung_axial_medgemma --z=-1,0,1 --dry-run`

    Result: pictures below `store/slices` and the table `slices`; with `--dry-run` only the count on the screen.
    """
    from itrialspace_assets import drive
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.base.settings import require_data_root
    from itrialspace_assets.records.layout import REAL
    from itrialspace_assets.synthesis.renderers import enabled

    given = {"profiles": profiles, "z_offsets": z_offsets, "conditions": conditions, "controls": controls}
    settings = load(folder, workers=workers, **given)
    known = (REAL, *(r.name for r in enabled(settings)))
    named = tuple(s.strip() for s in (sources or "").split(",") if s.strip()) or known
    if unknown := [s for s in named if s not in known]:
        raise ConfigError(f"--source: expected names out of {', '.join(known)}, got {', '.join(unknown)}")
    choice = drive.choose(settings, modes, datasets, "slice", None)
    require_data_root(settings)
    found = drive.partitions_to_cut(settings, choice, named)
    if not any(found.values()):
        raise ConfigError(
            f"{settings.output}: expected images of these modes and datasets, found none; make them with "
            "`its run --to synthesise`"
        )
    _print_counts(settings, found)
    if dry_run:
        typer.echo("Nothing was cut (--dry-run)")
    elif drive.drive_nodes(settings, choice, found):
        raise typer.Exit(1)


def _print_counts(settings: "Settings", found: "Mapping[Key, list[dict[str, str]]]") -> None:
    from itrialspace_assets.slices.build import count_pictures

    for (source, _), partitions in found.items():
        counts = [count_pictures(settings, source, partition) for partition in partitions]
        cases, left, pictures = (sum(c) for c in zip(*counts, strict=True)) if counts else (0, 0, 0)
        typer.echo(f"{source}: {cases} cases of {len(partitions)} partitions, {left} left, at most {pictures} pictures")
