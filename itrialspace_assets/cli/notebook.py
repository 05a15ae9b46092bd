"""``its notebook``: opens a marimo notebook on an output folder. Parses, copies the tour, starts marimo."""

from pathlib import Path
from typing import Annotated

import typer

from itrialspace_assets.cli.options import Folder, load

HOST = "127.0.0.1"
#: What marimo is told beyond its arguments: it looks for no newer version of itself, offers to share nothing with
#: servers elsewhere, and runs the cells when the page is opened.
QUIET = {
    "MARIMO_SKIP_UPDATE_CHECK": "1",
    "MARIMO_RESTRICT_SHARING": "true",
    "_MARIMO_CONFIG_OVERLOAD_RUNTIME_AUTO_INSTANTIATE": "true",
}


def notebook(
    file: Annotated[Path, typer.Argument(help="Notebook to open; a file that is not there begins as the tour.")] = Path(
        "itrialspace_tour.py"
    ),
    folder: Folder = None,
    port: Annotated[int, typer.Option(help="Port of the notebook's page.", min=1024, max=65535)] = 2718,
) -> None:
    """Open a marimo notebook in which nodules, trials, cases, answers, results and SQL are at hand. Ctrl-C ends it.

    It listens on this computer alone and asks for a token, which is part of the address that is printed. It asks no
    other server for anything. Needs the extra `notebook`.

    Example: `its notebook --dir .demo`

    Result: the notebook FILE, and a web page; the last line gives its address.
    """
    import secrets
    import subprocess
    import sys
    from collections.abc import Iterator
    from contextlib import suppress
    from importlib.resources import files
    from importlib.util import find_spec

    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.base.fingerprints import replace_file
    from itrialspace_assets.base.settings import require_data_root
    from itrialspace_assets.cli.serve import attend, child_environment, require_free

    settings = load(folder)
    require_data_root(settings)
    if find_spec("marimo") is None:
        raise ConfigError(
            "its notebook: expected the package marimo, found none; install the extra with "
            "`pip install 'itrialspace-assets[notebook]'`"
        )
    if file.suffix != ".py":
        raise ConfigError(f"{file}: expected a marimo notebook, a file that ends in .py")
    require_free(HOST, port)
    if not file.exists():
        replace_file(file, (files("itrialspace_assets.api") / "tour.py").read_bytes())
        typer.echo(f"{file}: a copy of the tour, yours to change")

    token = secrets.token_urlsafe(24)
    environment = child_environment(settings) | QUIET

    def start() -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "marimo", *arguments(file, port)]
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True)
        yield process
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended already, and said why
            process.stdin.write(token.encode())  # on the command line every user of the computer could read it
            process.stdin.close()
        typer.echo(f"Result: http://{HOST}:{port}?access_token={token} (ready in some seconds; Ctrl-C ends it)")

    if code := attend(start):
        raise typer.Exit(code)


def arguments(file: Path, port: int) -> list[str]:
    """Arguments of marimo: loopback only, a token from standard input, no browser, nothing looked up elsewhere."""
    where = ["--host", HOST, "--port", str(port), "--headless"]
    return [
        "--quiet",
        "--yes",
        "edit",
        str(file),
        *where,
        "--token-password-file",
        "-",
        "--skip-update-check",
        "--no-sandbox",
    ]
