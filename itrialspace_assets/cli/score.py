"""``its score``: scores of a user's own files, outside the graph. Parses, calls ``api``, prints."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from itrialspace_assets.analysis.estimates.detection import NotedEstimate
    from itrialspace_assets.analysis.estimates.mrmc import Test

app = typer.Typer(no_args_is_help=True, help="Score your own files: marks on scans, reader studies, scored cases.")

Json = Annotated[bool, typer.Option("--json", help="Print every number as JSON.")]
Alpha = Annotated[float, typer.Option(help="0.05 gives 95 % intervals.")]


@app.command()
def froc(
    marks: Annotated[
        Path, typer.Option(help="Marks: CSV or Parquet with seriesuid, coordX, coordY, coordZ (mm), probability.")
    ],
    annotations: Annotated[
        Path, typer.Option(help="Nodules: CSV or Parquet with seriesuid, coordX, coordY, coordZ, diameter_mm.")
    ],
    excluded: Annotated[
        Path | None, typer.Option(help="Findings that may be marked or not, in the columns of the nodules.")
    ] = None,
    scans: Annotated[
        Path | None,
        typer.Option(
            help="Ids of all scans, one a line. Without it scans that have no nodule and no mark are missing."
        ),
    ] = None,
    rules: Annotated[
        str, typer.Option(help="How marks are counted: ours, or luna16 for the rules of that challenge.")
    ] = "ours",
    replicates: Annotated[int, typer.Option(help="Resamples of the scans for the intervals.", min=0)] = 1000,
    alpha: Alpha = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of the resamples.", min=0)] = 42,
    as_json: Json = False,
) -> None:
    """Score marks on scans: sensitivity at seven rates of false marks, their mean (CPM), AFROC and wAFROC.

    Takes the files of the LUNA16 challenge as they are. A wrong value is named by its file, row (from 0) and column.

    Example: `its score froc --marks marks.csv --annotations annotations.csv --scans seriesuids.csv --rules luna16`

    Result: a table on the screen; nothing is written.
    """
    from itrialspace_assets import api

    found = api.froc(marks, annotations, excluded, scans, rules=rules, replicates=replicates, alpha=alpha, seed=seed)
    if as_json:
        return _print_json(found)
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(
        f"{found.n_scans} scans, {found.n_lesion_free_scans} of them without a nodule; {found.n_nodules} nodules, "
        f"{found.n_found} of them marked; {found.n_marks} marks, {found.n_false} of them false"
    )
    typer.echo(
        f"Not counted: {found.n_repeated} further hits, {found.n_on_excluded} on excluded findings, "
        f"{found.n_beyond_limit} beyond the limit of a scan"
    )
    detection = found.detection
    _print_numbers(
        {
            **{f"sensitivity at {r.false_per_scan:g} false a scan": r.sensitivity for r in detection.rates},
            "CPM (mean of the seven)": detection.cpm,
            "AFROC area": detection.afroc,
            "wAFROC area": detection.wafroc,
            **{
                f"false a lesion-free scan, there ({r.false_per_scan:g})": r.false_per_lesion_free_scan
                for r in detection.rates
            },
        },
        f"FROC, rules {found.rules}",
    )
    typer.echo(f"Intervals: {detection.method}")


@app.command()
def mrmc(
    file: Annotated[
        Path,
        typer.Argument(help="File of iMRMC, or CSV or Parquet with reader, modality, case, truth (0 or 1), score."),
    ],
    readers: Annotated[
        str,
        typer.Option(
            help="random: the readers stand for a population (four or more); fixed: they stand for themselves."
        ),
    ] = "random",
    alpha: Alpha = 0.05,
    as_json: Json = False,
) -> None:
    """Analyse a reader study: areas under the ROC curve, and differences of modalities over readers and cases.

    Obuchowski-Rockette with Hillis' degrees of freedom, one-shot U-statistics, and DeLong's test of each reader.

    Example: `its score mrmc study.imrmc --json`

    Result: a table on the screen; nothing is written.
    """
    from itrialspace_assets import api

    found = api.mrmc(file, readers=readers, alpha=alpha)  # type: ignore[arg-type]  # the function says what is allowed
    if as_json:
        return _print_json(found)
    typer.echo(f"{found.n_readers} readers, {found.n_diseased} diseased cases, {found.n_healthy} cases without disease")
    if found.reason:
        typer.echo(f"note: {found.reason}", err=True)
    tests: dict[str, Test] = {f"AUC of {m.modality} (U-statistics)": m.auc for m in found.modalities}
    for c in found.comparisons:
        name = f"{c.modality} minus {c.other}"
        tests |= {
            f"{name}: random readers and cases": c.random_readers,
            f"{name}: fixed readers": c.fixed_readers,
            f"{name}: U-statistics": c.u_statistics,
            **{f"{name}: reader {r.reader} (DeLong)": r.difference for r in c.by_reader},
        }
    rows = [
        {"what": name, **{k: v for k, v in asdict(test).items() if k != "reason"}, "note": test.reason}
        for name, test in tests.items()
    ]
    _print_rows(rows, "Reader study")


@app.command()
def auc(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet, a row a case.")],
    truth: Annotated[str, typer.Option("--truth-col", help="Column of 0 and 1.")] = "truth",
    score: Annotated[str, typer.Option("--score-col", help="Column of scores, higher for more likely 1.")] = "score",
    host: Annotated[
        str | None,
        typer.Option("--host-col", help="Column of the person whose scan it is. Default: each case its own."),
    ] = None,
    donor: Annotated[
        str | None,
        typer.Option("--donor-col", help="Column of the person whose nodule it is. An empty cell is one of its own."),
    ] = None,
    alpha: Alpha = 0.05,
    as_json: Json = False,
) -> None:
    """Area under the ROC curve, with an interval that holds where cases share a host person or a donor person.

    Example: `its score auc cases.csv --host-col patient`

    Example: `its score auc cases.parquet --host-col host_person_uid --donor-col donor_person_uid --json`

    Result: a table on the screen; nothing is written.
    """
    from itrialspace_assets import api

    found = api.auc(file, truth=truth, score=score, host=host, donor=donor, alpha=alpha)
    if as_json:
        return _print_json(found)
    row = {"what": "AUC", "estimate": found.auc, "low": found.low, "high": found.high, "note": found.note}
    _print_rows([row], f"{found.n_positive} positive and {found.n_negative} negative cases")
    effective = "" if found.n_effective is None else f", {found.n_effective:.1f} independent cases"
    typer.echo(f"{found.n_hosts} host persons, {found.n_donors} donor persons{effective}; interval: {found.method}")


def _print_json(found: Any) -> None:
    typer.echo(json.dumps(asdict(found), indent=1, allow_nan=False))


def _print_numbers(numbers: "dict[str, NotedEstimate]", title: str) -> None:
    _print_rows([{"what": name, **asdict(number)} for name, number in numbers.items()], title)


def _print_rows(rows: list[dict[str, Any]], title: str) -> None:
    import polars as pl

    from itrialspace_assets.cli.show import show

    frame = pl.DataFrame(rows, infer_schema_length=None)
    show(frame.with_columns(pl.selectors.float().round_sig_figs(5)), title, 200)
