"""One whole demo, shared by the tests that look at it."""

import hashlib
import io
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.catalog.rebuild import contents
from itrialspace_assets.cli import main
from itrialspace_assets.release.parts import SUMS

from ..conftest import made_once
from ..support import warm

ITS = [sys.executable, "-m", "itrialspace_assets.cli.main"]
SMALL = ["--hosts", "2", "--spacing", "2.8", "--modes", "2,11"]
#: A trial on hosts of two datasets: a backfill starts a run for each.
TRIAL = """
mode: x_small
trial: small
question: Is what two datasets hold found?
planner: sampled
cohort: {prevalence: {value: 0.5}, hosts: {datasets: [LUNA25, LUNA16], max_uses: null}, donors: {max_uses: null}}
arms: [{name: all, published: small, varies: none, level: none}]
sizes: {demo: {n_cases: 4}, paper: {n_cases: 40}}
"""


def its(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would, in a process of its own."""
    env = with_no_settings() | environment
    return subprocess.run([*ITS, *arguments], check=False, capture_output=True, text=True, env=env, timeout=900)


def apart(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same, where the process is not the subject: it starts with the libraries loaded."""
    return warm.run([*ITS[1:], *arguments], with_no_settings() | environment)


def with_no_settings() -> dict[str, str]:
    """The variables of this process that are no setting of ours, and one worker process."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("ITRIALSPACE_") and k != "DAGSTER_HOME"}
    return own | {"ITRIALSPACE_WORKERS": "1"}


def here(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same in the process of the tests, for commands that show something: a new one loads libraries for seconds."""
    out, err = io.StringIO(), io.StringIO()
    os.environ.pop("DAGSTER_HOME", None)  # a command before this one may have set it
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["its", *arguments])
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
            main.main()
    code = end.value.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def fingerprint(folder: Path) -> dict[str, str]:
    """Hash of every output; the catalog by content, records of how it was made left out."""
    out = folder / "out"
    skip = ("work", "dagster", "cases", "ledger")  # cases: pages that people asked for; ledger: holds seconds
    found = {
        str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(out.rglob("*"))
        if p.is_file()
        and p.relative_to(out).parts[0] not in skip
        and not p.name.startswith(".")
        and p.suffix != ".duckdb"
    }
    return found | contents(load_settings(data_dir=folder / "data", output_dir=out))


def download(out: Path, to: Path) -> Path:
    """The release that an output folder holds, with nothing else of it."""
    listed = [line.partition("  ")[2] for line in (out / SUMS).read_text().splitlines()]
    for name in (*listed, SUMS, "ro-crate-metadata.json"):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(out / name, to / name)
    return to


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo run without disturbance: made once for all workers, of which each has a copy of its own."""

    def make(folder: Path) -> None:
        done = its("demo", "--dir", str(folder), "--workers", "2", *SMALL)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Note:" not in done.stdout, done.stdout
        (folder / "stdout.txt").write_text(done.stdout)

    made = made_once(tmp_path_factory, "demo", make)
    folder = tmp_path_factory.mktemp("demo") / "own"
    shutil.copytree(made, folder)
    return folder


@pytest.fixture(scope="session")
def planned_once(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs with mode 2 and the small trial planned, and the trial's folder in them; tests change copies of it."""

    def make(out: Path) -> None:
        (out / "trials").mkdir(parents=True)
        (out / "trials/x_small.yaml").write_text(TRIAL)
        places = {"DATA_DIR": data_root, "OUTPUT_DIR": out, "TRIALS_DIR": out / "trials", "WORKERS": 1}
        done = here(
            *("run", "--modes", "2,x_small", "--to", "plan"), **{f"ITRIALSPACE_{k}": str(v) for k, v in places.items()}
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return made_once(tmp_path_factory, "planned", make)
