"""The document of a comparison as one HTML file that needs nothing else. Knows no numbers of its own."""

import base64
from pathlib import Path

from itrialspace_assets.analysis.reports.document import Estimate, Report, Value


def page_of(report: Report) -> bytes:
    """HTML with its pictures inside."""
    from jinja2 import Environment

    template = Environment(autoescape=True).from_string(
        Path(__file__).with_name("comparison.html").read_text(encoding="utf-8")
    )
    return template.render(
        report=report,
        text=_text,
        kind=lambda block: type(block).__name__,
        b64=lambda png: base64.b64encode(png).decode(),
    ).encode()


def _text(value: Value) -> str:
    if isinstance(value, Estimate):
        if value.value is None:
            return f"– ({value.flag})"
        limits = "" if value.low is None or value.high is None else f" ({value.low:.3f} to {value.high:.3f})"
        return f"{value.value:.3f}{limits}" + (f" · {value.flag}" if value.flag else "")
    if isinstance(value, float):
        return f"{value:.4g}"
    return "–" if value is None else str(value)
