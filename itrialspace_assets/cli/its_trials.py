"""``its-trials --mode NAME``: the command and options of the published system, on our planner.

Each option becomes a field of the trial; an option that has no meaning in a mode is refused by name.
Exit codes as published: 0 done, 1 unknown mode or nothing to plan from, 2 wrong usage.
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
#: Option -> (field of the trial, modes in which it means something).
FIELDS: dict[str, tuple[str, tuple[int, ...]]] = {
    "n_cases": ("cohort.n_cases", (1, 5, 6, 7, 8, 10)),
    "n_per_bucket": ("cohort.n_cases", (2,)),
    "n_per_lobe": ("cohort.n_cases", (3,)),
    "n_per_stratum": ("cohort.n_cases", (4,)),
    "n_cases_per_round": ("cohort.n_cases", (9,)),
    "prevalence": ("cohort.prevalence.value", (1, 4, 7, 8, 9)),
    "label": ("cohort.label", (2, 3)),
    "n_bootstrap": ("cohort.n_bootstrap", (7,)),
    "n_rounds": ("cohort.n_rounds", (9,)),
    "companion_strategy": ("cohort.companions", (1, 8, 10)),
    "template": ("cohort.site", _SITED),
    "max_nodules_per_patient": ("cohort.max_nodules_per_scan", (11,)),
    "iso_label": ("cohort.label", (11, 12, 13)),
    "max_patients": ("cohort.max_patients", (11, 12)),
    "max_host_patients": ("cohort.max_hosts", (13,)),
    "max_donor_patients": ("cohort.max_donor_patients", (13,)),
    "max_donor_nodules": ("cohort.max_donor_nodules", (13,)),
    "prevalence_decay": ("arms_from.decay", (9,)),
    "pairing_policy": ("twin.pairing", (13,)),
    "n_hosts_per_donor": ("twin.n_hosts_per_donor", (13,)),
    "placement_strategy": ("twin.placement", (13,)),
}
#: Arms of mode 10: scans with one nodule, and with several.
_SINGLE, _MULTI = "single", "multi"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")


@app.command()
def plan(
    mode: Annotated[str, typer.Option(help=f"One of {', '.join(NAMES)}.")],
    output_dir: Annotated[Path, typer.Option(help="Folder for copies of the manifests.")] = Path("output"),
    size: Annotated[str, typer.Option(help="Size of the trial: demo or paper.")] = "paper",
    seed: Annotated[int, typer.Option(help="Seed of every random draw.")] = 42,
    verify_paths: Annotated[bool, typer.Option(help="List inputs of the manifests that are missing.")] = True,
    template: Annotated[
        str | None, typer.Option(help="Screening trial to calibrate to: NLST, NELSON, UKLS, DANTE, MILD.")
    ] = None,
    n_cases: Annotated[int | None, typer.Option(min=1)] = None,
    prevalence: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    label: Annotated[int | None, typer.Option(min=0, max=1)] = None,
    n_per_bucket: Annotated[int | None, typer.Option(min=1)] = None,
    n_per_lobe: Annotated[int | None, typer.Option(min=1)] = None,
    n_per_stratum: Annotated[int | None, typer.Option(min=1)] = None,
    diam_min: Annotated[float | None, typer.Option(min=0)] = None,
    diam_max: Annotated[float | None, typer.Option(min=0)] = None,
    vary_param: Annotated[
        str | None, typer.Option(help="Only malignancy_prevalence. For another, copy the trial file.")
    ] = None,
    values: Annotated[str | None, typer.Option(help="Values of the varied parameter, separated by commas.")] = None,
    datasets: Annotated[str | None, typer.Option(help="Donor datasets of mode 6, separated by commas.")] = None,
    n_bootstrap: Annotated[int | None, typer.Option(min=1)] = None,
    n_rounds: Annotated[int | None, typer.Option(min=1)] = None,
    n_cases_per_round: Annotated[int | None, typer.Option(min=1)] = None,
    prevalence_decay: Annotated[
        float | None, typer.Option(help="Prevalence of a round over that of the round before.", min=0, max=1)
    ] = None,
    companion_strategy: Annotated[
        str | None, typer.Option(help="none, all_companions, ipsilateral, same_lobe.")
    ] = None,
    multi_nodule_fraction: Annotated[
        float | None, typer.Option(help="Share of cases in scans with several nodules.", min=0, max=1)
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
    donor_transfer_mode: Annotated[
        str | None, typer.Option(help="single, or complete: every nodule of a donor's patient into one host.")
    ] = None,
    pairing_policy: Annotated[
        str | None, typer.Option(help="one_to_one, one_to_many_hosts, donor_patient_complete.")
    ] = None,
    n_hosts_per_donor: Annotated[int | None, typer.Option(help="With one_to_many_hosts.", min=1)] = None,
    placement_strategy: Annotated[
        str | None, typer.Option(help="profile_faithful_transfer, host_constrained_transfer.")
    ] = None,
    exclude_training: Annotated[
        str | None, typer.Option(help="Datasets that a model was trained on, separated by commas.")
    ] = None,
    relax: Annotated[bool, typer.Option("--relax")] = False,
) -> None:
    """Plan one mode of the published system and copy its manifests.

    Data root and output folder are ITRIALSPACE_DATA_DIR and ITRIALSPACE_OUTPUT_DIR.

    Example: `its-trials --mode controlled_prevalence --n-cases 500`

    Result: manifests in the folder of `--output-dir`; the last line names it.
    """
    given = {k: v for k, v in locals().items() if v is not None and v is not False}
    number = NAMES.get(mode)
    if number is None:
        typer.echo(f"Error: --mode {mode!r}: expected one of {', '.join(NAMES)}", err=True)
        raise typer.Exit(1)
    if vary_param not in (None, "malignancy_prevalence"):
        raise typer.BadParameter(
            "for another parameter, copy the trial file with `its trials new NAME --from 5` and edit it",
            param_hint="--vary-param",
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
    """``<path>=<value>`` of the options, as ``--set`` takes them.

    Raises:
        ConfigError: an option that has no meaning in this mode, or two that contradict each other.
    """
    from itrialspace_assets.base.errors import ConfigError

    out = []
    for option, (field, modes) in FIELDS.items():
        if option in given:
            if number not in modes:
                raise ConfigError(f"--{option.replace('_', '-')}: means nothing in this mode")
            arm = f"arms.{_MULTI}." if (number, option) == (10, "companion_strategy") else ""
            out.append(f"{arm}{field}={given[option]}")
    out += _transfer(number, given) + _fraction(number, given)
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


def _transfer(number: int, given: dict[str, object]) -> list[str]:
    """The pairing that a transfer mode means; in the published system it is only recorded.

    Raises:
        ConfigError: another mode than 13, another word, or a pairing that contradicts it.
    """
    from itrialspace_assets.base.errors import ConfigError

    if (transfer := given.get("donor_transfer_mode")) is None:
        return []
    whole = "donor_patient_complete"
    pairing = given.get("pairing_policy", whole if transfer == "complete" else "one_to_one")
    if number != 13:
        raise ConfigError("--donor-transfer-mode: means nothing in this mode")
    if transfer not in ("single", "complete"):
        raise ConfigError(f"--donor-transfer-mode: expected single or complete, got {transfer!r}")
    if (transfer == "complete") != (pairing == whole):
        raise ConfigError(
            f"--donor-transfer-mode {transfer}: contradicts --pairing-policy {pairing}: {whole} is complete, the "
            "others are single"
        )
    return [] if "pairing_policy" in given else [f"twin.pairing={pairing}"]


def _fraction(number: int, given: dict[str, object]) -> list[str]:
    """The shares of the two arms of mode 10.

    Raises:
        ConfigError: another mode, or a share that leaves an arm empty.
    """
    from itrialspace_assets.base.errors import ConfigError

    if (share := given.get("multi_nodule_fraction")) is None:
        return []
    if number != 10:
        raise ConfigError("--multi-nodule-fraction: means nothing in this mode")
    rest = round(1 - float(str(share)), 9)
    if not 0 < rest < 1:
        raise ConfigError(f"--multi-nodule-fraction: expected a share between 0 and 1, got {share}")
    return [f"arms.{_SINGLE}.share={rest}", f"arms.{_MULTI}.share={share}"]


def _run(number: int, given: dict[str, object], output_dir: Path) -> None:
    from itrialspace_assets import drive
    from itrialspace_assets.base.settings import require_data_root
    from itrialspace_assets.cli.options import load
    from itrialspace_assets.records.layout import MODES, published_mode
    from itrialspace_assets.trials.published import manifest_files, missing_inputs

    fields = overrides(number, given)
    settings = load(
        size=given["size"], seed=given["seed"], relax=given.get("relax"), overrides=";".join(fields) or None
    )
    if "n_hosts_per_donor" in given and given.get("pairing_policy") != "one_to_many_hosts":
        typer.echo("note: --n-hosts-per-donor counts only with --pairing-policy one_to_many_hosts", err=True)
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
        for stem, column, lost in missing_inputs(settings, mode):
            typer.echo(f"{stem}: {column}: {len(lost)} files are missing, the first is {lost[0]}")
    typer.echo(f"Result: {output_dir / published_mode(mode)}")


def main() -> None:
    """Entry point of ``its-trials``."""
    from itrialspace_assets.cli.options import run_app

    run_app(app)


if __name__ == "__main__":
    main()
