"""``its evidence``: checklists, the credibility page and cards on the screen, and the bundle. Parses, calls, prints."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itrialspace_assets.cli.options import Folder, load, mode_key

if TYPE_CHECKING:
    from itrialspace_assets.analysis.evidence.gather import Evidence
    from itrialspace_assets.analysis.reports.document import Section
    from itrialspace_assets.base.settings import Settings

app = typer.Typer(no_args_is_help=True, help="What makes reports credible: checklists, credibility, cards, a bundle.")

Report = Annotated[
    str, typer.Option("--report", help="A mode by number or key, real-<dataset>, or study for everything there is.")
]


@app.command()
def checklist(report: Report = "study", folder: Folder = None) -> None:
    """Show CLAIM 2024 and STARD-AI with what our tables say to each item; blank items are for the authors.

    Example: `its evidence checklist --report 2 --dir .demo`

    Result: two tables on the screen; nothing is written.
    """
    from itrialspace_assets.analysis.evidence.sections import checklist_section

    _, evidence = _gathered(folder, report)
    _print([checklist_section(evidence)])


@app.command()
def credibility(report: Report = "study", folder: Folder = None) -> None:
    """Show the credibility page, after FDA's guidance of 2023 and ASME V&V 40, with the evidence in our tables.

    Example: `its evidence credibility --report study --dir .demo`

    Result: three tables on the screen; nothing is written.
    """
    from itrialspace_assets.analysis.evidence.sections import credibility_section

    _, evidence = _gathered(folder, report)
    _print([credibility_section(evidence)])


@app.command()
def cards(report: Report = "study", folder: Folder = None) -> None:
    """Show the cards of readers and renderers, and the data scorecards.

    Example: `its evidence cards --report m02_size_detection_curve --dir .demo`

    Result: tables on the screen; nothing is written.
    """
    from itrialspace_assets.analysis.evidence.cards import reader_cards, renderer_cards
    from itrialspace_assets.analysis.evidence.sections import cards_section, scorecard_sections

    settings, evidence = _gathered(folder, report)
    of_all = cards_section(reader_cards(settings, evidence), renderer_cards(evidence))
    _print([of_all, *scorecard_sections(evidence)])


@app.command()
def bundle(
    out: Annotated[Path, typer.Option("--out", help="The zip to write.")] = Path("evidence.zip"), folder: Folder = None
) -> None:
    """Write aggregates, hashes and cards of all reports as a zip without paths, ids or pixels, to be passed on.

    Where a dataset's terms forbid redistribution, cells of fewer than 11 cases are hidden. Equal tables give equal
    bytes.

    Example: `its evidence bundle --out evidence.zip --dir .demo`

    Result: the zip.
    """
    from itrialspace_assets.release.bundle import write_bundle

    made = write_bundle(load(folder), out.absolute())
    hidden = f"cells of fewer than {made.minimum} cases are hidden" if made.minimum else "no cell is hidden"
    typer.echo(f"{len(made.files)} files about {len(made.reports)} reports; {hidden}\nResult: {out}")


def _gathered(folder: Path | None, report: str) -> "tuple[Settings, Evidence]":
    from itrialspace_assets.analysis.evidence.gather import STUDY, gather, scope_of
    from itrialspace_assets.analysis.protocol.study import load_study
    from itrialspace_assets.base.errors import ConfigError

    settings, name = load(folder), mode_key(report)
    evidence = gather(settings, load_study(settings), name)
    known = scope_of(settings, STUDY)
    names = (STUDY, *known.modes, *(f"real-{d}" for d in known.datasets))
    if name not in names:
        raise ConfigError(f"--report {report}: expected one of {', '.join(names)}")
    return settings, evidence


def _print(sections: "list[Section]") -> None:
    import polars as pl

    from itrialspace_assets.analysis.reports.document import Paragraph, Table
    from itrialspace_assets.cli.show import show
    from itrialspace_assets.release.bundle import cell

    for section in sections:
        for block in section.blocks:
            if isinstance(block, Paragraph):
                typer.echo(block.text)
            elif isinstance(block, Table):
                rows = [[None if v is None else str(cell(v)) for v in row] for row in block.rows]
                show(pl.DataFrame(rows, schema=dict.fromkeys(block.columns, pl.String), orient="row"), block.name, 200)
                if block.note:
                    typer.echo(block.note)
