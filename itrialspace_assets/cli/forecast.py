"""``its forecast``."""

from typing import Annotated

import typer

from itrialspace_assets.cli.options import Folder, SecondsPerAnswer, SecondsPerCt, Set, Size, load


def forecast(
    modes: Annotated[
        str | None,
        typer.Option(help="Mode numbers, ranges or keys: 1,2,11-13,x_mine. Default: the thirteen and your own trials."),
    ] = None,
    readers: Annotated[
        str | None, typer.Option(help="Readers, with commas, also ones that are off. Default: those that are enabled.")
    ] = None,
    size: Size = None,
    overrides: Set = None,
    a_ct: SecondsPerCt = None,
    an_answer: SecondsPerAnswer = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    folder: Folder = None,
) -> None:
    """Say what a run would take: cases, hours of a process and of a GPU, and disk space, stage by stage.

    Rates are those measured in this output folder; each line says on how many cases. What was never run here is
    unknown until a small trial was run or an option states it. Cases are those of the manifest where it is up to date,
    else those of the trial. Scans (profiles, hosts, index) and the reading of real slices are not counted.

    Example: `its forecast --modes 2 --size paper --dir .demo`

    Result: a table on the screen; nothing is made.
    """
    import json
    from dataclasses import asdict

    import polars as pl

    from itrialspace_assets import drive
    from itrialspace_assets.base.settings import require_data_root
    from itrialspace_assets.care.forecast import StatedRates
    from itrialspace_assets.care.forecast import forecast as forecast_of
    from itrialspace_assets.cli.show import show
    from itrialspace_assets.synthesis.estimate import GIB, free_bytes

    given = {"overrides": ";".join(overrides)} if overrides else {}
    settings = load(folder, size=size, **given)
    require_data_root(settings)
    keys = drive.choose(settings, modes, None, None, None).modes
    names = None if readers is None else [name.strip() for name in readers.split(",") if name.strip()]
    found = forecast_of(settings, keys, names, StatedRates(a_ct, an_answer))
    free = free_bytes(settings.output) / GIB
    sums = {"cpu_hours": found.hours(False), "gpu_hours": found.hours(True), "gib": found.gib, "free_gib": free}
    if as_json:
        planned = [{"mode": p.mode, "cases": p.cases, "from": p.origin} for p in found.modes]
        lines = [asdict(line) for line in found.lines]
        typer.echo(json.dumps({"modes": planned, "stages": lines, "sum": sums, "unknown": found.unknown}, indent=1))
        return
    show(pl.DataFrame([{"mode": p.mode, "cases": p.cases, "from": p.origin} for p in found.modes]), "Cases")
    rows = [
        {
            "asset": line.asset,
            "left": line.left,
            "seconds": None if line.seconds is None else f"{line.seconds:.3g} a {line.unit}",
            "on": "GPU" if line.gpu else "CPU",
            "hours": None if line.hours is None else f"{line.hours:.3g}",
            "GiB": None if line.gib is None else f"{line.gib:.3g}",
            "rate": line.base,
        }
        for line in found.lines
    ]
    show(pl.DataFrame(rows, infer_schema_length=None), "Forecast")
    typer.echo(
        f"Together: {sums['cpu_hours']:.3g} hours of one process, {sums['gpu_hours']:.3g} hours of one GPU, "
        f"{found.gib:.3g} GiB of {free:.3g} GiB free"
    )
    for line in found.unknown:
        typer.echo(f"Not in it: {line}")
