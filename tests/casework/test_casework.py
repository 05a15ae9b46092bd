import errno
import gc
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from itrialspace_assets.base import fingerprints
from itrialspace_assets.base.errors import CaseRejected, ConfigError, PlatformError, Reason, TableError
from itrialspace_assets.base.fingerprints import replace_file, sha256_bytes
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.casework import journal, shards, workers
from itrialspace_assets.casework.cases import Case, Collected, Output, require_all, retryable


class Number(StrictModel):
    n: int
    kill: bool = False


def square(payload: Number, settings: Settings) -> Output:
    n = payload.n
    if n == 3:
        raise CaseRejected(Reason.DOES_NOT_FIT, f"{settings.data}/x: three")
    if n == 5:
        raise RuntimeError("five is a defect")
    if n == 7 and payload.kill:
        os.kill(os.getpid(), signal.SIGKILL)
    data = str(n * n).encode()
    replace_file(settings.output / f"{n}.txt", data)
    with (settings.output / "calls.log").open("a") as log:
        log.write(f"{n}\n")
    return Output({"squares": [{"n": n, "square": n * n}]}, {f"{n}.txt": sha256_bytes(data)})


def cases(kill: bool = False, version: str = "1") -> list[Case]:
    return [Case(f"case/{n}", f"{version}-{n}", f"group{n % 3}", Number(n=n, kill=kill)) for n in range(10)]


def run(settings: Settings, todo: list[Case], name: str = "r-0") -> Collected:
    folder = journal.journal_dir(settings, "stage", "m/d")
    workers.run(square, journal.pending(settings, todo, folder), settings, folder / f"{name}.jsonl")
    made = journal.collect(settings, todo, folder)
    return replace(made, rows=dict(made.rows))  # type: ignore[arg-type]  # read now: some tests spoil the journal


@pytest.fixture
def out(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out", workers=1)


def test_bad_cases_are_put_aside_and_the_others_go_on(out: Settings) -> None:
    made = run(out, cases())
    assert [r["n"] for r in made.rows["squares"]] == [0, 1, 2, 4, 6, 7, 8, 9]
    assert {(r.uid, r.reason) for r in made.rejected} == {
        ("case/3", Reason.DOES_NOT_FIT),
        ("case/5", Reason.UNEXPECTED),
    }
    assert str(out.data) not in str(made.rejected), "no absolute path in outputs"


def test_workers_do_not_change_the_result(out: Settings, tmp_path: Path) -> None:
    two = load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out2", workers=2)
    assert run(out, cases()) == run(two, cases())


def test_a_rerun_does_only_what_is_new_or_spoilt(out: Settings) -> None:
    run(out, cases())
    log = out.output / "calls.log"
    log.write_text("")
    run(out, cases(), "r2-0")
    assert log.read_text() == ""
    (out.output / "4.txt").write_text("spoilt")
    run(out, cases(), "r3-0")
    assert log.read_text() == "4\n"
    log.write_text("")
    run(out, cases(version="2"), "r4-0")
    assert len(log.read_text().split()) == 8


def test_a_half_written_journal_line_is_as_if_it_never_was(out: Settings) -> None:
    made = run(out, cases())
    file = journal.journal_dir(out, "stage", "m/d") / "r-0.jsonl"
    file.write_bytes(file.read_bytes()[:-25])
    assert [c.uid for c in journal.pending(out, cases(), file.parent)] == ["case/5", "case/8"]  # 5: may have passed
    assert run(out, cases(), "r2-0") == made


def test_a_shard_that_is_tried_again_loses_nothing_to_a_torn_line(out: Settings) -> None:
    """The second try adds to the journal that a killed one left in the middle of a line."""
    made = run(out, cases())
    file = journal.journal_dir(out, "stage", "m/d") / "r-0.jsonl"
    file.write_bytes(file.read_bytes()[:-25])
    assert run(out, cases(), "r-0") == made


def test_a_killed_worker_loses_only_its_own_case(tmp_path: Path) -> None:
    two = load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out", workers=2)
    made = run(two, cases(kill=True))
    assert ("case/7", Reason.WORKER_KILLED) in {(r.uid, r.reason) for r in made.rejected}
    assert [r["n"] for r in made.rows["squares"]] == [0, 1, 2, 4, 6, 8, 9]


def test_shards_cover_every_case_once_and_keep_groups_whole(tmp_path: Path) -> None:
    three = load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out", workers=1, shards=3)
    folder = journal.journal_dir(three, "stage", "m/d")
    keys = shards.assign_shards(three, cases(), folder, "run")
    assert len(keys) == 3
    shards.run_shard(square, Number, three, folder, "run", keys[0])
    with pytest.raises(TableError, match="not finished"):
        require_all(journal.collect(three, cases(), folder), "stage m/d")
    for key in keys:  # the first again, as a retry would
        shards.run_shard(square, Number, three, folder, "run", key)
    made = journal.collect(three, cases(), folder)
    assert not made.missing
    assert shards.assigned(folder, "run") == 10
    assert sorted((three.output / "calls.log").read_text().split()) == sorted(str(r["n"]) for r in made.rows["squares"])


def test_a_cause_that_may_pass_is_tried_again_and_leaves_the_partition_out_of_date(out: Settings) -> None:
    made = run(out, cases())
    assert retryable(made) == 1
    mended = [replace(c, payload=Number(n=50)) if c.uid == "case/5" else c for c in cases()]
    again = run(out, mended, "r2-0")
    assert retryable(again) == 0
    assert {r.uid for r in again.rejected} == {"case/3"}


def full_disk(payload: Number, settings: Settings) -> Output:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("count", [1, 2])
def test_a_full_disk_ends_the_run_and_no_case(tmp_path: Path, count: int) -> None:
    settings = load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out", workers=count)
    folder = journal.journal_dir(settings, "stage", "m/d")
    with pytest.raises(PlatformError, match="free space"):
        workers.run(full_disk, cases(), settings, folder / "r-0.jsonl")
    assert len(journal.pending(settings, cases(), folder)) == 10


def test_shards_are_assigned_by_cost(tmp_path: Path) -> None:
    """One host of ten times the voxels weighs as ten others, however many cases each has."""
    settings = load_settings(data_dir=tmp_path, output_dir=tmp_path, shards=2)
    many = [
        Case(f"c{i}", "h", "large" if i == 0 else f"small{i}", Number(n=i), 10.0 if i == 0 else 1.0) for i in range(11)
    ]
    shards.assign_shards(settings, many, tmp_path, "r")
    assigned = [
        [json.loads(line) for line in (tmp_path / f"r-s{n}.shard.ndjson").read_text().splitlines()] for n in range(2)
    ]
    assert sorted(sum(c["cost"] for c in shard) for shard in assigned) == [10.0, 10.0]
    assert min(len(shard) for shard in assigned) == 1


def misconfigured(payload: Number, settings: Settings) -> Output:
    raise ConfigError("weights: expected others")


@pytest.mark.parametrize("count", [1, 2])
def test_a_wrong_configuration_is_no_cases_fault(tmp_path: Path, count: int) -> None:
    settings = load_settings(data_dir=tmp_path, output_dir=tmp_path, workers=count)
    with pytest.raises(ConfigError, match="expected others"):
        workers.run(
            misconfigured, [Case(f"c{i}", "h", f"g{i}", Number(n=i)) for i in range(20)], settings, tmp_path / "j.jsonl"
        )
    assert not (tmp_path / "j.jsonl").read_text()


def dies_once(payload: Number, settings: Settings) -> Output:
    """The fourth case kills its worker the first time; the last two end when they run at once, in two workers."""
    started = settings.output / f"{payload.n}.start"
    first = not started.exists()
    started.touch()
    if payload.n == 3 and first:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)  # a pool starts its second worker when it hands out work while the first is busy
    until = time.monotonic() + 60
    while payload.n >= 38 and not all((settings.output / f"{n}.start").exists() for n in (38, 39)):
        assert time.monotonic() < until, "no second worker"
        time.sleep(0.01)
    return Output({"t": [{"uid": str(payload.n)}]})


def test_a_dead_worker_leaves_the_rest_in_parallel(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, output_dir=tmp_path, workers=2)
    many = [Case(f"c{i:02d}", "h", f"g{i}", Number(n=i)) for i in range(40)]
    workers.run(dies_once, many, settings, tmp_path / "j.jsonl")
    entries = [json.loads(line) for line in (tmp_path / "j.jsonl").read_text().splitlines()]
    assert sorted(e["uid"] for e in entries) == [c.uid for c in many]
    assert not [e for e in entries if "reason" in e]


def test_what_a_run_wrote_is_not_read_again_unless_it_changed(out: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(fingerprints, "hash_file", lambda path: read.append(path.name) or sha256_bytes(b"damaged"))
    files = run(out, cases()).files
    assert len(files) == 8
    assert not read
    (out.output / "4.txt").write_bytes(b"damaged")
    with fingerprints.FileHashes(out.output / "work" / "fingerprints.sqlite") as hashes:
        hashes.remember(out.output, {"4.txt": files["4.txt"]})  # as another case that shares the file would say
        assert not hashes.intact(out.output, files)
    assert read == ["4.txt"]


class Counted(StrictModel):
    n: int


def counting(payload: Counted, settings: Settings) -> Output:
    """How many payloads this process holds, as a row; looked for at some cases, since it takes long."""
    alive = sum(isinstance(found, Counted) for found in gc.get_objects()) if payload.n in (60, 61, 150) else 0
    return Output({"alive": [{"n": payload.n, "alive": alive}]})


@pytest.mark.slow
def test_few_cases_and_rows_are_in_memory_at_once(out: Settings) -> None:
    """Two hundred of two groups: a chunk that runs and the one after it."""
    many = (Case(f"c{n:03d}", "h", f"g{n % 2}", Counted(n=n)) for n in range(200))
    made, computed = workers.process(counting, many, out, "stage", "m/d", "r")
    parts = list(made.rows.parts("alive", size=64))
    assert (computed, made.total, [len(part) for part in parts]) == (200, 200, [64, 64, 64, 8])
    assert [row["n"] for part in parts for row in part] == list(range(200)), "in the order of the cases"
    assert 0 < max(row["alive"] for part in parts for row in part) <= 2 * workers._CHUNK
    assert not list((out.output / "work").glob(".tmp-*"))
