"""``its plan``: what a study or a trial would tell and cost, before it is run. Parses, calls ``planning``, prints."""

from typing import Annotated

import typer

from itrialspace_assets.cli.options import Folder, SecondsPerAnswer, SecondsPerCt, load, mode_key

#: Numbers of cases that are looked at where none are given (ours).
_CASES = (50, 100, 200, 500, 1000, 2000)

app = typer.Typer(no_args_is_help=True, help="See what a study or trial would tell and cost, before it is run.")


@app.command()
def power(
    file: Annotated[
        str,
        typer.Argument(
            help="Study or trial: its file, a study's name, a trial's number or key (demo, 2, x_mine.yaml)."
        ),
    ],
    cases: Annotated[
        str | None,
        typer.Option(
            help="Numbers of cases, separated by commas. Default: those of the trial at both sizes, 50 to 2000."
        ),
    ] = None,
    pilot: Annotated[
        str | None,
        typer.Option(
            help="Take value and correlations from the answers to this mode or real-DATASET of the frozen split."
        ),
    ] = None,
    source: Annotated[str | None, typer.Option(help="Image source of the pilot. Default: the first enabled.")] = None,
    reader: Annotated[
        str | None, typer.Option(help="Reader of the pilot. Default: the study's, else the first enabled.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Second reader of the pilot, for the difference of the two.")
    ] = None,
    value: Annotated[float, typer.Option("--expected", help="Expected value of the primary number.")] = 0.8,
    icc_host: Annotated[float, typer.Option(help="Assumed correlation of two cases of one host.")] = 0.1,
    icc_donor: Annotated[float, typer.Option(help="Assumed correlation of two cases of one donor.")] = 0.05,
    correlation: Annotated[float, typer.Option(help="Assumed correlation of two readers on the same case.")] = 0.5,
    cases_per_host: Annotated[
        float | None,
        typer.Option(help="Cases of each host. Default: the trial's most, the pilot's, else 2.", min=1, max=1e9),
    ] = None,
    cases_per_donor: Annotated[
        float | None,
        typer.Option(help="Cases of each donor. Default: the trial's most, the pilot's, else 3.", min=1, max=1e9),
    ] = None,
    hosts: Annotated[
        int | None, typer.Option(help="Host persons that there are. Default: as many as are needed.", min=1, max=10**9)
    ] = None,
    donors: Annotated[
        int | None, typer.Option(help="Donor persons that there are. Default: as many as are needed.", min=1, max=10**9)
    ] = None,
    negatives: Annotated[
        float, typer.Option(help="Slices without a nodule for each with one.", min=0.01, max=1e6)
    ] = 1.0,
    chance: Annotated[float, typer.Option("--power", help="Chance with which the least difference is found.")] = 0.8,
    a_ct: SecondsPerCt = None,
    an_answer: SecondsPerAnswer = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    folder: Folder = None,
) -> None:
    """Say for numbers of cases how wide intervals would be, which differences would be found, and what it would cost.

    The number is the primary endpoint of the study (of ITRIALSPACE_STUDY for a trial, whose cases are those of an arm).
    Differences are of one comparison at the study's alpha, not corrected. Hours are of one GPU or one process; seconds
    are those measured in this root.

    Example: `its plan power virtual_lesion_study --expected 0.85 --seconds-per-ct 60 --seconds-per-answer 0.5`

    Example: `its plan power 2 --pilot m02_size_detection_curve --dir .demo`

    Result: a table on the screen; nothing is written.
    """
    import json
    from dataclasses import replace

    from itrialspace_assets.analysis.planning.asked import asked, pilot_of, readers_of
    from itrialspace_assets.analysis.planning.cost import cost_of
    from itrialspace_assets.analysis.planning.known import Assumed, assumed, from_pilot
    from itrialspace_assets.analysis.planning.table import power_table
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.cli.show import show

    settings = load(folder)
    study, arms = asked(settings, mode_key(file))
    of = Assumed(
        value=value,
        icc_host=icc_host,
        icc_donor=icc_donor,
        correlation=correlation,
        negatives=negatives,
        cases_per_host=cases_per_host or (arms.per_host if arms else 2),
        cases_per_donor=cases_per_donor or (arms.per_donor if arms else 3),
    )
    if pilot is None and (source or reader or against):
        raise ConfigError("--source, --reader and --against: expected with --pilot")
    if pilot is not None:
        known = from_pilot(settings, study, pilot_of(settings, study, mode_key(pilot), source, reader, against), of)
        if cases_per_host or arms:
            known = replace(known, cases_per_host=of.cases_per_host)
        if cases_per_donor or arms:
            known = replace(known, cases_per_donor=of.cases_per_donor)
    else:
        known = assumed(study.primary, of)
    try:
        numbers = [int(word) for word in cases.split(",")] if cases else [*_CASES, *(arms.cases if arms else ())]
    except ValueError:
        raise ConfigError(f"--cases {cases!r}: expected whole numbers with commas, for example 100,200,400") from None
    cost = cost_of(settings, study, readers_of(settings, study), 1 + negatives, a_ct, an_answer)
    table = power_table(study, known, numbers, power=chance, hosts=hosts, donors=donors, cost=cost)
    first = study.primary
    title = f"{first.metric} of {first.task}, condition {first.condition}; alpha {study.alpha:g}, power {chance:g}"
    parts = [
        f"{part.what}: {'unknown' if part.seconds is None else f'{part.seconds:.3g} s a case'} ({part.origin})"
        for part in cost.parts
    ]
    if as_json:
        said = {"study": study.study, "number": title, "from": known.origin, "cost": parts, "rows": table.to_dicts()}
        typer.echo(json.dumps(said, indent=1))
        return
    show(table, title)
    for line in (*known.origin, *parts):
        typer.echo(line)
    typer.echo(
        "width: of the interval. from_a_value, between_readers: least differences that are found. equivalent_within: "
        "least margin that two equal readers are shown to keep"
    )
