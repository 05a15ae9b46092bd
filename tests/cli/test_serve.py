"""``its ui``: both processes get the settings, and both end with all their children."""

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.cli import serve

#: Stands for a run: takes a moment to record that it was interrupted.
RUN = """
import pathlib, sys, time
try:
    print(flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.5)
    pathlib.Path(sys.argv[1]).write_text("interrupted")
"""
#: Stands for webserver or daemon: writes its process id, that of a run, and a setting; then waits.
CHILD = f"""
import os, pathlib, subprocess, sys, time
from itrialspace_assets.base.settings import load_settings
path = pathlib.Path(sys.argv[1])
command = [sys.executable, "-c", {RUN!r}, str(path.with_suffix(".run"))]
child = subprocess.Popen(command, stdout=subprocess.PIPE)
child.stdout.readline()
path.with_suffix(".new").write_text(f"{{os.getpid()}} {{child.pid}} {{load_settings().data}}")
path.with_suffix(".new").replace(path)
try:
    time.sleep(float(sys.argv[2]))
except KeyboardInterrupt:
    sys.exit(0)
sys.exit(3)
"""


def ended(pid: int) -> bool:
    """Whether a process has ended; a process that nobody waited for may stay as a zombie for a moment."""
    for _ in range(1500):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setenv("ITRIALSPACE_DATA_DIR", "/elsewhere")
    return load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None) -> tuple[int, str]:
    """Serve with stand-ins for webserver and daemon, and send a signal when both have begun."""
    files = [tmp_path / "web", tmp_path / "daemon"]
    seconds = "60" if number else "0.1"
    commands = [[sys.executable, "-c", CHILD, str(f), seconds if f.name == "daemon" else "60"] for f in files]
    monkeypatch.setattr(serve, "commands", lambda host, port: commands)

    def kill() -> None:
        while not all(f.exists() for f in files):
            time.sleep(0.02)
        os.kill(os.getpid(), number or 0)

    threading.Thread(target=kill, daemon=True).start()
    before = [signal.getsignal(n) for n in serve.ENDING]
    code = serve.serve(settings, "127.0.0.1", free_port())
    assert [signal.getsignal(n) for n in serve.ENDING] == before, "handlers of the caller are put back"
    for file in (f for f in files if f.exists()):
        *pids, data = file.read_text().split()
        assert data == str(settings.data), "an option takes precedence over the environment"
        assert all(ended(int(p)) for p in pids)
        assert file.with_suffix(".run").read_text() == "interrupted", "a run has time to end by itself"
    return code, ",".join(f.name for f in files if f.exists())


@pytest.mark.slow
@pytest.mark.parametrize("number", serve.ENDING)
def test_a_signal_ends_both(
    number: int, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(settings, tmp_path, monkeypatch, number) == (0, "web,daemon")
    assert "Result: http://127.0.0.1:" in capsys.readouterr().out


@pytest.mark.slow
def test_both_end_when_one_does(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _ = run(settings, tmp_path, monkeypatch, None)
    assert code == 3


@pytest.mark.slow
def test_what_does_not_end_is_killed(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = (
        "import os, pathlib, signal, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN); "
        "pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)"
    )
    path = tmp_path / "deaf"
    ends = f"import pathlib, time\nwhile not pathlib.Path({str(path)!r}).exists(): time.sleep(0.02)"
    commands = [[sys.executable, "-c", deaf, str(path)], [sys.executable, "-c", ends]]
    monkeypatch.setattr(serve, "commands", lambda host, port: commands)
    monkeypatch.setattr(serve, "PATIENCE_S", 0.3)
    assert serve.serve(settings, "127.0.0.1", free_port()) == 0
    assert ended(int(path.read_text()))


def test_a_port_in_use_is_refused(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="--port"):
            serve.serve(settings, "127.0.0.1", taken.getsockname()[1])


def test_unset_settings_are_unset_in_children(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITRIALSPACE_TRIALS_DIR", "/mine")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    found = serve.child_environment(settings)
    assert "ITRIALSPACE_TRIALS_DIR" not in found
    assert found["HF_TOKEN"] == "hf_secret", "secrets stay in the environment"
    assert found["ITRIALSPACE_DATA_DIR"] == str(settings.data)
    assert os.environ["ITRIALSPACE_DATA_DIR"] == "/elsewhere", "this process keeps its own"
