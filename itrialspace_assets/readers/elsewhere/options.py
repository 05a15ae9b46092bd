"""What the options of kind ``table`` are. Opens no file."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from itrialspace_assets.base.validation import StrictModel

By = Literal["slice_uid", "published_id", "case_uid", "image_uid"]


class TableOptions(StrictModel):
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
