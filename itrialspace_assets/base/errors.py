"""What can go wrong, by kind, so that every layer treats the same failure in the same way.

A ``PlatformError`` carries a message that a user can act on and is shown without a traceback.
Anything else that escapes is a defect of this program. Nothing here may import another module of
the platform.
"""

from enum import StrEnum


class PlatformError(Exception):
    """Base of all errors whose message says what was expected, what was got, and where."""


class ConfigError(PlatformError):
    """A setting, option or YAML key is wrong; raised before any work begins."""


class NotFound(ConfigError):
    """There is nothing of the id that is asked for."""


class TableError(PlatformError):
    """A table breaks its contract; it was not written."""


class MissingTable(TableError):
    """A stage that makes a table has not run for a partition."""

    def __init__(self, table: str, partition: str) -> None:
        super().__init__(f"{table}: expected {partition or 'its file'}, found none: its stage has not run")
        self.table, self.partition = table, partition

    def __reduce__(self) -> tuple[type["MissingTable"], tuple[str, str]]:
        return MissingTable, (self.table, self.partition)


class TrialError(PlatformError):
    """A trial cannot be planned as asked; names the constraint that binds."""


class CatalogBusy(PlatformError):
    """Another process is rebuilding the catalog."""


class Reason(StrEnum):
    """Why a case was rejected. Reasons are counted, so they are never free text."""

    MISSING_FILE = "missing_file"
    UNREADABLE_VOLUME = "unreadable_volume"
    OBLIQUE_VOLUME = "oblique_volume"
    GRID_MISMATCH = "grid_mismatch"
    NOT_A_LABEL_MAP = "not_a_label_map"
    NO_LOBE = "no_lobe"
    EMPTY_LESION = "empty_lesion"
    BAD_POSITION = "bad_position"
    DOES_NOT_FIT = "does_not_fit"
    IMPLAUSIBLE_HU = "implausible_hu"
    NOT_KEPT = "not_kept"
    OUT_OF_MEMORY = "out_of_memory"
    NO_CONTRAST = "no_contrast"
    NO_TARGET_ON_SLICE = "no_target_on_slice"
    NOT_ANSWERED = "not_answered"
    WORKER_KILLED = "worker_killed"
    UNEXPECTED = "unexpected_error"


class CaseRejected(PlatformError):
    """One case cannot be done; it is rejected under ``reason`` and the others go on."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["CaseRejected"], tuple[Reason, str]]:
        return CaseRejected, (self.reason, self.detail)
