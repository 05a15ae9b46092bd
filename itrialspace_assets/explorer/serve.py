"""Listens on an address until Ctrl-C or SIGTERM."""

import socket
import threading
import time
from collections.abc import Callable

import uvicorn

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.app import create_app
from itrialspace_assets.explorer.lately import give_back
from itrialspace_assets.explorer.server.security import Access

#: Seconds that answers under way have when the server is ended; ours.
_PATIENCE_S = 3
#: Seconds between two times that free memory is given back to the system; ours.
_TIDY_S = 2


def _tidy() -> None:
    """Give back what answers needed in between, beside them: each would else wait for it."""
    while True:
        time.sleep(_TIDY_S)
        give_back()


def serve(settings: Settings, access: Access, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until the process is told to end.

    Args:
        settings: of the data root.
        access: who may ask.
        host: address to listen on.
        port: port; 0: any free one.
        ready: called with the page's address as soon as the port is open.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise ConfigError(
            f"--host {host} --port {port}: expected a free address of this computer, got: {error.strerror}; choose "
            "another with --port"
        ) from None
    app = create_app(settings, access)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_PATIENCE_S,
        lifespan="off",
        ws="none",
    )
    threading.Thread(target=_tidy, daemon=True).start()
    name = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    ready(f"http://{name}:{listening.getsockname()[1]}/")
    uvicorn.Server(config).run(sockets=[listening])
