"""Programs of others as plain processes: what they are given, what is taken from them, and what they cannot do."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.base.errors import CaseRejected, ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.readers import questions
from itrialspace_assets.readers.api import Reader, Request, Scan
from itrialspace_assets.readers.asking import ask
from itrialspace_assets.readers.case import RealScan
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment
from itrialspace_assets.readers.outside import messages, runners, scans, slices, supervise
from itrialspace_assets.readers.outside.options import ContainerOptions
from itrialspace_assets.readers.registry import make
from tests.readers import programs
from tests.readers.conftest import read, table


@cache
def python() -> str:
    """A Python that nobody can run and start again: this one, unless it lies where only its user may look."""
    user = (
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"] if os.geteuid() == 0 else []
    )
    again = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-I', '-S', '-c', 'import json']))"
    for path in (str(Path(sys.executable).resolve()), "/usr/bin/python3"):
        if subprocess.run([*user, path, "-I", "-S", "-c", again], capture_output=True, check=False).returncode == 0:
            return path
    pytest.skip("no Python here can be run by the user nobody")


def ct(brightest: int = 400, at: tuple[int, int, int] = (6, 2, 3)) -> Volume:
    """A small scan that is not symmetric, with one bright voxel."""
    array = np.full((9, 8, 7), -800, np.float32)
    array[at] = brightest
    affine = np.diag([1.5, 2.0, 2.5, 1.0])
    affine[:3, 3] = [-30.0, 12.0, 100.0]
    return Volume(array, affine)


def reader(tmp_path: Path, program: str, **options: Any) -> Reader:
    """The program as a reader."""
    command = [python(), "-I", "-S", "-c", program, "{input}", "{output}"]
    given = {"command": command, "timeout_s": 20, "memory_mb": 512, "output_mb": 4} | options
    entry = ReaderEntry(name="theirs", kind="container", options=given)
    return make(entry, ReaderEnvironment(None, tmp_path / "fingerprints.sqlite"))


def marks(how: Reader, volume: Volume) -> list[Any]:
    assert how.mark is not None
    return how.mark(Scan("image", lambda: volume, lambda: None))


def test_a_program_marks_the_voxel_that_it_means(tmp_path: Path) -> None:
    how, scan = reader(tmp_path, programs.OWN), ct()
    assert how.needs() == []
    (mark,) = marks(how, scan)
    assert mark.world == pytest.approx(tuple(scan.to_world([6, 2, 3])), abs=1e-4)
    assert (mark.diameter_mm, mark.score) == (6.0, 0.4)


def test_an_entry_of_a_challenge_runs_unchanged(tmp_path: Path) -> None:
    """Axes to the left and back (LPS) in, points in them out."""
    how, scan = reader(tmp_path, programs.CHALLENGE, interface="grand_challenge"), ct(at=(1, 6, 2))
    (mark,) = marks(how, scan)
    assert mark.world == pytest.approx(tuple(scan.to_world([1, 6, 2])), abs=1e-4)
    assert (mark.diameter_mm, mark.score) == (None, 0.9)


#: What a program does wrong, and what is said of it.
SAID = {
    "hang": "expected an end within 0.7 s, got none; it was stopped",
    "crash": "got exit code 3; last printed: 'oh no'",
    "garbage": "result.json: file: Invalid JSON",
    "nan": "marks.0.point_mm.0: Input should be a finite number",
    "infinite": "marks.0.score: Input should be a finite number",
    "out of bounds": r"expected marks between \(-30.8, 11.0, 98.8\) and \(-17.2, 27.0, 116.2\) mm \(RAS\), got",
    "negative size": "marks.0.diameter_mm: Input should be greater than 0",
    "other version": "version: Input should be 1",
    "unknown key": "lesions: Extra inputs are not permitted",
    "deep": "Invalid JSON: recursion limit exceeded",
    "nothing": "expected a file in the output folder, found none",
    "huge": "expected at most 4 MB|File too large|signal 25|exit code",
    "many prints": "expected at most 4 MB|exit code",
    "many files": "50 files, got more",
    "link out": "got a link out of it",
    "pipe": "found none",
    "folder": "found none",
    "memory": "last printed: 'MemoryError'",
    "writes outside": "last printed: .*(Permission denied|Read-only file system)",
    "writes into its input": "expected its input as it was|Permission denied|Read-only file system",
}
#: Those that are tried in the quick tests.
QUICK = ("hang", "crash", "link out", "writes outside")


@pytest.mark.parametrize(
    "name",
    ["garbage", "nan", "infinite", "out of bounds", "negative size", "other version", "unknown key", "deep"],
)
def test_what_a_result_may_not_hold(tmp_path: Path, name: str) -> None:
    text = eval(programs.WRONG[name].removeprefix("put"))
    with pytest.raises(ValueError, match=SAID[name]):
        scans.read_marks(text.encode(), ct(), ContainerOptions(command=("true",)))


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ('{"version": 1, "answers": [{"id": "00000", "text": "a", "text": "b"}]}', "once, got 'text' more than once"),
        ('{"version": 1, "answers": [], "answers": []}', "once, got 'answers' more than once"),
        (
            '{"version": 1, "answers": [{"id": "00000", "option_scores": {"a": true}}]}',
            "a: Input should be a valid num",
        ),
        ('{"version": 1, "answers": [{"id": "00000", "option_scores": {"a": "1"}}]}', "a: Input should be a valid num"),
        ('{"version": 1, "answers": [{"id": 0, "text": "a"}]}', "id: Input should be a valid string"),
        ('{"version": 1, "answers": [{"id": "00000", "text": "\\ud800"}]}', "Invalid JSON"),
        ('{"version": 1, "answers": [{"id": "00000", "text": "%s"}]}' % ("x" * 100_001), "at most 100000 characters"),
        ('\ufeff{"version": 1, "answers": []}', "Invalid JSON"),
    ],
    ids=["two texts", "two lists", "truth", "text", "id", "surrogate", "long", "mark"],
)
def test_an_answer_says_one_thing_in_its_own_type(result: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"result.json: .*{said}"):
        slices.read_answers(result.encode(), [request("presence", ("present", "absent"))])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in programs.WRONG]
)
def test_what_a_program_does_wrong_costs_its_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(supervise, "_FILES", 50)
    how = reader(tmp_path, programs.wrong(name), timeout_s=0.7 if name == "hang" else 20)
    with pytest.raises(CaseRejected, match=SAID[name]) as found:
        marks(how, ct())
    assert found.value.reason.value == "unexpected_error"
    assert len(found.value.detail) < 500
    assert not Path("/its-was-here").exists()


def test_a_program_that_may_not_calls_nobody(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = programs.CALLS.format(port=server.getsockname()[1])
        with pytest.raises(CaseRejected, match="Network is unreachable"):
            marks(reader(tmp_path, program), ct())
        with pytest.raises(CaseRejected, match="found none"):  # it reached the port, and left no result
            marks(reader(tmp_path, program, network="on"), ct())


def test_a_changed_input_is_found_where_the_user_could_change_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_itself(options: Any, folders: runners.Folders) -> runners.Command:
        words = runners._filled(options.command, {"input": str(folders.input), "output": str(folders.output)})
        return runners.Command(words, dict(os.environ), lambda: None)

    monkeypatch.setattr(runners, "as_process", as_itself)
    for change in ("open(sys.argv[1] + '/request.json', 'a').write(' ')", "open(sys.argv[1] + '/more', 'w')"):
        program = f'{programs.wrong("nothing")}\nput(\'{{"version": 1, "marks": []}}\')\n{change}'
        with pytest.raises(CaseRejected, match="expected its input as it was, got a changed one"):
            marks(reader(tmp_path, program), ct())


#: Starts a process that would outlive it.
_CHILD = """
import subprocess, sys, time
command = [sys.executable, "-c", "import time; time.sleep(50)", "{name}"]
subprocess.Popen(command, start_new_session=True)
"""


def running(name: str) -> list[Path]:
    """Processes whose last word is a name."""
    return [p for p in Path("/proc").glob("[0-9]*/cmdline") if _bytes(p).endswith(f"\0{name}\0".encode())]


@pytest.mark.parametrize("ends", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_program_leaves_no_process_and_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool) -> None:
    mine = tempfile.TemporaryDirectory()
    Path(mine.name).chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", mine.name)
    name = f"its_{os.getpid()}_{time.time_ns()}"
    end = (
        "open(sys.argv[2] + '/result.json', 'w').write('{\"version\": 1, \"marks\": []}')" if ends else "time.sleep(50)"
    )
    how = reader(tmp_path, _CHILD.format(name=name) + end, timeout_s=20 if ends else 1)
    if ends:
        assert marks(how, ct()) == []
    else:
        with pytest.raises(CaseRejected, match="expected an end within 1 s"):
            marks(how, ct())
    wait_for(lambda: not running(name))
    with mine:
        assert not list(Path(mine.name).iterdir())


@pytest.mark.slow
def test_a_killed_worker_takes_its_program_along(tmp_path: Path) -> None:
    name = f"its_{os.getpid()}_{time.time_ns()}"
    program = _CHILD.format(name=name) + "time.sleep(50)"
    code = f"""
from pathlib import Path
from itrialspace_assets.readers.outside.options import ContainerOptions
from itrialspace_assets.readers.outside.runners import Folders, as_process
from itrialspace_assets.readers.outside.supervise import Limits, run
here = Path({str(tmp_path)!r})
options = ContainerOptions(command=({python()!r}, "-I", "-S", "-c", {program!r}))
command = as_process(options, Folders(here, here, here, None))
run(command.words, command.environment, Path("/"), [here], here / "log", Limits(60, 1 << 20), command.stop)
"""
    worker = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_for(lambda: bool(running(name)))
    finally:
        worker.kill()
        worker.wait()
    wait_for(lambda: not running(name))


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not what():
        assert time.monotonic() < until
        time.sleep(0.1)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_program_sees_no_variable_of_ours_and_is_not_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    program = "import os, sys; sys.exit(' '.join(sorted(os.environ)) + f' user {os.getuid()}')"
    with pytest.raises(CaseRejected) as found:
        marks(reader(tmp_path, program), ct())
    user = 65534 if os.geteuid() == 0 else os.geteuid()
    assert "HOME ITS_INPUT ITS_OUTPUT ITS_WEIGHTS LANG" in found.value.detail
    assert "HF_TOKEN" not in found.value.detail
    assert f"user {user}'" in found.value.detail


def request(task: str, options: tuple[str, ...], number: int = 0) -> Request:
    picture = np.full((12, 10), number, np.uint8)
    return Request(f"k{task}{number}", (picture,), (0.7, 0.7), "bbox", "none", task, f"{task}_1", "Which?", options)


def test_slices_are_answered_by_id_and_a_bad_request_costs_itself(tmp_path: Path) -> None:
    how = reader(tmp_path, programs.SLICES, reads="slices")
    assert how.mark is None
    two, sizes = ("present", "absent"), ("<5mm", "5-10mm")
    asked = [
        request("presence", two, 0),
        request("lobe", ("a", "b"), 1),
        request("size", sizes, 2),
        request("presence", two[::-1], 3),
    ]
    got = ask(how.load(), asked)
    assert [g.generation.raw_text if g.generation else None for g in got] == ["present", None, None, "absent"]
    assert got[1].detail == "the program says: not my task"
    assert "last printed: 'no sizes'" in got[2].detail
    scores = got[0].generation.option_scores, got[3].generation.option_scores
    assert scores[0][0] / scores[0][1] == pytest.approx(7 / 6)
    assert scores[1][0] / scores[1][1] == pytest.approx(6 / 7)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([], "the program returned nothing for it"),
        ([{"id": "00000"}], "expected a text or scores of the options, got neither"),
        ([{"id": "00000", "option_scores": {"present": 1.0}}], "expected scores of present, absent, got present"),
        (
            [{"id": "00000", "text": "a"}, {"id": "00000", "text": "b"}],
            "expected each id of request.json once, got '00000'",
        ),
        ([{"id": "00007", "text": "a"}], "expected each id"),
    ],
)
def test_what_is_no_answer_is_a_failure(answers: list[Any], said: str) -> None:
    result = json.dumps({"version": 1, "answers": answers}).encode()
    asked = [request("presence", ("present", "absent"))]
    (got,) = ask(lambda requests: slices.read_answers(result, requests), asked)
    assert said in got.detail


def test_a_batch_that_hangs_is_waited_for_once(tmp_path: Path) -> None:
    how = reader(tmp_path, programs.wrong("hang"), reads="slices", timeout_s=0.5)
    began = time.monotonic()
    got = ask(how.load(), [request("presence", ("present", "absent"), n) for n in range(8)])
    assert all("expected an end within 0.5 s" in g.detail for g in got)
    assert time.monotonic() - began < 4, "eight times as long, were each request waited for"


@pytest.mark.slow
def test_a_program_that_fails_on_a_scan_costs_that_scan(
    study: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five scans: one is garbage to the program, one crashes it, one hangs it; the others are marked and written."""
    command = json.dumps([python(), "-I", "-S", "-c", programs.OWN, "{input}", "{output}"])
    entry = f"kind: container, tasks: null, options: {{command: {command}, timeout_s: 1.5, memory_mb: 512}}"
    settings = study(20, entry)
    tops = {"LUNA16/0": 400, "LUNA16/1": 1000, "LUNA16/2": 1001, "LUNA16/3": 1002, "LUNA16/4": 500}
    for uid, top in tops.items():
        write_volume(settings.data / "raw_ct" / f"{uid}.nii.gz", ct(top))
    listed = {uid: RealScan(image_uid=uid, key=f"k{top}", ct_path=f"{uid}.nii.gz") for uid, top in tops.items()}
    monkeypatch.setattr(questions, "_real_scans", lambda *_: (listed, {uid: uid for uid in listed}))
    result = read(settings, "r1")
    found = table(settings, "detections").select("image_uid", "score", "diameter_mm").rows()
    assert found == [("LUNA16/0", 0.4, 6.0), ("LUNA16/4", 0.5, 6.0)]
    assert (result.rejected, result.retryable) == (3, 3)
    rejected = pl.concat([pl.read_parquet(p) for p in (settings.output / "tables/rejected_cases").rglob("*.parquet")])
    assert sorted(d.split("got ")[-1].split(";")[0] for d in rejected["detail"]) == [
        "'nodule!')",
        "exit code 1",
        "none",
    ]
    assert table(settings, "answers")["status"].unique().to_list() == ["unsupported"]


def test_the_published_schemas_are_those_that_are_checked() -> None:
    """`its readers schema --out docs/schemas` writes them again."""
    folder = Path(__file__).parents[2] / "docs" / "schemas"
    others = {"study"}  # `its study schema`
    assert {p.stem for p in folder.glob("*.json")} - others == set(messages.PUBLISHED)
    for name in messages.PUBLISHED:
        assert json.loads((folder / f"{name}.json").read_text()) == messages.schema(name)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "expected an image or a command, got neither"),
        ({"command": ["./run.sh"]}, "expected the whole path of a program"),
        ({"command": ["true"], "gpus": True}, "expected an image, got none"),
        ({"image": "a", "interface": "grand_challenge", "reads": "both"}, "reads: expected scans"),
        ({"image": "--privileged"}, "image"),
        ({"image": "a", "output_path": "../x.json"}, "output_path"),
        ({"image": "a", "input_path": "/etc"}, "input_path"),
        ({"image": "a", "weigths": "x"}, "did you mean 'weights'"),
    ],
)
def test_a_wrong_entry_is_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match="readers.theirs: options: .*" + said):
        make(
            ReaderEntry(name="theirs", kind="container", options=options),
            ReaderEnvironment(None, tmp_path / "f.sqlite"),
        )


def test_what_is_missing_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def needed(**options: Any) -> str:
        entry = ReaderEntry(name="theirs", kind="container", options=options)
        return "; ".join(
            f"{n.what}: {n.fix}" for n in make(entry, ReaderEnvironment(None, tmp_path / "f.sqlite")).needs()
        )

    assert "expected the program no-such-program, found none" in needed(command=["no-such-program"])
    assert "ITRIALSPACE_WEIGHTS_DIR is not set" in needed(command=["true"], weights="theirs")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    assert "set DOCKER_HOST to where it listens" in needed(image="a/b:c") or "install Docker" in needed(image="a/b:c")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "found no prlimit, unshare, setpriv" in needed(command=[python()])
    assert "expected the command docker, found none" in needed(image="a/b:c")


def test_another_program_is_another_revision_and_other_limits_are_not(tmp_path: Path) -> None:
    script = tmp_path / "theirs.py"
    script.write_text("1")
    options = {"command": [python(), str(script)]}

    def revision(**more: Any) -> str:
        entry = ReaderEntry(name="theirs", kind="container", options=options | more)
        return make(entry, ReaderEnvironment(None, tmp_path / "f.sqlite")).revision

    first = revision()
    assert revision(timeout_s=5.0) == first
    assert revision(reads="both") != first
    script.write_text("22")
    assert revision() != first


def test_a_container_is_confined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of the docker command; the test marked docker runs them."""
    monkeypatch.setattr(runners, "_inspect", lambda image, form: "" if "User" in form else "sha256:1")
    folders = runners.Folders(tmp_path / "i", tmp_path / "o", tmp_path / "w", tmp_path / "m")
    options = make(
        ReaderEntry(name="theirs", kind="container", options={"image": "a/b:c", "command": ["run", "{input}"]}),
        ReaderEnvironment(None, tmp_path / "f.sqlite"),
    )
    given = options.load.args[0]
    words = " ".join(runners.in_container(given, folders).words)
    for part in ("--network none", "--read-only", "--cap-drop ALL", "--security-opt no-new-privileges", "--pull never",
                 "--memory 8192m --memory-swap 8192m", "--pids-limit 512", "--user 65534:65534",
                 f"{tmp_path}/i:/input:ro", f"{tmp_path}/m:/opt/ml/model:ro"):  # fmt: skip
        assert part in words
    assert words.endswith("a/b:c run /input")
    monkeypatch.setattr(runners, "_inspect", lambda image, form: "algorithm" if "User" in form else "sha256:1")
    assert "--user" not in runners.in_container(given, folders).words
