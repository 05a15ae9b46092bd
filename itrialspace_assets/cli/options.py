"""Options that several commands share, the settings they lead to, and how a command ends."""

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from itrialspace_assets.base.settings import Settings

Folder = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        help="Folder with data/ (inputs) and out/ (outputs). Default: ITRIALSPACE_DATA_DIR and ITRIALSPACE_OUTPUT_DIR.",
    ),
]
Workers = Annotated[int | None, typer.Option(help="Worker processes. Default: one for each core.", min=1)]
Size = Annotated[str | None, typer.Option(help="Size of the trial: demo or paper. Default: ITRIALSPACE_SIZE.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Set a field of the trial, repeatable: cohort.n_cases=1000, twin.pairing=one_to_many_hosts, "
        "arms_from.decay=0.5, arms.multi.share=0.4.",
    ),
]
Relax = Annotated[
    bool, typer.Option("--relax", help="Relax constraints of an infeasible trial in a fixed order; record each.")
]
SecondsPerCt = Annotated[
    float | None,
    typer.Option("--seconds-per-ct", help="Seconds to render a case, where none was measured here.", min=0, max=1e6),
]
SecondsPerAnswer = Annotated[
    float | None,
    typer.Option("--seconds-per-answer", help="Seconds of an answer, where none was measured here.", min=0, max=1e6),
]
Case = Annotated[str | None, typer.Option(help="One case only, by its case_uid: size_detection_curve/10_15mm/00000.")]


def load(folder: Path | None = None, **overrides: Any) -> "Settings":
    """Settings of this process.

    Args:
        folder: with ``data/`` and ``out/``; takes precedence over the environment.
        overrides: settings that options give; None keeps what the environment says.

    Raises:
        ConfigError: a setting is not allowed.
    """
    from itrialspace_assets.base.settings import load_settings

    if folder is not None:
        overrides |= {"data_dir": folder.absolute() / "data", "output_dir": folder.absolute() / "out"}
    return load_settings(**overrides)


def before_first(settings: "Settings", name: str) -> "Settings":
    """The settings for a command that makes the first file of a folder: one that is not there yet is not set.

    Args:
        settings: of this process.
        name: the setting of the folder, ``trials_dir`` or ``studies_dir``.
    """
    folder = getattr(settings, name)
    return settings if folder is None or folder.is_dir() else settings.model_copy(update={name: None})


def mode_key(word: str) -> str:
    """Key of a mode that is given by its number or its key; an unknown word is returned as it is."""
    from itrialspace_assets.records.layout import MODES

    return MODES[int(word) - 1] if word.isdigit() and 1 <= int(word) <= len(MODES) else word


def plain(text: str) -> str:
    """A text that changes nothing on a terminal: a user's table, or a reader's answer, may hold commands of one."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def run_app(app: typer.Typer) -> None:
    """Run a command line. An error of the platform is one message without a traceback.

    Exit code: 2 for a wrong setting or option, 1 for other errors.
    """
    import warnings

    from itrialspace_assets.base.errors import ConfigError, MissingTable, PlatformError

    for stream in (sys.stdout, sys.stderr):  # a terminal or log without our characters: print replacements
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # Dagster marks partitioned checks, backfill policies and observed sources as beta; its version is pinned exactly.
    warnings.filterwarnings("ignore", message=".*(beta|preview|superseded).*")
    try:
        app()
    except MissingTable as error:
        from itrialspace_assets.base.settings import load_settings
        from itrialspace_assets.graph import command_for

        typer.echo(f"Error: {plain(str(error))}; make it with `{command_for(load_settings(), error.table)}`", err=True)
        sys.exit(1)
    except PlatformError as error:
        typer.echo(f"Error: {plain(str(error))}", err=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except Exception as error:
        from itrialspace_assets.base.disk import disk_failure, unusable_path

        failed, wrong = disk_failure(error, Path.cwd()), unusable_path(error)
        if failed is None and wrong is None:
            raise
        typer.echo(f"Error: {plain(failed or wrong or '')}", err=True)
        sys.exit(1 if failed else 2)
