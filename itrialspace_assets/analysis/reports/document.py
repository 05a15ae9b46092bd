"""What a report says, before it is written anywhere: sections of paragraphs, tables, charts and pictures.

A report is written as a web page, as Markdown, as figures and as tables, all from this one description. Knows neither
HTML nor files, and computes nothing.
"""

from dataclasses import dataclass
from typing import Any, Literal

#: What a section is to the study: its primary endpoint; declared in the study file; not declared; no result at all.
ReportStanding = Literal["primary", "planned", "exploratory", "context"]


@dataclass(frozen=True)
class Estimate:
    """A number with its limits and counts, shown together. A flag is shown on the number itself.

    Attributes:
        value: the estimate; None: it cannot be estimated, and ``flag`` says why.
        low: lower limit; None: none.
        high: upper limit; None: none.
        k: successes, where the number is a share; None: it is no share.
        n: what was counted (slices, scans or persons).
        flag: why the number is missing or should not be tested; None: nothing is wrong with it.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    k: int | None = None
    n: int | None = None
    flag: str | None = None


@dataclass(frozen=True)
class Link:
    """Text that leads to another page; ``href`` is relative to the report."""

    text: str
    href: str


Value = str | int | float | Estimate | Link | None


@dataclass(frozen=True)
class Number:
    """One number of a headline: what it is of, and the estimate."""

    of: str
    estimate: Estimate


@dataclass(frozen=True)
class Headline:
    """The first numbers of a report, shown large: the study's primary endpoint, a number for each reader and source."""

    name: str
    endpoint: str
    numbers: tuple[Number, ...]


@dataclass(frozen=True)
class Paragraph:
    """Text in plain sentences; a warning is shown so that it cannot be overlooked."""

    text: str
    kind: Literal["text", "note", "warning"] = "text"


@dataclass(frozen=True)
class Table:
    """A table; ``name`` names its files, ``folded`` ones open at a click.

    The first column heads the rows. A name occurs once in a report.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    note: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart as a Vega-Lite specification with its data inside; ``alt`` says in words what it shows."""

    name: str
    title: str
    alt: str
    spec: dict[str, Any]


@dataclass(frozen=True)
class Picture:
    """A PNG with a caption; ``page`` leads to more about it."""

    png: bytes
    alt: str
    caption: str
    page: Link | None = None


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side."""

    name: str
    pictures: tuple[Picture, ...]


Block = Headline | Paragraph | Table | Chart | Gallery


@dataclass(frozen=True)
class Section:
    """Blocks under a heading, and what they are to the study."""

    heading: str
    blocks: tuple[Block, ...]
    standing: ReportStanding = "exploratory"


@dataclass(frozen=True)
class Report:
    """A whole report.

    Attributes:
        name: of its folder: the mode, real-<dataset> or study-<name>.
        title: above everything but the data lines.
        question: what it answers, in a sentence.
        data: first lines of the report: what the data are, one line a source.
        protocol: lines on split, study, lock and primary endpoint.
        sections: in the order in which they are read.
    """

    name: str
    title: str
    question: str
    data: tuple[str, ...]
    protocol: tuple[str, ...]
    sections: tuple[Section, ...]
