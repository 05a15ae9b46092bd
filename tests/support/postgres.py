"""A Postgres server on a free port of this machine alone, for tests: started, stopped and ended by whoever holds it."""

import os
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: ``dagster.yaml`` of an instance that keeps everything there.
STORAGE = """
telemetry: {{enabled: false}}
storage:
  postgres:
    postgres_db: {{username: its, password: "", hostname: 127.0.0.1, db_name: postgres, port: {port}}}
"""


def programs() -> Path | None:
    """Folder of the server's programs: on the path, or where Debian keeps them."""
    if found := shutil.which("pg_ctl"):
        return Path(found).parent
    return next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


def missing() -> str:
    """Why no server can be started here; empty if one can."""
    folder = programs()
    if folder is None or not (folder / "initdb").exists():
        return "no Postgres server is installed (initdb)"
    if os.getuid() == 0 and not shutil.which("runuser"):
        return "the Postgres server cannot run as root, and runuser is not installed"
    return ""


@dataclass(frozen=True)
class Server:
    """A server with its data in a folder."""

    folder: Path
    port: int

    def run(self, program: str, *arguments: str) -> None:
        user: dict[str, Any] = {"user": "nobody", "group": "nogroup"} if os.getuid() == 0 else {}
        found = programs()
        assert found is not None
        command = [str(found / program), "-D", str(self.folder / "data"), *arguments]
        # into a file: the server would keep a pipe open
        with (self.folder / "commands.log").open("a") as log:
            done = subprocess.run(command, check=False, stdout=log, stderr=log, timeout=120, cwd=self.folder, **user)
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)}: {(self.folder / 'commands.log').read_text()[-2000:]}")

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -c unix_socket_directories={self.folder} -F"
        self.run("pg_ctl", "-o", options, "-l", str(self.folder / "log"), "-w", "start")

    def stop(self) -> None:
        """End it with all its connections, as a crash would."""
        self.run("pg_ctl", "-m", "immediate", "stop")


@contextmanager
def server() -> Iterator[Server]:
    """A running server; it and its data end with the block.

    The data lie outside the folders of pytest, which other sessions of this user close to the server's user.
    """
    with tempfile.TemporaryDirectory(prefix="its-postgres-") as name:
        folder = Path(name)
        if os.getuid() == 0:  # the server refuses to run as root
            shutil.chown(folder, "nobody")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        made = Server(folder, port)
        made.run("initdb", "-U", "its", "-A", "trust", "-N")
        made.start()
        try:
            yield made
        finally:
            made.stop()
