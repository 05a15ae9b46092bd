"""``its-trials --mode NAME``: the published system's command and options, answered by our planner.

Each option becomes a field of the trial's cohort; what an option cannot mean in a mode is refused by name.
Exit codes as published: 0 ok, 1 unknown mode or nothing to plan from, 2 bad usage.
"""

import shutil
from pathlib import Path
from typing import Annotated

import typer

#: Published mode names -> our keys.
NAMES = {
    "controlled_prevalence": 1,
    "size_detection_curve": 2,
    "location_sensitivity": 3,
    "demographic_strat": 4,
    "counterfactual": 5,
    "cross_dataset": 6,
    "bootstrap_confidence": 7,
    "algorithm_comparison": 8,
    "screening_simulation": 9,
    "multi_nodule": 10,
    "digital_twin_isolation": 11,
    "digital_twin_complete": 12,
    "digital_twin_cross": 13,
}
_SITED = (1, 4, 5, 7, 8, 9)
#: Option -> (field of the cohort, modes in which it means something).
FIELDS: dict[str, tuple[str, tuple[int, ...]]] = {
    "n_cases": ("n_cases", (1, 5, 6, 7, 8, 10)),
    "n_per_bucket": ("n_cases", (2,)),
    "n_per_lobe": ("n_cases", (3,)),
    "n_per_stratum": ("n_cases", (4,)),
    "n_cases_per_round": ("n_cases", (9,)),
    "prevalence": ("prevalence.value", (1, 4, 7, 8, 9)),
    "label": ("label", (2, 3)),
    "n_bootstrap": ("n_bootstrap", (7,)),
    "n_rounds": ("n_rounds", (9,)),
    "companion_strategy": ("companions", (1, 8)),
    "template": ("site", _SITED),
    "max_nodules_per_patient": ("max_nodules_per_scan", (11,)),
    "iso_label": ("label", (11, 12, 13)),
    "max_patients": ("max_patients", (11, 12)),
    "max_host_patients": ("max_hosts", (13,)),
    "max_donor_patients": ("max_donor_patients", (13,)),
    "max_donor_nodules": ("max_donor_nodules", (13,)),
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def plan(
    mode: Annotated[str, typer.Option(help=f"One of {', '.join(NAMES)}.")],
    output_dir: Annotated[Path, typer.Option(help="Folder that the manifests are copied to.")] = Path("output"),
    size: Annotated[str, typer.Option(help="Column of the trial's sizes.")] = "paper",
    seed: Annotated[int, typer.Option(help="Root of every draw.")] = 42,
    verify_paths: Annotated[bool, typer.Option(help="Look whether the inputs of the manifest are there.")] = True,
    template: Annotated[str | None, typer.Option(help="Site: NLST, NELSON, UKLS, DANTE, MILD.")] = None,
    n_cases: Annotated[int | None, typer.Option(min=1)] = None,
    prevalence: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    label: Annotated[int | None, typer.Option(min=0, max=1)] = None,
    n_per_bucket: Annotated[int | None, typer.Option(min=1)] = None,
    n_per_lobe: Annotated[int | None, typer.Option(min=1)] = None,
    n_per_stratum: Annotated[int | None, typer.Option(min=1)] = None,
    diam_min: Annotated[float | None, typer.Option(min=0)] = None,
    diam_max: Annotated[float | None, typer.Option(min=0)] = None,
    vary_param: Annotated[
        str | None, typer.Option(help="Only malignancy_prevalence; copy the trial file for another.")
    ] = None,
    values: Annotated[str | None, typer.Option(help="Swept values, separated by commas.")] = None,
    datasets: Annotated[str | None, typer.Option(help="Donor datasets of mode 6, separated by commas.")] = None,
    n_bootstrap: Annotated[int | None, typer.Option(min=1)] = None,
    n_rounds: Annotated[int | None, typer.Option(min=1)] = None,
    n_cases_per_round: Annotated[int | None, typer.Option(min=1)] = None,
    companion_strategy: Annotated[
        str | None, typer.Option(help="none, all_companions, ipsilateral, same_lobe.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Dataset of a twin mode.")] = None,
    max_patients: Annotated[int | None, typer.Option(min=1)] = None,
    all_patients: Annotated[bool, typer.Option("--all-patients")] = False,
    max_nodules_per_patient: Annotated[int | None, typer.Option(min=1, help="Per scan.")] = None,
    iso_label: Annotated[int | None, typer.Option(min=0, max=1)] = None,
    diameter_min: Annotated[float | None, typer.Option(min=0)] = None,
    diameter_max: Annotated[float | None, typer.Option(min=0)] = None,
    host_dataset: Annotated[str | None, typer.Option()] = None,
    donor_dataset: Annotated[str | None, typer.Option()] = None,
    max_host_patients: Annotated[int | None, typer.Option(min=1)] = None,
    all_host_patients: Annotated[bool, typer.Option("--all-host-patients")] = False,
    max_donor_patients: Annotated[int | None, typer.Option(min=1)] = None,
    all_donor_patients: Annotated[bool, typer.Option("--all-donor-patients")] = False,
    max_donor_nodules: Annotated[int | None, typer.Option(min=1)] = None,
    exclude_training: Annotated[
        str | None, typer.Option(help="Datasets that a model saw, separated by commas.")
    ] = None,
    relax: Annotated[bool, typer.Option("--relax")] = False,
) -> None:
    """Plan one mode and copy its manifests: `its-trials --mode controlled_prevalence --n-cases 500`."""
    given = {k: v for k, v in locals().items() if v is not None and v is not False}
    number = NAMES.get(mode)
    if number is None:
        typer.echo(f"Error: --mode {mode!r}: expected one of {', '.join(NAMES)}", err=True)
        raise typer.Exit(1)
    if vary_param not in (None, "malignancy_prevalence"):
        raise typer.BadParameter(
            "another parameter is a trial file of your own: its trials new NAME --from 5", param_hint="--vary-param"
        )
    for capped, every in (
        ("max_patients", all_patients),
        ("max_host_patients", all_host_patients),
        ("max_donor_patients", all_donor_patients),
    ):
        if capped in given and every:
            raise typer.BadParameter(f"give --{capped.replace('_', '-')} or --all-..., not both")
    _run(number, given, output_dir)


def overrides(number: int, given: dict[str, object]) -> list[str]:
    """``cohort.<field>=<value>`` of the options.

    Raises:
        ConfigError: an option that means nothing in this mode.
    """
    from itrialspace_assets.base.errors import ConfigError

    out = []
    for option, (field, modes) in FIELDS.items():
        if option in given:
            if number not in modes:
                raise ConfigError(f"--{option.replace('_', '-')}: means nothing in this mode")
            out.append(f"cohort.{field}={given[option]}")
    low = given.get("diam_min", given.get("diameter_min"))
    high = given.get("diam_max", given.get("diameter_max"))
    if low is not None or high is not None:
        out.append(f"cohort.donors.diameter_mm=[{low or 0}, {high or 1000}]")
    lists = {"values": "values", "datasets": "datasets", "exclude_training": "exclude_training"}
    out += [f"cohort.{field}=[{given[name]}]" for name, field in lists.items() if name in given]
    if "dataset" in given:
        out.append(f"cohort.datasets=[{given['dataset']}]")
    for name, side in (("host_dataset", "hosts"), ("donor_dataset", "donors")):
        if name in given:
            out.append(f"cohort.{side}.datasets=[{given[name]}]")
    for name, field in (
        ("all_patients", "max_patients"),
        ("all_host_patients", "max_hosts"),
        ("all_donor_patients", "max_donor_nodules"),
    ):
        if name in given:
            out.append(f"cohort.{field}=null")
    return out


def _run(number: int, given: dict[str, object], output_dir: Path) -> None:
    from itrialspace_assets import drive
    from itrialspace_assets.base.settings import require_data_root
    from itrialspace_assets.cli.options import load
    from itrialspace_assets.records.layout import MODES, published_mode
    from itrialspace_assets.trials.published import manifest_files

    fields = overrides(number, given)
    settings = load(
        size=given["size"], seed=given["seed"], relax=given.get("relax"), overrides=";".join(fields) or None
    )
    chosen = drive.choose(settings, str(number), None, None, "plan")
    require_data_root(settings)
    if drive.drive(settings, chosen):
        raise typer.Exit(1)
    mode = MODES[number - 1]
    base = settings.output / "manifests" / published_mode(mode)
    for path in manifest_files(settings, mode):
        target = output_dir / published_mode(mode) / path.relative_to(base)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    if given.get("verify_paths"):
        _missing(settings, mode)
    typer.echo(f"Manifests: {output_dir / published_mode(mode)}")


def _missing(settings: object, mode: str) -> None:
    """Say which inputs of a manifest are not there; the exit code does not change."""
    from itrialspace_assets.records.text_tables import read_csv
    from itrialspace_assets.trials.published import manifest_files

    columns = ["host_ct_path", "host_organ_seg_path", "donor_nodule_mask_path", "donor_ct_path"]
    for path in manifest_files(settings, mode):  # type: ignore[arg-type]
        if path.suffix == ".csv" and path.name not in ("arms.csv", "balance.csv"):
            rows = read_csv(path)
            for column in columns:
                lost = [p for p in rows[column].drop_nulls().unique().sort() if not (settings.data / p).exists()]  # type: ignore[attr-defined]
                if lost:
                    typer.echo(f"{path.stem}: {column}: {len(lost)} files are not there, first {lost[0]}")


def main() -> None:
    """Entry point of ``its-trials``."""
    from itrialspace_assets.cli.options import run_app

    run_app(app)


if __name__ == "__main__":
    main()
