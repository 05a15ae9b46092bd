"""The settings as a Dagster resource, and an error that a user can fix as a step failure."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg

from itrialspace_assets.base.disk import disk_failure
from itrialspace_assets.base.errors import PlatformError
from itrialspace_assets.base.settings import Settings, freeze, thaw


class Workspace(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Settings as one frozen dump, taken where the definitions were loaded. Secrets stay in the environment."""

    dump: str  # JSON

    @staticmethod
    def of(settings: Settings) -> "Workspace":
        return Workspace(dump=json.dumps(freeze(settings), sort_keys=True))

    def settings(self, **overrides: Any) -> Settings:
        """The settings, with what one run chose laid over."""
        return thaw(json.loads(self.dump), **overrides) if overrides else _thawed(self.dump)


@lru_cache(maxsize=8)
def _thawed(dump: str) -> Settings:
    """Settings of a dump; each step asks for them, and checking them all takes longer than some steps."""
    return thaw(json.loads(dump))


def failure(error: PlatformError) -> dg.Failure:
    """A platform error as a step failure whose description is the message; not worth a retry."""
    return dg.Failure(description=str(error), metadata={"kind": type(error).__name__}, allow_retries=False)


@contextmanager
def failing(output: Path) -> Iterator[None]:
    """Raise a platform error, or one of a disk, as a step failure.

    Args:
        output: folder of the outputs.

    Raises:
        dagster.Failure: its description is the message.
    """
    try:
        yield
    except PlatformError as error:
        raise failure(error) from error
    except Exception as error:
        if told := disk_failure(error, output):
            raise failure(PlatformError(told)) from error
        raise
