"""Options that several commands share, the settings they lead to, and how a command ends."""

import io
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

Folder = Annotated[
    Path | None,
    typer.Option("--dir", help="Folder with data/ and out/ of a demo; else the ITRIALSPACE_ variables decide."),
]
Workers = Annotated[int | None, typer.Option(help="Worker processes; all cores by default.", min=1)]


def load(folder: Path | None = None, **overrides: Any) -> Any:
    """Settings of the process, or of a demo's folder."""
    from itrialspace_assets.base.settings import load_settings

    if folder is not None:
        overrides |= {"data_dir": folder.absolute() / "data", "output_dir": folder.absolute() / "out"}
    return load_settings(**overrides)


def run_app(app: typer.Typer) -> None:
    """Run a command line: an error of the platform is one message, without a traceback; 2 for a wrong configuration."""
    import warnings

    from itrialspace_assets.base.errors import ConfigError, PlatformError

    for stream in (sys.stdout, sys.stderr):  # a terminal or log without our characters: print replacements
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # Dagster marks partitioned checks, backfill policies and observed sources as beta; its version is pinned exactly.
    warnings.filterwarnings("ignore", message=".*(beta|preview|superseded).*")
    try:
        app()
    except PlatformError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
