"""``its explore``: serves the explorer. Parses, prints the address, serves."""

from typing import Annotated

import typer

from itrialspace_assets.cli.options import Folder, load


def explore(
    folder: Folder = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Other computers reach every address but the default.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the web page; 0: any free one.", min=0, max=65535)] = 8422,
    token: Annotated[
        str | None,
        typer.Option(
            help="What a request must know. Default: none at 127.0.0.1, else a new one that is printed.",
            envvar="ITS_EXPLORE_TOKEN",
            show_envvar=True,
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Further host name under which the page is reached, as behind a proxy; repeatable."),
    ] = None,
) -> None:
    """Serve the explorer, a web page of nodules, trials, images and results. Ctrl-C ends it.

    The index is made first where there is none. Inputs and results are only read. At another address than 127.0.0.1
    every request needs a token.

    Example: `its explore --dir .demo`

    Result: a web page at http://127.0.0.1:8422.
    """
    import re
    import secrets

    from itrialspace_assets.cli.memory import give_back_soon

    give_back_soon()
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.base.settings import require_data_root
    from itrialspace_assets.cli.earlier import index_first
    from itrialspace_assets.explorer.serve import serve
    from itrialspace_assets.explorer.server.security import access_for, is_loopback

    settings = load(folder)
    require_data_root(settings)
    if token is not None and not re.fullmatch("[A-Za-z0-9._~-]{16,200}", token):
        raise ConfigError("--token: expected 16 to 200 letters, digits, '.', '_', '~' or '-'")
    token = token or (None if is_loopback(host) else secrets.token_urlsafe(24))
    index_first(settings)

    def ready(address: str) -> None:
        typer.echo(f"Result: {address}{f'?token={token}' if token else ''} (Ctrl-C ends it)")

    serve(settings, access_for(host, token, name or ()), host, port, ready)
