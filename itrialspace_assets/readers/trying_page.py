"""What a reader said about a case as one HTML page with its pictures in it. Asks nobody."""

import base64
from pathlib import Path
from typing import Any

from itrialspace_assets.imaging.pictures import png
from itrialspace_assets.readers.trying import Tried, TriedCase


def page(case: TriedCase, case_uid: str, anatomy: str) -> bytes:
    """The page in UTF-8.

    Args:
        case: what was said.
        case_uid: about which case.
        anatomy: ``real`` or ``procedural``.
    """
    from jinja2 import Environment

    template = Path(__file__).with_name("trying.html").read_text(encoding="utf-8")
    text = (
        Environment(autoescape=True)
        .from_string(template)
        .render(
            reader=case.reader.name,
            uid=case_uid,
            mark=f"Anatomy: {anatomy}. Images: {case.source}.",
            source=case.source,
            trained_on=case.reader.trained_on,
            licence=case.reader.licence,
            note=case.note,
            tried=[_fields(tried) for tried in case.requests],
            scans=case.scans,
        )
    )
    return text.encode()


def _fields(tried: Tried) -> dict[str, Any]:
    scores = tried.row["option_scores"]
    return tried.row | {
        "pictures": [base64.b64encode(png(picture)).decode() for picture in tried.pictures],
        "seconds": f"{tried.seconds:.3f}",
        "truth": tried.truth,
        "scores": []
        if scores is None
        else [(o, f"{s:.4g}") for o, s in zip(tried.row["options"], scores, strict=True)],
    }
