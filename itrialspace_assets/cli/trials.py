"""``its trials``: list, show, new, plan, feasibility, validate, diff. Parses, calls ``trials``, prints."""

from pathlib import Path
from typing import Annotated, Any

import typer

from itrialspace_assets.cli.options import Folder, Workers, load

app = typer.Typer(no_args_is_help=True, help="Trial files: look at them, make your own, see what is possible, plan.")

Which = Annotated[
    str, typer.Argument(help="Mode number or key (5, m05_counterfactual, x_mine), or a trial file such as x_mine.yaml.")
]
Size = Annotated[str | None, typer.Option(help="Column of the trial's sizes: demo or paper.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Set a field of the cohort, repeatable: cohort.n_cases=1000.")
]


def _settings(
    which: str, folder: Path | None, size: str | None = None, overrides: list[str] | None = None, **more: Any
) -> tuple[Any, str]:
    """Settings in which a trial is a mode, and its key; a file brings its own folder along."""
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.records.layout import MODES
    from itrialspace_assets.trials.files import trial_files

    given = {"overrides": ";".join(overrides)} if overrides else {}
    path = Path(which)
    if path.suffix in (".yaml", ".yml"):
        if not path.stem.startswith("x_"):
            raise ConfigError(f"{which}: expected a file named x_<name>.yaml; its name is the mode's key")
        return load(folder, size=size, trials_dir=path.absolute().parent, **given, **more), path.stem
    settings = load(folder, size=size, **given, **more)
    if which.isdigit() and 1 <= int(which) <= len(MODES):
        return settings, MODES[int(which) - 1]
    if which not in trial_files(settings):
        from itrialspace_assets.trials.files import load_trial

        load_trial(settings, which)  # says what is expected
    return settings, which


@app.command("list")
def list_trials(folder: Folder = None) -> None:
    """Every trial with its question, its arms, and its cases at both sizes."""
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
            s: str(sum(a.cases or 0 for a in r.arms)) if trial.planner == "sampled" else "as the data have"
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
    """A trial as it would be planned: every arm with its cohort."""
    import yaml

    from itrialspace_assets.trials.build import resolved_trial

    settings, key = _settings(which, folder, size, overrides)
    resolved = resolved_trial(settings, key)
    typer.echo(f"{key} at size {resolved.size}: {resolved.trial.question}")
    for arm in resolved.arms:
        cohort = arm.cohort.model_dump(mode="json", exclude_defaults=True)
        typer.echo(
            f"\narm {arm.name} ({arm.varies} = {arm.level}), "
            f"{arm.cases if arm.cases is not None else 'as many as there are'} cases, file "
            f"{arm.folder}{arm.published}.csv"
        )
        typer.echo(yaml.safe_dump(cohort, sort_keys=False, default_flow_style=None).rstrip() if cohort else "{}")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of your trial: letters, digits, _.")],
    source: Annotated[str, typer.Option("--from", help="Trial to copy: mode number or key.")] = "1",
    out: Annotated[
        Path | None,
        typer.Option("--dir-out", help="Folder of your trials; else ITRIALSPACE_TRIALS_DIR, else ./trials."),
    ] = None,
    folder: Folder = None,
) -> None:
    """Copy a trial file to edit: it becomes a mode of its own and runs through the whole graph."""
    import re

    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.base.fingerprints import replace_file
    from itrialspace_assets.trials.files import read_trial, trial_files

    if not re.fullmatch(r"[a-z0-9_]{1,38}", name):
        raise ConfigError(f"{name!r}: expected small letters, digits and _ (at most 38)")
    settings, key = _settings(source, folder)
    target = (out or settings.trials_dir or Path("trials")) / f"x_{name}.yaml"
    if target.exists():
        raise ConfigError(f"{target}: is already there; choose another name")
    text = trial_files(settings)[key].read_text(encoding="utf-8")
    text = re.sub(r"(?m)^mode: .*$", f"mode: x_{name}", text, count=1)
    text = re.sub(r"(?m)^trial: .*$", f"trial: {name}", text, count=1)
    schema = Path(__file__).parents[1] / "trials" / "trial.schema.json"
    text = re.sub(
        r"(?m)^# yaml-language-server: .*$", f"# yaml-language-server: $schema={schema.as_uri()}", text, count=1
    )
    replace_file(target, text.encode())
    read_trial(target)
    typer.echo(f"Edit {target}, then: ITRIALSPACE_TRIALS_DIR={target.parent} its run --modes x_{name}")


@app.command()
def plan(
    which: Annotated[list[str], typer.Argument(help="all, or mode numbers, keys and files.")],
    size: Size = None,
    overrides: Set = None,
    relax: Annotated[
        bool, typer.Option("--relax", help="Give up constraints of an infeasible trial, and record each.")
    ] = False,
    workers: Workers = None,
    folder: Folder = None,
) -> None:
    """Plan trials: tables, published manifests, balance. What is before (profiles, hosts, index) is brought up to date.

    An infeasible trial is refused with the constraint that binds; nothing of it is written.
    """
    from itrialspace_assets import drive
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.base.settings import require_data_root

    given = [_settings(w, folder, size, overrides, relax=relax or None, workers=workers) for w in which if w != "all"]
    if len({s.trials_dir for s, _ in given if s.trials_dir}) > 1:
        raise ConfigError("expected trial files of one folder; plan those of another in a call of their own")
    settings = next(
        (s for s, _ in given if s.trials_dir),
        given[0][0] if given else _settings("1", folder, size, overrides, relax=relax or None, workers=workers)[0],
    )
    modes = ",".join(["all" for w in which if w == "all"] + [key for _, key in given])
    chosen = drive.choose(settings, modes, None, None, "plan")
    require_data_root(settings)
    failed = drive.drive(settings, chosen)
    if failed:
        raise typer.Exit(1)
    from itrialspace_assets.records.layout import published_mode

    for mode in chosen.modes:
        typer.echo(f"Manifests: {settings.output / 'manifests' / published_mode(mode)}")


@app.command()
def feasibility(which: Which, size: Size = None, overrides: Set = None, folder: Folder = None) -> None:
    """Count donors and hosts after each constraint; name the one that binds, and what a relaxation brings and costs.

    Exits with 1 where an arm is infeasible as asked.
    """
    import polars as pl

    from itrialspace_assets.base.settings import require_data_root
    from itrialspace_assets.cli.show import show
    from itrialspace_assets.trials.build import pool_of, resolved_trial, seed_of
    from itrialspace_assets.trials.feasibility import feasibility as study
    from itrialspace_assets.trials.sites import sites

    settings, key = _settings(which, folder, size, overrides)
    require_data_root(settings)
    resolved = resolved_trial(settings, key)
    frame = study(resolved, pool_of(settings)[0], sites(settings), seed_of(settings, resolved))
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
    """Check a trial file, and its manifest if it is planned, against every rule."""
    from itrialspace_assets.records.store import read_table, table_path
    from itrialspace_assets.trials.build import resolved_trial
    from itrialspace_assets.trials.files import load_trial
    from itrialspace_assets.trials.resolve import resolve
    from itrialspace_assets.trials.verify import broken_rules, far_from_asked

    settings, key = _settings(which, folder, size)
    resolved = resolved_trial(settings, key)
    typer.echo(f"{key}: the file is right; {len(resolved.arms)} arms at size {resolved.size}")
    if not table_path(settings.output, "cases", mode=key).exists():
        typer.echo("no manifest is planned yet: its trials plan " + which)
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
        f"manifest of size {row['size']}: {cases.height} cases, {nodules.height} nodules, {len(problems)} rules broken"
    )
    if problems:
        raise typer.Exit(1)


@app.command()
def diff(
    first: Which,
    second: Which,
    size: Size = None,
    other: Annotated[str | None, typer.Option("--other-size", help="Size of the second, if another.")] = None,
    folder: Folder = None,
) -> None:
    """What two trials (or one at two sizes) are asked differently."""
    import polars as pl

    from itrialspace_assets.cli.show import show
    from itrialspace_assets.trials.build import resolved_content, resolved_trial

    flat: list[dict[str, str]] = []
    for which, at in ((first, size), (second, other or size)):
        settings, key = _settings(which, folder, at)
        content = resolved_content(resolved_trial(settings, key))
        arms = {a.pop("name"): a for a in content["arms"]}
        flat.append(
            dict(
                _flat(
                    {
                        "trial": {k: v for k, v in content["trial"].items() if k not in ("sizes", "arms", "cohort")},
                        "size": content["size"],
                        "arm": arms,
                    }
                )
            )
        )
    rows = [
        {"field": k, first: flat[0].get(k, "(not there)"), f"{second} ": flat[1].get(k, "(not there)")}
        for k in sorted({*flat[0], *flat[1]})
        if flat[0].get(k) != flat[1].get(k)
    ]
    if rows:
        show(pl.DataFrame(rows, infer_schema_length=None), "Differences", 200)
    else:
        typer.echo("no difference")


def _flat(value: Any, path: str = "") -> Any:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, str(value)


@app.command()
def schema() -> None:
    """Print the JSON Schema of trial files, for editors."""
    import json

    from itrialspace_assets.trials.files import json_schema

    typer.echo(json.dumps(json_schema(), indent=1, sort_keys=True))
