"""What the options of kind ``table`` are. Opens no file."""

import difflib
from typing import Annotated, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator, model_validator

from itrialspace_assets.base.validation import WrittenModel
from itrialspace_assets.records.tables import TASK_OPTIONS

By = Literal["slice_uid", "published_id", "case_uid", "image_uid"]
#: Columns of a table of answers, whatever its layout, and of a table of marks.
ANSWER_COLUMNS = (
    *get_args(By),
    *("task", "condition", "control", "answer", "score", "picture_sha256"),
    *(f"score_{option}" for options in TASK_OPTIONS.values() for option in options),
    *("readerID", "caseID", "modalityID", "image_path"),
)
MARK_COLUMNS = ("image_uid", "world_x", "world_y", "world_z", "diameter_mm", "score")


class TableOptions(WrittenModel):
    """Where answers and marks lie and how they are laid out.

    ``answers``: a CSV or Parquet table; of layout ``release`` the folder of a model. ``marks``: a table of 3-D marks.
    ``by``: the id that joins answers. ``columns``: our name of a column -> the table's own. ``condition``: what rows
    without a condition were shown; ``any``: they answer whatever is shown. ``threshold``: score from which a row
    without an answer says the first option of its task. ``reader_id`` and ``modality_id`` choose rows of iMRMC.
    ``frame``: axes of the marks' coordinates, which the two systems turn in opposite directions.
    """

    answers: str | None = None
    marks: str | None = None
    layout: Literal["plain", "imrmc", "release"] = "plain"
    by: By = "published_id"
    columns: dict[str, str] = Field(default_factory=dict)
    mark_columns: dict[str, str] = Field(default_factory=dict)
    condition: Literal["plain", "bbox", "contour", "bbox_contour", "any"] = "plain"
    threshold: Annotated[float | None, Field(allow_inf_nan=False)] = None
    reader_id: str | None = None
    modality_id: str | None = None
    frame: Literal["RAS", "LPS"] | None = None

    @field_validator("columns", "mark_columns")
    @classmethod
    def _ours(cls, given: dict[str, str], field: ValidationInfo) -> dict[str, str]:
        known = ANSWER_COLUMNS if field.field_name == "columns" else MARK_COLUMNS
        if other := sorted(set(given) - set(known)):
            near = difflib.get_close_matches(other[0], known, 1)
            hint = f"; did you mean {near[0]!r}" if near else ""
            raise ValueError(f"expected our names out of {', '.join(known)}, got {other[0]!r}{hint}")
        return given

    @model_validator(mode="after")
    def _whole(self) -> "TableOptions":
        if self.answers is None and self.marks is None:
            raise ValueError("expected answers, marks or both: paths of tables")
        if self.marks is not None and self.frame is None:
            raise ValueError("frame: expected RAS or LPS with marks")
        if self.layout == "imrmc" and None in (self.reader_id, self.modality_id, self.threshold):
            raise ValueError("layout imrmc: expected reader_id, modality_id and threshold")
        if self.layout == "release" and self.by != "published_id":
            raise ValueError(f"layout release: expected by: published_id, got {self.by}")
        return self
