"""The settings as a Dagster resource, and a platform error as a step failure."""

from typing import Any

import dagster as dg

from itrialspace_assets.base.errors import PlatformError
from itrialspace_assets.base.settings import Settings, load_settings


class Workspace(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Settings of the code location's process; a value given here wins over the environment."""

    data_dir: str | None = None
    output_dir: str | None = None
    size: str | None = None
    workers: int | None = None
    seed: int | None = None
    per_gpu: int | None = None
    overrides: str | None = None
    relax: bool | None = None

    def settings(self, **overrides: Any) -> Settings:
        given = {
            "data_dir": self.data_dir,
            "output_dir": self.output_dir,
            "size": self.size,
            "workers": self.workers,
            "seed": self.seed,
            "per_gpu": self.per_gpu,
            "overrides": self.overrides,
            "relax": self.relax,
        }
        return load_settings(**(given | {k: v for k, v in overrides.items() if v is not None}))


def failure(error: PlatformError) -> dg.Failure:
    """A platform error as a step failure whose description is the message; not worth a retry."""
    return dg.Failure(description=str(error), metadata={"kind": type(error).__name__}, allow_retries=False)
