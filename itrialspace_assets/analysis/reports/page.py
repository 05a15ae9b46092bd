"""A report as one HTML page that needs nothing else: no server, no network, no other file.

Knows no metrics: it shows what a ``Report`` says. Charts are drawn in the page by Vega, whose JavaScript is inside.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from itrialspace_assets.analysis.reports import wording
from itrialspace_assets.analysis.reports.charts import marks_of, table_of_chart
from itrialspace_assets.analysis.reports.document import (
    Chart,
    Estimate,
    Gallery,
    Headline,
    Link,
    Paragraph,
    Report,
    Table,
)
from itrialspace_assets.analysis.reports.figures import ChartFiles, styled
from itrialspace_assets.base.fingerprints import replace_file

_FONT = 'system-ui, "Segoe UI", "Liberation Sans", sans-serif'
_FOLDER = Path(__file__).with_name("template")
_KINDS = {
    "headline": Headline,
    "paragraph": Paragraph,
    "table": Table,
    "chart": Chart,
    "gallery": Gallery,
    "estimate": Estimate,
    "link": Link,
}


def vega(folder: Path) -> str:
    """Vega, Vega-Lite and Vega-Embed as one script of JavaScript.

    Args:
        folder: where it is kept between processes, by version: to make it takes seconds.
    """
    path = folder / f"vega-{version('vl-convert-python')}.js"
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        import vl_convert

        # "</script" in one of its strings would end the script of the page
        text: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub is wrong
        text = text.replace("</script", "<\\/script")
        replace_file(path, text.encode())
        return text


def html(report: Report, drawn: Mapping[str, ChartFiles], library: str) -> bytes:
    """The page.

    Args:
        report: what it says.
        drawn: each chart by name, as it is shown where scripts do not run.
        library: JavaScript of ``vega``; without a chart it is left out.
    """
    from jinja2 import Environment, FileSystemLoader

    env = Environment(autoescape=True, loader=FileSystemLoader(_FOLDER))
    tests: dict[str, Any] = {name: partial(_is, kind) for name, kind in _KINDS.items()}
    env.tests.update(tests, numeric=wording.is_numeric)
    env.filters.update(
        base64=_base64,
        in_script=_in_script,
        marks=marks_of,
        chart_table=table_of_chart,
        title_of=_title_of,
        breakable=_breakable,
    )
    env.globals.update(
        number=wording.number,
        limits=wording.limits,
        counts=wording.counts,
        words=wording.words,
        footnotes=wording.footnotes,
    )
    scripts = (library, _file("report.js")) if drawn else ()
    page = env.get_template("report.html")
    style = _safe(_file("report.css"))
    return page.render(report=report, drawn=drawn, style=style, scripts=scripts, policy=_policy(scripts)).encode()


def _policy(scripts: tuple[str, ...]) -> str:
    """What a browser lets the page do: run these scripts, show pictures that it holds, and load nothing."""
    allowed = [f"'sha256-{_base64(hashlib.sha256(s.encode()).digest())}'" for s in scripts] or ["'none'"]
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {' '.join(allowed)}"


def _is(kind: type, value: object) -> bool:
    return isinstance(value, kind)


def _file(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _safe(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)


def _in_script(spec: dict[str, Any]) -> Any:
    """A specification as JSON that no text in it can lead out of."""
    text = json.dumps(styled(spec, _FONT), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return _safe(text.replace("<", "\\u003c"))


def _base64(data: bytes | str) -> str:
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def _breakable(text: str) -> Any:
    """Text that a narrow page may break behind an underscore."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in text.split("_"))


def _title_of(name: str) -> str:
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]
