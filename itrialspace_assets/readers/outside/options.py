"""What an entry of the kind ``container`` says. Starts nothing."""

from typing import Literal

from pydantic import Field, model_validator

from itrialspace_assets.base.validation import WrittenModel
from itrialspace_assets.readers.weights import FOLDER_NAME

#: A path below a folder, without dots that lead out of it.
_BELOW = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$"

#: Options that change no answer: a program under other limits is the same reader.
LIMITS = {"timeout_s", "memory_mb", "output_mb", "processes"}


class ContainerOptions(WrittenModel):
    """A program of others, how it is asked, and its limits.

    Attributes:
        image: an image that Docker has; without one ``command`` runs as a plain process.
        command: words of the command; ``{input}``, ``{output}`` and ``{weights}`` become its folders.
        interface: ``own`` (docs/schemas) or ``grand_challenge`` (docs/facts/readers.md#grand-challenge).
        reads: what it is given.
        input_slug, input_path, output_path: of ``grand_challenge``: socket of the CT, its folder below ``/input``, and
            the file of points below ``/output``.
        weights: a folder below ITRIALSPACE_WEIGHTS_DIR that it may read (``/opt/ml/model`` in a container).
        timeout_s: seconds for a scan, or for a batch of slices. A program that takes longer is ended.
        memory_mb: memory of a container; address space of a plain process.
        output_mb: most that it may write: results, its own files and what it prints, together.
        processes: most processes at once.
        network: ``off``, or ``on`` where its makers' licence server or the like must be reached. CTs can leave by it.
        gpus: whether a container is given the GPUs.
        writable: whether a container may write into a layer of its own, which is thrown away. Without it only its
            output folder and ``/tmp`` can be written to.
    """

    image: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]*$")
    command: tuple[str, ...] = ()
    interface: Literal["own", "grand_challenge"] = "own"
    reads: Literal["scans", "slices", "both"] = "scans"
    input_slug: str = Field("ct-image", pattern=r"^[a-z0-9-]+$")
    input_path: str = Field("images/ct", pattern=_BELOW)
    output_path: str = Field("nodule-locations.json", pattern=_BELOW)
    weights: str | None = Field(None, pattern=FOLDER_NAME)
    timeout_s: float = Field(600.0, gt=0, le=86_400)
    memory_mb: int = Field(8192, ge=64, le=4_194_304)
    output_mb: int = Field(64, ge=1, le=65_536)
    processes: int = Field(512, ge=1, le=65_536)
    network: Literal["off", "on"] = "off"
    gpus: bool = False
    writable: bool = False

    @model_validator(mode="after")
    def _whole(self) -> "ContainerOptions":
        if self.image is None and not self.command:
            raise ValueError("expected an image or a command, got neither")
        if self.image is None and "/" in self.command[0] and not self.command[0].startswith("/"):
            raise ValueError(f"command: expected the whole path of a program, or its name, got {self.command[0]}")
        if self.image is None and (self.gpus or self.writable):
            raise ValueError("gpus and writable are options of a container: expected an image, got none")
        if self.interface == "grand_challenge" and self.reads != "scans":
            raise ValueError(f"reads: expected scans with the interface grand_challenge, got {self.reads}")
        return self
