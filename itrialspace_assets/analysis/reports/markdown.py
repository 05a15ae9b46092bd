"""A report as Markdown: the same lines, tables and numbers as the page, figures by their file names.

The published report's structure comes first (``published``); figures and outputs are listed at the end, as there.
"""

from collections.abc import Iterable, Sequence

from itrialspace_assets.analysis.reports import wording
from itrialspace_assets.analysis.reports.charts import marks_of
from itrialspace_assets.analysis.reports.document import (
    Block,
    Chart,
    Estimate,
    Gallery,
    Headline,
    Link,
    Paragraph,
    Report,
    Table,
    Value,
)

#: Rows of a folded table that are written out; the rest stand in its files. Ours: a page of text.
_ROWS = 40


def markdown(report: Report, outputs: Sequence[str]) -> str:
    """The whole report.

    Args:
        report: what it says.
        outputs: files beside it, relative to it, in order.
    """
    lines = [*(f"> **{_text(line)}**" for line in report.data), "", f"# {_text(report.title)}", ""]
    lines += [_text(report.question), "", *(f"- {_text(line)}" for line in report.protocol), ""]
    for section in report.sections:
        standing = "" if section.standing == "context" else f" ({section.standing})"
        lines += [f"## {_text(section.heading)}{standing}", ""]
        for block in section.blocks:
            lines += [*_block(block), ""]
    figures = [b for s in report.sections for b in s.blocks if isinstance(b, Chart)]
    if figures:
        lines += ["## Figures", "", *(f"- `figures/{c.name}.png`, `.pdf`: {_text(c.title)}" for c in figures), ""]
    lines += ["## Outputs", "", *(f"- `{name}`" for name in outputs), ""]
    return "\n".join(lines)


def _block(block: Block) -> Iterable[str]:
    if isinstance(block, Headline):
        return [
            f"{_text(block.endpoint)}:",
            "",
            *(f"- {_text(n.of)}: **{_text(wording.words(n.estimate))}**" for n in block.numbers),
        ]
    if isinstance(block, Paragraph):
        return [f"**{_text(block.text)}**" if block.kind == "warning" else _text(block.text)]
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Chart):
        return [
            f"![{_text(block.alt)}](figures/{block.name}.png)",
            "",
            *(f"*{_text(line)}*" for line in marks_of(block)),
        ]
    assert isinstance(block, Gallery)
    return [
        f"- {_text(p.caption)}" + (f" [{_text(p.page.text)}]({p.page.href})" if p.page else "") for p in block.pictures
    ]


def _table(table: Table) -> list[str]:
    letters = wording.footnotes(table)
    numeric = [any(wording.is_numeric(row[i]) for row in table.rows) for i in range(len(table.columns))]
    shown = table.rows[:_ROWS] if table.folded else table.rows
    lines = [_text(table.note), ""] if table.note else []
    lines += [_row(table.columns), "|" + "|".join("---:" if n else "---" for n in numeric) + "|"]
    lines += [_row([_cell(value, letters) for value in row]) for row in shown]
    left = len(table.rows) - len(shown)
    if left:
        lines += ["", f"{left} more rows: `tables/{table.name}.csv`."]
    if letters:
        lines += ["", *(f"- {letter}: {_text(flag)}" for flag, letter in letters.items())]
    return lines


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_text(cell) for cell in cells) + " |"


def _cell(value: Value, letters: dict[str, str]) -> str:
    if isinstance(value, Link):
        return f"{value.text} ({value.href})"
    if not isinstance(value, Estimate):
        return wording.words(value)
    shown = wording.NONE if value.value is None else wording.number(value.value)
    inside = ", ".join(filter(None, (wording.limits(value), wording.counts(value))))
    mark = f" {letters[value.flag]}" if value.flag else ""
    return shown + mark + (f" ({inside})" if inside else "")


def _text(text: str) -> str:
    """Text in one line in which nothing is taken for a table's border, for HTML or for emphasis."""
    for mark in ("\\", "|", "<", "*", "`"):
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
