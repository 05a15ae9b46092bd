"""Charts as files: a Vega-Lite specification drawn as SVG, PNG and PDF. Equal specifications give equal bytes.

Knows no report. The font is the one that the converter brings along, so that no file depends on the machine's fonts.
"""

import io
from dataclasses import dataclass
from typing import Any

from itrialspace_assets.analysis.reports.document import Chart
from itrialspace_assets.imaging.pictures import png

#: The font inside vl-convert.
FONT = "Liberation Sans"
#: Pixels of the PNG for one of the specification; ours: sharp on paper and on fine screens.
_SCALE = 2
#: Sizes and weights of text; ours.
_TEXT = {
    "labelFontSize": 12,
    "titleFontSize": 12,
    "titleFontWeight": "normal",
    "labelColor": "#0f172a",
    "titleColor": "#0f172a",
}
_LOOK = {
    "axis": _TEXT | {"gridColor": "#e2e8f0"},
    "legend": {"labelFontSize": 12, "symbolSize": 80},
    "header": {"labelFontSize": 13},
    "title": {"fontSize": 14, "fontWeight": "normal", "subtitleFontSize": 12},
    "view": {"stroke": "#cbd5e1"},
}


@dataclass(frozen=True)
class ChartFiles:
    """One chart in three formats."""

    svg: str
    png: bytes
    pdf: bytes


def draw(chart: Chart) -> ChartFiles:
    """A chart as SVG, PNG and PDF."""
    import vl_convert

    svg = vl_convert.vegalite_to_svg(styled(chart.spec, FONT))
    return ChartFiles(svg, _small(vl_convert.svg_to_png(svg, scale=_SCALE)), _in_order(vl_convert.svg_to_pdf(svg)))


def _small(drawn: bytes) -> bytes:
    """The same picture without transparency in a fifth of the bytes: the converter hardly compresses."""
    import numpy as np
    from PIL import Image

    return png(np.asarray(Image.open(io.BytesIO(drawn)).convert("RGB")))


def _in_order(pdf: bytes) -> bytes:
    """The same PDF with its objects in the order in which the page refers to them.

    The converter numbers fonts and states of transparency in another order at every run.
    """
    import pikepdf

    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(pdf)) as read:
        read.save(out, deterministic_id=True)
    return out.getvalue()


def styled(spec: dict[str, Any], font: str) -> dict[str, Any]:
    """A specification with the look that all charts share; what it says itself stands.

    Args:
        spec: a chart's.
        font: of all its text.
    """
    own = spec.get("config", {})
    return spec | {"config": _LOOK | {"font": font} | own}
