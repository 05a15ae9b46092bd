"""``its compare``: two readers, two runs or two revisions on the same cases. Parses, calls, prints."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itrialspace_assets.cli.options import Folder, load

if TYPE_CHECKING:
    from itrialspace_assets.analysis.protocol.study import Study
    from itrialspace_assets.analysis.scoring.comparison import ComparedNumber, Comparison
    from itrialspace_assets.analysis.scoring.sides import PairedSides, Side

_SIDE = "READER, FOLDER:READER of another output folder, or READER@REVISION of the ledger."


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=f"The first side: {_SIDE}")],
    b: Annotated[str, typer.Argument(metavar="B", help=f"The second side: {_SIDE}")],
    where: Annotated[
        str | None,
        typer.Option(
            help="Condition in SQL over the columns of the pairs: \"size_bucket = '<5mm' AND source = 'real'\"."
        ),
    ] = None,
    task: Annotated[str | None, typer.Option(help="Task. Default: that of the study's primary endpoint.")] = None,
    condition: Annotated[str | None, typer.Option(help="Guidance. Default: that of the primary endpoint.")] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="Metric of the task. Default: that of the primary endpoint; of another task accuracy."),
    ] = None,
    changed: Annotated[
        bool,
        typer.Option("--leave-out-changed", help="Compare although slices or manifests differ: only what is the same."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print every number and every flip as JSON.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for a page with the pictures of the flips, and their table.")
    ] = None,
    folder: Folder = None,
) -> None:
    """Compare two readers, or two runs of one, on the same cases: paired difference with interval, and what flipped.

    Slices that one side lacks or has twice are named. Where a slice is another picture or target, or a mode was planned
    again, the command stops, so that a changed trial is not taken for a changed model.

    Example: `its compare blob mock --dir .demo`

    Example: `its compare old/out:medgemma medgemma --where "size_bucket = '<5mm'" --out compared`

    Example: `its compare medgemma@1f0c medgemma@77ab --task size`

    Result: a table on the screen; with `--out` a page `compare.html` and a table `flips.csv`.
    """
    from dataclasses import replace

    from itrialspace_assets.analysis.protocol.study import load_study
    from itrialspace_assets.analysis.scoring.choice import chosen
    from itrialspace_assets.analysis.scoring.comparison import compared
    from itrialspace_assets.analysis.scoring.sides import pair, read_side
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.records.tables import CONDITIONS, TASKS

    settings = load(folder)
    study = load_study(settings)
    task, condition = task or study.primary.task, condition or study.primary.condition
    for name, given, known in (("task", task, TASKS), ("condition", condition, CONDITIONS)):
        if given not in known:
            raise ConfigError(f"--{name} {given!r}: expected one of {', '.join(known)}")
    metric = metric or (study.primary.metric if task == study.primary.task else "accuracy")
    first, second = (read_side(settings, spec, task, condition) for spec in (a, b))
    pairs = pair(first, second)
    _require_same(pairs, changed)
    if where is not None:
        pairs = replace(pairs, rows=chosen(pairs.rows, where))
    found = compared(pairs, first, second, task, metric, study)
    if as_json:
        typer.echo(json.dumps(_as_json(pairs, first, second, found), indent=1, allow_nan=False))
    else:
        _print(pairs, first, second, found)
    if out is not None:
        typer.echo(f"Result: {_write(out, pairs, first, second, found, study, settings.anatomy)}", err=as_json)


def _require_same(pairs: "PairedSides", changed: bool) -> None:
    """Stop where the trial differs, unless what is the same is to be compared.

    Raises:
        ConfigError: names how many slices are other pictures, and modes that were planned again.
    """
    from itrialspace_assets.base.errors import ConfigError

    if changed or not (pairs.changed.count or pairs.manifests):
        return
    said = []
    if pairs.manifests:
        said.append(f"the manifests of {', '.join(pairs.manifests)} differ")
    if pairs.changed.count:
        said.append(
            f"{pairs.changed.count} slices are other pictures or targets, first: {'; '.join(pairs.changed.first)}"
        )
    raise ConfigError(
        f"expected the same trial on both sides, got: {'; '.join(said)}. A difference would mix reader and trial. Let "
        "both read the same slices, or compare what is the same with --leave-out-changed"
    )


def _print(pairs: "PairedSides", a: "Side", b: "Side", found: "Comparison") -> None:
    import polars as pl

    from itrialspace_assets.analysis.reports.comparison import notes_of
    from itrialspace_assets.cli.show import show

    for name, side in (("A", a), ("B", b)):
        typer.echo(f"{name}: {side.name}, revision {', '.join(side.revisions) or 'not known'}, {side.root}")
    for note in notes_of(pairs, a, b):
        typer.echo(f"note: {note}", err=True)
    rows = [
        {
            "source": s.source,
            "slices": s.n,
            "cases": s.n_cases,
            "A": _shown(s.a),
            "B": _shown(s.b),
            "B less A": _shown(s.difference),
            "p": s.p,
            "improved": s.improved,
            "regressed": s.regressed,
            "p (flips)": s.p_flips,
        }
        for s in found.sources
    ]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    show(frame.with_columns(pl.selectors.float().round_sig_figs(3)), f"{found.metric} on the same slices")
    flipped = found.levels.filter((pl.col("improved") > 0) | (pl.col("regressed") > 0))
    if flipped.height:
        show(flipped, "What improved and what regressed")
    notes = [
        f"{s.source}, {n}: {x.flag}"
        for s in found.sources
        for n, x in (("A", s.a), ("B", s.b), ("B less A", s.difference))
        if x.flag
    ]
    for note in notes:
        typer.echo(f"note: {note}", err=True)


def _shown(number: "ComparedNumber") -> str:
    if number.estimate is None:
        return "none"
    limits = "" if number.low is None or number.high is None else f" ({number.low:.3f} to {number.high:.3f})"
    return f"{number.estimate:.3f}{limits}"


def _as_json(pairs: "PairedSides", a: "Side", b: "Side", found: "Comparison") -> dict[str, object]:
    columns = ["flip", "source", "mode", "published_id", "case_uid", "slice_uid", "truth", "a_answer", "b_answer"]
    return {
        "a": {"name": a.name, "reader": a.reader, "revisions": a.revisions, "scorer": a.scorer, "stale": a.stale},
        "b": {"name": b.name, "reader": b.reader, "revisions": b.revisions, "scorer": b.scorer, "stale": b.stale},
        "metric": found.metric,
        "sources": [asdict(s) for s in found.sources],
        "levels": found.levels.to_dicts(),
        "flips": found.flips.select(columns).to_dicts(),
        **{name: asdict(getattr(pairs, name)) for name in ("only_a", "only_b", "twice_a", "twice_b", "changed")},
        "manifests": list(pairs.manifests),
    }


def _write(
    out: Path, pairs: "PairedSides", a: "Side", b: "Side", found: "Comparison", study: "Study", anatomy: str
) -> Path:
    """Write page and table; the path of the page.

    Args:
        out: folder.
        pairs: the same slices of both.
        a: the first side.
        b: the second side.
        found: what they differ in.
        study: alpha and clusters.
        anatomy: real or procedural.
    """
    from itrialspace_assets.analysis.reports.comparison import comparison_report
    from itrialspace_assets.analysis.reports.comparison_page import page_of
    from itrialspace_assets.base.fingerprints import replace_file
    from itrialspace_assets.cli.show import save
    from itrialspace_assets.records.provenance import mark_of

    mark = "; ".join(mark_of(anatomy, s.source) for s in found.sources)
    report = comparison_report(pairs, a, b, found, study, mark)
    replace_file(out / "compare.html", page_of(report))
    save(found.flips.drop("a_sha256", "a_profile", "b_profile"), out / "flips.csv")
    return out / "compare.html"
