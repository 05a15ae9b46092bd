"""``its trials``: list, show, new, plan, feasibility, validate, diff, schema. Parses, calls ``trials``, prints."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from itrialspace_assets.cli.options import Folder, Relax, Set, Size, Workers, before_first, load, mode_key

if TYPE_CHECKING:
    from itrialspace_assets.base.settings import Settings

app = typer.Typer(no_args_is_help=True, help="List, copy, check and plan trials.")

Which = Annotated[
    str,
    typer.Argument(help="Mode number or key (5, m05_counterfactual, x_mine), or a trial file (trials/x_mine.yaml)."),
]


def _is_file(word: str) -> bool:
    return Path(word).suffix in (".yaml", ".yml")


def _settings(
    words: Sequence[str], folder: Path | None, overrides: list[str] | None = None, **given: Any
) -> "Settings":
    """Settings in which every trial that is asked for is a mode: the folder of a file becomes ``trials_dir``.

    Raises:
        ConfigError: a file is missing or has a wrong name, or the files lie in several folders.
    """
    from itrialspace_assets.base.errors import ConfigError

    files = [Path(word).absolute() for word in words if _is_file(word)]
    for file in files:
        if not (file.stem.startswith("x_") and file.suffix == ".yaml"):
            raise ConfigError(f"{file}: expected a trial file named x_<name>.yaml; its name is the key of the mode")
        if not file.is_file():
            raise ConfigError(f"{file}: expected a trial file, found none; make one with `its trials new NAME`")
    folders = sorted({file.parent for file in files})
    if len(folders) > 1:
        raise ConfigError(f"expected trial files of one folder, got {', '.join(map(str, folders))}; plan each alone")
    return load(
        folder, trials_dir=folders[0] if folders else None, overrides=";".join(overrides or ()) or None, **given
    )


def _key(word: str) -> str:
    return Path(word).stem if _is_file(word) else mode_key(word)


def _trial(word: str, folder: Path | None, overrides: list[str] | None = None, **given: Any) -> "tuple[Settings, str]":
    """Settings in which one trial is a mode, and its key.

    Raises:
        ConfigError: no such trial; lists those that there are.
    """
    from itrialspace_assets.trials.files import load_trial

    settings = _settings([word], folder, overrides, **given)
    load_trial(settings, _key(word))
    return settings, _key(word)


@app.command("list")
def list_trials(folder: Folder = None) -> None:
    """List every trial with its question, its arms, and its cases at both sizes.

    Example: `its trials list`

    Result: a table on the screen; nothing is written.
    """
    import polars as pl

    from itrialspace_assets.cli.show import show
    from itrialspace_assets.profiles.registry import datasets
    from itrialspace_assets.trials.files import load_trial, trial_files
    from itrialspace_assets.trials.resolve import resolve

    settings, rows = load(folder), []
    for key in trial_files(settings):
        trial = load_trial(settings, key)
        at = {size: resolve(trial, size, (), list(datasets(settings))) for size in trial.sizes}
        counts = {
            s: str(sum(a.cases or 0 for a in r.arms)) if trial.planner == "sampled" else "all available"
            for s, r in at.items()
        }
        rows.append(
            {
                "mode": key,
                "planner": trial.planner,
                "arms demo/paper": "/".join(str(len(r.arms)) for r in at.values()),
                **{f"cases {s}": c for s, c in counts.items()},
                "question": trial.question,
            }
        )
    show(pl.DataFrame(rows, infer_schema_length=None), "Trials", 100)


@app.command("show")
def show_trial(which: Which, size: Size = None, overrides: Set = None, folder: Folder = None) -> None:
    """Show a trial as it would be planned: every arm with its cohort.

    Example: `its trials show 2 --size paper`

    Result: text on the screen; nothing is written.
    """
    import yaml

    from itrialspace_assets.trials.build import resolved_trial

    settings, key = _trial(which, folder, overrides, size=size)
    resolved = resolved_trial(settings, key)
    typer.echo(f"{key} at size {resolved.size}: {resolved.trial.question}")
    for arm in resolved.arms:
        cohort = arm.cohort.model_dump(mode="json", exclude_defaults=True)
        typer.echo(
            f"\narm {arm.name} ({arm.varies} = {arm.level}), "
            f"{arm.cases if arm.cases is not None else 'all available'} cases, file "
            f"{arm.folder}{arm.published}.csv"
        )
        typer.echo(yaml.safe_dump(cohort, sort_keys=False, default_flow_style=None).rstrip() if cohort else "{}")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of your trial: small letters, digits and _.")],
    source: Annotated[str, typer.Option("--from", help="Trial to copy: mode number or key.")] = "1",
    out: Annotated[
        Path | None,
        typer.Option("--dir-out", help="Folder of your trials. Default: ITRIALSPACE_TRIALS_DIR, else ./trials."),
    ] = None,
    folder: Folder = None,
) -> None:
    """Copy a trial file for you to edit. It becomes a mode of its own and runs through every stage.

    Example: `its trials new mine --from 2`, then edit `trials/x_mine.yaml`, then `its trials plan trials/x_mine.yaml`

    Result: a file `x_NAME.yaml`; the last line names it.
    """
    from itrialspace_assets.trials.files import copy_trial

    settings = _settings([source], folder)
    own = out or settings.trials_dir or Path("trials")
    target = copy_trial(before_first(settings, "trials_dir"), _key(source), name, own)
    typer.echo(f"Next: edit the file, then run `its trials plan {target}`")
    typer.echo(f"Whole graph: ITRIALSPACE_TRIALS_DIR={target.parent} its run --modes {target.stem}")
    typer.echo(f"Result: {target}")


@app.command()
def plan(
    which: Annotated[list[str], typer.Argument(help="Mode numbers, ranges (1-13), keys, trial files, or all.")],
    size: Size = None,
    overrides: Set = None,
    relax: Relax = False,
    workers: Workers = None,
    folder: Folder = None,
) -> None:
    """Plan trials: manifests, planned cases, and balance (what was asked against what was planned).

    Profiles, hosts and index are updated first. An infeasible trial is refused with the constraint that binds; nothing
    of it is written. The folder of a trial file is its ITRIALSPACE_TRIALS_DIR for this call.

    Example: `its trials plan 1-13 --size paper`

    Example: `its trials plan trials/x_mine.yaml --dir .demo`

    Result: `manifests/` and tables in the output folder; the last lines name the manifests.
    """
    from itrialspace_assets import drive
    from itrialspace_assets.base.settings import require_data_root
    from itrialspace_assets.records.layout import published_mode

    settings = _settings(which, folder, overrides, size=size, relax=relax or None, workers=workers)
    modes = ",".join(Path(word).stem if _is_file(word) else word for word in which)
    chosen = drive.choose(settings, modes, None, None, "plan")
    require_data_root(settings)
    if drive.drive(settings, chosen):
        raise typer.Exit(1)
    for mode in chosen.modes:
        typer.echo(f"Result: {settings.output / 'manifests' / published_mode(mode)}")


@app.command()
def feasibility(which: Which, size: Size = None, overrides: Set = None, folder: Folder = None) -> None:
    """Count available donors and hosts after each constraint, and name the constraint that binds.

    Also says what each relaxation brings and costs. Feasible cases are counted up to twice what is asked. Profiles,
    hosts and index are made first where there are none. The exit code is 1 if an arm is
    infeasible.

    Example: `its trials feasibility 2 --set cohort.n_cases=300`

    Result: a table for each arm on the screen; nothing is written.
    """
    import polars as pl

    from itrialspace_assets.base.settings import require_data_root
    from itrialspace_assets.cli.earlier import candidates_first
    from itrialspace_assets.cli.show import progress, show
    from itrialspace_assets.trials.build import UNVERIFIED, refuse_unknown_ids, resolved_trial, seed_of
    from itrialspace_assets.trials.feasibility import feasibility as study
    from itrialspace_assets.trials.sites import sites
    from itrialspace_assets.trials.sources import pool_of

    settings, key = _trial(which, folder, overrides, size=size)
    require_data_root(settings)
    resolved = resolved_trial(settings, key)
    candidates_first(settings)
    with progress("trials", 1) as advance:
        pool, index = pool_of(settings)
        refuse_unknown_ids(settings, resolved, index)
        frame = study(resolved, pool, sites(settings), seed_of(settings, resolved))
        advance(1)
    for (arm,), rows in frame.group_by(["arm"], maintain_order=True):
        show(
            rows.sort("step").select(
                "of",
                "constraint",
                "left",
                "needed",
                pl.when("binding").then(pl.lit("binds")).otherwise(pl.lit("")).alias(""),
                "price",
            ),
            f"{key}, arm {arm}",
            200,
        )
    if not pool.verified:
        typer.echo(f"Note: {UNVERIFIED}")
    short = frame.filter((pl.col("of") == "cases") & pl.col("binding"))
    typer.echo(
        f"{resolved.trial.trial}: every arm is feasible as asked"
        if short.is_empty()
        else f"{resolved.trial.trial}: {short.height} of {len(resolved.arms)} arms are infeasible as asked"
    )
    if short.height:
        raise typer.Exit(1)


@app.command()
def validate(which: Which, size: Size = None, folder: Folder = None) -> None:
    """Check a trial file, and its manifest if there is one, against every rule.

    The exit code is 1 if a rule is broken, 2 if the file has a wrong key or value.

    Example: `its trials validate trials/x_mine.yaml`

    Result: broken rules on the screen; nothing is written.
    """
    from itrialspace_assets.records.store import read_table, table_path
    from itrialspace_assets.trials.build import resolved_trial
    from itrialspace_assets.trials.files import load_trial
    from itrialspace_assets.trials.resolve import resolve
    from itrialspace_assets.trials.verify import broken_rules, far_from_asked

    settings, key = _trial(which, folder, size=size)
    resolved = resolved_trial(settings, key)
    typer.echo(f"{key}: the file is valid; {len(resolved.arms)} arms at size {resolved.size}")
    if not table_path(settings.output, "cases", mode=key).exists():
        typer.echo(f"There is no manifest yet; make it with `its trials plan {which}`")
        return
    row = read_table(settings.output, "trials", mode=key).row(0, named=True)
    index = read_table(settings.output, "nodules")
    planned = resolve(
        load_trial(settings, key),
        row["size"],
        [o for o in row["overrides"].split(";") if o],
        index["dataset"].unique().sort().to_list(),
    )
    arms, cases, nodules, balance = (
        read_table(settings.output, t, mode=key) for t in ("arms", "cases", "case_nodules", "balance")
    )
    problems = broken_rules(planned, arms, cases, nodules, index)
    for line in [*problems, *(f"note: {x}" for x in far_from_asked(balance))]:
        typer.echo(line)
    typer.echo(
        f"Manifest of size {row['size']}: {cases.height} cases, {nodules.height} nodules, {len(problems)} rules broken"
    )
    if problems:
        raise typer.Exit(1)


@app.command()
def diff(
    first: Which,
    second: Which,
    size: Size = None,
    other: Annotated[
        str | None, typer.Option("--other-size", help="Size of the second. Default: that of the first.")
    ] = None,
    folder: Folder = None,
) -> None:
    """Show the differences between two trials, or between two sizes of one trial.

    Example: `its trials diff 2 2 --size demo --other-size paper`

    Result: a table on the screen; nothing is written.
    """
    import polars as pl

    from itrialspace_assets.cli.show import show
    from itrialspace_assets.trials.build import resolved_trial
    from itrialspace_assets.trials.differences import differences

    asked = ((first, size), (second, other or size))
    found = differences(*(resolved_trial(*_trial(which, folder, size=at)) for which, at in asked))
    if found:
        names = ["field", first, f"{second} "]  # a space: one trial at two sizes
        show(pl.DataFrame(found, schema=dict.fromkeys(names, pl.String), orient="row"), "Differences", 200)
    else:
        typer.echo("There is no difference")


@app.command()
def schema() -> None:
    """Print the JSON Schema of trial files, for editors.

    Example: `its trials schema > trial.schema.json`

    Result: text on the screen; nothing is written.
    """
    import json

    from itrialspace_assets.trials.files import json_schema

    typer.echo(json.dumps(json_schema(), indent=1, sort_keys=True))
