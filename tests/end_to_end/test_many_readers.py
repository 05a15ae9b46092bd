"""One trial of the demo read by readers of seven kinds, by the command line of a user."""

import json
import shutil
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.records.store import read_all, read_table

from ..readers import programs
from ..support.chat_server import MODEL, chat_server
from .conftest import here

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the demo: its readers are others afterwards."""
    folder = tmp_path_factory.mktemp("readers") / "own"
    shutil.copytree(demo, folder)
    return folder


MODE, DATASET = "m11_digital_twin_isolation", "DLCS24"
TASKS = ["presence"]
FUNCTION = """
from itrialspace_assets.readers.api import Generation

def read(requests):
    return [Generation("present" if r.pictures[0].mean() > 60 else "absent") for r in requests]
"""


def entries(base_url: str, answers: Path) -> dict[str, dict[str, object]]:
    """Readers of six kinds beside the built-in one, all on the processor."""
    own = {"enabled": True, "location": "cpu", "tasks": TASKS}
    program = [sys.executable, "-c", programs.SLICES.replace("print", ""), "{input}", "{output}"]
    return {
        "biomedclip": {**own, "options": {"batch": 8}},
        "medgemma": {**own, "profile": "lung_axial", "z_offsets": [0], "options": {"dtype": "float32", "batch": 8}},
        "served": {**own, "prompts": "plain_1", "options": {"base_url": base_url, "model": MODEL, "revision": "1"}},
        "program": {
            **own,
            "options": {"command": program, "reads": "slices", "timeout_s": 60.0},
            "scorer": "option_scores",
        },
        "people": {**own, "kind": "table", "options": {"answers": str(answers), "by": "slice_uid", "condition": "any"}},
        "mine": {**own, "kind": "callable", "options": {"read": "its_own_reader:read"}},
    }


def test_one_trial_is_read_by_readers_of_seven_kinds(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.readers.vision.tiny import tiny_biomedclip

    from ..support import tiny_chat

    tiny_biomedclip(tmp_path / "weights" / "biomedclip")
    tiny_chat.gemma(tmp_path / "weights" / "medgemma")
    (tmp_path / "its_own_reader.py").write_text(FUNCTION)
    monkeypatch.syspath_prepend(tmp_path)
    slices = read_table(demo / "out", "slices", source="tissue", mode=MODE, dataset=DATASET)
    said = slices.select("slice_uid").unique().sort("slice_uid").with_row_index("n")
    people = said.select(
        "slice_uid", answer=pl.when(pl.col("n") % 2 == 0).then(pl.lit("present")).otherwise(pl.lit("absent"))
    )
    people.with_columns(task=pl.lit("presence")).write_csv(tmp_path / "people.csv")
    with chat_server() as server:
        readers = entries(server.base_url, tmp_path / "people.csv")
        (tmp_path / "readers.yaml").write_text(yaml.safe_dump(json.loads(json.dumps({"readers": readers}))))
        environment = {
            "ITRIALSPACE_READERS_CONFIG": str(tmp_path / "readers.yaml"),
            "ITRIALSPACE_WEIGHTS_DIR": str(tmp_path / "weights"),
            "ITRIALSPACE_WORKERS": "1",
        }
        ready = here("readers", "check", *readers, "blob", "--dir", str(demo), **environment)
        assert ready.returncode == 0, ready.stdout + ready.stderr
        where = ("--modes", "11", "--datasets", DATASET, "--source", "tissue", "--dir", str(demo))
        done = here("evaluate", "--reader", ",".join(readers), *where, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        report = here(
            "run", "--modes", "11", "--datasets", DATASET, "--only", "report", "--dir", str(demo), **environment
        )
        assert report.returncode == 0, report.stdout + report.stderr
    settings = load_settings(data_dir=demo / "data", output_dir=demo / "out")
    answers = read_all(settings.output, "answers", source="tissue", mode=MODE, dataset=DATASET)
    answers = answers.filter(pl.col("reader").is_in([*readers, "blob"]))  # other tests ask others on this root
    plain = answers.filter(task="presence", control="none")
    counts = dict(plain.group_by("reader").len().rows())
    assert set(counts) == {*readers, "blob"}
    assert len(set(counts.values())) == 1, "every reader answers every slice once"
    assert set(plain.filter(pl.col("reader") != "served")["status"]) == {"ok"}
    assert plain.filter(reader="served", status="ok").height > 0
    chosen = plain.filter(reader="people").join(people, on="slice_uid", suffix="_given")
    assert (chosen["answer"].cast(pl.String) == chosen["answer_given"]).all()
    assert chosen.height == counts["people"]
    metrics = read_all(settings.output, "metrics", analysis=MODE)
    accuracy = metrics.filter(task="presence", metric="accuracy", stratum="all", condition="plain", source="tissue")
    assert set(accuracy["reader"]) == {*readers, "blob"}
    assert accuracy["estimate"].null_count() == 0
    assert (demo / "out/reports" / MODE / "report.html").exists()
