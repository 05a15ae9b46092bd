"""A grid of slices with truth and answer, to look at. Small tiles; no number is estimated here."""

import io
from pathlib import Path

import polars as pl
from PIL import Image, ImageDraw

#: Tiles of the grid, and pixels of a tile's edge and of its two lines of text (ours).
COLUMNS, ROWS, TILE, TEXT = 6, 2, 150, 26
_EACH = COLUMNS * ROWS // 2
_RIGHT, _WRONG, _NONE = (22, 163, 74), (220, 38, 38), (100, 116, 139)


def candidates(slices: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """Slices that may be shown, evenly over some: at most four times what a grid holds of each presence.

    Args:
        slices: rows of the table ``slices``.
        answers: rows of the table ``answers`` about them.
    """
    said = answers.filter(pl.col("task") == "presence", pl.col("control") == "none", pl.col("status") != "unsupported")
    seen = (
        slices.unique(["slice_uid", "condition", "control"], keep="first")
        .join(
            said.select("slice_uid", "condition", "control", "answer", "status"),
            on=["slice_uid", "condition", "control"],
        )
        .filter(pl.col("path").str.ends_with(".png"))
        .sort("slice_uid", "condition")
    )
    return pl.concat(_spread(seen))


def _spread(seen: pl.DataFrame) -> list[pl.DataFrame]:
    """Those with and those without a nodule, evenly over the slices, in their order."""
    columns = ["slice_uid", "condition", "presence", "path", "answer", "status"]
    step = max(1, seen.height // (4 * _EACH))
    return [seen.select(columns).filter(pl.col("presence") == p).gather_every(step) for p in ("present", "absent")]


def grid(root: Path, shown: pl.DataFrame) -> bytes | None:
    """PNG of up to twelve slices, half of them with a nodule, each with the truth and the answer about presence.

    Args:
        root: the output folder.
        shown: from ``candidates``, of all parts of a partition.

    Returns:
        None where there is nothing to show.
    """
    chosen = pl.concat([part.head(_EACH) for part in _spread(shown.sort("slice_uid", "condition"))])
    if chosen.is_empty():
        return None
    canvas = Image.new("RGB", (COLUMNS * TILE, ROWS * (TILE + TEXT)), "white")
    pen = ImageDraw.Draw(canvas)
    for number, row in enumerate(chosen.iter_rows(named=True)):
        x, y = number % COLUMNS * TILE, number // COLUMNS * (TILE + TEXT)
        try:
            with Image.open(root / row["path"]) as image:
                canvas.paste(image.convert("RGB").resize((TILE, TILE)), (x, y))
        except OSError:
            pen.text((x + 4, y + 4), "unreadable", fill=_NONE)
        told = row["answer"] or row["status"]
        colour = _NONE if row["answer"] is None else _RIGHT if row["answer"] == row["presence"] else _WRONG
        pen.text((x + 2, y + TILE + 1), f"truth: {row['presence']} ({row['condition']})", fill="black")
        pen.text((x + 2, y + TILE + 13), f"answer: {told}", fill=colour)
    out = io.BytesIO()
    canvas.quantize(64).save(out, format="PNG", optimize=False)
    return out.getvalue()
