"""Log records as lines of JSON, and the record of a partition that was made. Says nothing by itself."""

import json
import logging
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

#: The logger above all of this program's.
ROOT = "itrialspace"
#: Of partitions that were made and steps that failed. Silent as text: Dagster's history and ``its run`` say the same.
ASSETS = f"{ROOT}.assets"
_HANDLER = f"{ROOT} json"


@dataclass(frozen=True)
class Facts:
    """What a record is about; what it does not know is left out of the line.

    Attributes:
        asset: name of an asset, ``tissue/synthetic_cts``.
        partition: for example ``m02_size_detection_curve/LUNA16``; ``all`` without partitions.
        run: id of Dagster's run.
        step: key of Dagster's step; of a shard ``...__shard[s0]``.
        seconds: how long it took.
        computed: cases (or rows, or requests) that were made now.
        reused: those that were there.
        rejected: those that were rejected.
        retryable: of the rejected, those whose cause may pass.
        bytes: size of what was written.
        peak_memory_mb: the most memory of the process, or of one of its workers.
    """

    asset: str | None = None
    partition: str | None = None
    run: str | None = None
    step: str | None = None
    seconds: float | None = None
    computed: int | None = None
    reused: int | None = None
    rejected: int | None = None
    retryable: int | None = None
    bytes: int | None = None
    peak_memory_mb: int | None = None


class JsonLines(logging.Formatter):
    """One line of JSON a record: time (UTC), level, logger, message, the facts, and of an error its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        facts = getattr(record, "facts", Facts())
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in asdict(facts).items() if value is not None}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class _Stderr(logging.StreamHandler[Any]):
    """Asks for the error stream at each record: Dagster puts another one in its place while a step runs."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stderr


def configure(how: str) -> None:
    """Write this program's records as lines of JSON, or leave them to whoever configures logging.

    Args:
        how: ``json`` or ``text``, as the setting ``log`` says.
    """
    logger = logging.getLogger(ROOT)
    for handler in [h for h in logger.handlers if h.get_name() == _HANDLER]:
        logger.removeHandler(handler)
    logger.propagate = how != "json"
    logger.setLevel(logging.INFO if how == "json" else logging.NOTSET)
    logging.getLogger(ASSETS).disabled = how != "json"
    if how == "json":
        handler = _Stderr()
        handler.setFormatter(JsonLines())
        handler.set_name(_HANDLER)
        logger.addHandler(handler)
