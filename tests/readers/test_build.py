"""The reading stage with the mock reader: what is asked, what is not asked again, and what a bad slice costs."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.readers import build, health
from itrialspace_assets.readers.ledger import Ledger
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.readers.requests import requests_of, shown
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import read_table, table_path
from tests.readers.conftest import WHERE, read, slice_rows, table

Study = Callable[..., Settings]


def test_every_request_has_a_generation_and_an_answer(study: Study) -> None:
    settings = study(24, "options: {refusal_rate: 0.2}")
    result = read(settings, "r1")
    generations, answers = table(settings, "generations"), table(settings, "answers")
    assert generations.height == answers.height == 24 * 2 * 3 == result.computed
    assert set(answers["status"]) == {"ok", "refused"}
    assert answers.filter(status="refused")["answer"].null_count() == answers.filter(status="refused").height > 0
    slices = read_table(settings.output, "slices", **WHERE)
    assert (
        answers.join(slices, on=["slice_uid", "condition"])
        .filter(pl.col("picture_sha256") != pl.col("sha256"))
        .is_empty()
    )
    assert result.picture is not None
    assert result.picture.startswith(b"\x89PNG")
    again = read(settings, "r2")
    assert (again.computed, again.reused) == (0, 144)
    assert table(settings, "generations").equals(generations)


@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (7, 1), (1000, 1), (5, 2)])
def test_results_depend_neither_on_batch_nor_on_workers(study: Study, batch: int, workers: int) -> None:
    entry = "options: {refusal_rate: 0.1, error_rate: 0.05}"
    read(study(10, entry), "a")
    wanted = table(study(10, entry), "generations"), table(study(10, entry), "answers")
    other = study(10, entry, batch=batch, workers=workers, output_dir=study(10, entry).output.parent / "other")
    read(other, "b")
    assert table(other, "generations").equals(wanted[0])
    assert table(other, "answers").equals(wanted[1])


def test_another_prompt_asks_its_task_again_and_no_other(study: Study) -> None:
    read(study(), "r1")
    words = "prompts: {size: {id: size_2, text: 'How wide? {options}', paraphrase: 'What width? {options}'}}"
    settings = study(24, words)
    result = read(settings, "r2")
    assert (result.computed, result.reused) == (48, 96)
    assert table(settings, "generations").filter(task="size")["prompt_id"].unique().to_list() == ["size_2"]


def test_a_changed_picture_is_asked_again_and_an_unchanged_one_never(study: Study) -> None:
    settings = study()
    read(settings, "r1")
    rows = slice_rows(settings.output, range(24))
    (new,) = slice_rows(settings.output, range(200, 201), ("plain",))
    rows[0] |= {"path": new["path"], "sha256": new["sha256"]}
    result = read(study(rows=rows), "r2")
    assert (result.computed, result.reused) == (3, 141)


def test_a_picture_that_several_targets_share_is_asked_once(study: Study) -> None:
    settings = study(4)
    rows = slice_rows(settings.output, range(4))
    for row in rows:
        row |= {"path": rows[0]["path"], "sha256": rows[0]["sha256"], "condition": row["condition"]}
    settings = study(rows=rows)
    assert read(settings, "r1").computed == 2 * 3, "two conditions, three tasks"
    assert table(settings, "answers").height == 4 * 2 * 3


def test_a_bad_slice_costs_that_slice(study: Study) -> None:
    settings = study(6)
    (settings.output / "store/slices/0002_bbox.png").write_bytes(b"no picture")
    (settings.output / "store/slices/0004_plain.png").unlink()
    result = read(settings, "r1")
    bad = table(settings, "answers").filter(status="error")
    assert bad.select("slice_uid", "condition").unique().sort("slice_uid").rows() == [
        ("s0002", "bbox"),
        ("s0004", "plain"),
    ]
    assert bad.height == 6 == result.rejected
    assert bad["reason"].str.starts_with("unreadable_volume: store/slices/").all()
    assert result.retryable == 0, "another try would not fix it"
    slice_rows(settings.output, range(6))  # as they were
    assert read(settings, "r2").computed == 6
    assert table(settings, "answers").filter(status="error").is_empty()


def test_failures_are_asked_again_and_are_never_answers(study: Study) -> None:
    settings = study(20, "options: {error_rate: 0.2}")
    result = read(settings, "r1")
    failed = table(settings, "generations").filter(pl.col("failure").is_not_null())
    assert failed.height == result.rejected == result.retryable > 5
    assert read(settings, "r2").computed == failed.height
    known = Ledger.of(settings, "mock", readers(settings)["mock"].revision).keys()
    assert not known.is_in(failed["generation_key"].implode()).any()


def test_answers_are_made_anew_without_a_reader(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    read(study(), "r1")
    settings = study(24, "scorer: option_scores", ask=False)

    def never(*_: object) -> None:
        raise AssertionError("a reader was asked")

    monkeypatch.setattr(build.shards, "run_shard", never)
    for path in (settings.output / "ledger/mock").rglob("*.parquet"):
        path.unlink()  # what the table still holds is not asked again either
    assert read(settings, "r2").computed == 0
    assert table(settings, "answers")["scorer"].unique().to_list() == ["option_scores"]
    more = study(26, "scorer: option_scores", ask=False)
    with pytest.raises(TableError, match=r"12 requests were never asked; ask them with `its run --only read`"):
        read(more, "r3")


def test_controls_of_requests_are_asked_beside(study: Study) -> None:
    settings = study(6, "controls: [text_only, options_rotated, prompt_paraphrase]")
    read(settings, "r1")
    found = table(settings, "generations")
    counts = dict(found.group_by("control").len().rows())
    assert counts == {"none": 36, "options_rotated": 36, "prompt_paraphrase": 36, "text_only": 18}
    assert found.filter(control="text_only")["generation_key"].n_unique() == 3, (
        "one a task: there is nothing to tell apart"
    )
    rotated = found.filter(control="options_rotated", task="presence")["options"].unique().to_list()
    assert rotated == [["absent", "present"]]
    words = found.filter(task="size").select("control", "prompt_sha256").unique()
    assert (
        words.filter(control="none")["prompt_sha256"][0]
        != words.filter(control="prompt_paraphrase")["prompt_sha256"][0]
    )


def test_neighbours_are_shown_in_z_order_and_missing_ones_are_not(study: Study) -> None:
    settings = study(3, "z_offsets: [-1, 0, 1]", rows=[])
    rows = []
    for z in (1, -1, 0):
        for row in slice_rows(settings.output, range(10 * (z + 2), 10 * (z + 2) + 3), ("plain",)):
            i = int(row["target_uid"][1:]) % 10
            if not (i == 2 and z == 1):  # the last one lies at the scan's end
                rows.append(row | {"target_uid": f"t{i}", "z_offset": z, "case_uid": "real/LUNA16/a"})
    reader = readers(settings)["mock"]
    settings = study(3, "z_offsets: [-1, 0, 1]", rows=rows)
    given = shown(read_table(settings.output, "slices", **WHERE), "lung_axial", (-1, 0, 1)).sort("target_uid")
    assert given["z_offsets"].to_list() == ["-1,0,1", "-1,0,1", "-1,0"]
    assert given["paths"][0].to_list() == [f"store/slices/{n:04}_plain.png" for n in (10, 20, 30)]
    assert given["slice_uid"].to_list() == ["s0020", "s0021", "s0022"]
    assert requests_of(reader, read_table(settings.output, "slices", **WHERE)).height == 9
    read(settings, "r1")
    assert set(table(settings, "answers")["status"]) == {"ok"}


def test_a_profile_that_was_not_cut_names_the_setting(study: Study) -> None:
    with pytest.raises(ConfigError, match="lung_axial_medgemma, got lung_axial; add it to ITRIALSPACE_PROFILES"):
        read(study(4, "profile: lung_axial_medgemma"), "r1")
    with pytest.raises(ConfigError, match=r"z_offset -1, 1, got 0; add it to ITRIALSPACE_Z_OFFSETS"):
        read(study(4, "z_offsets: [-1, 0, 1]"), "r1")


def test_only_listed_cases_are_read_and_the_version_says_so(study: Study, tmp_path: Path) -> None:
    listed = tmp_path / "ids.txt"
    listed.write_text("# mine\nreal/LUNA16/1\ns0007\nLUNA16/9\n")
    settings = study(24, case_ids=listed)
    read(settings, "r1")
    assert table(settings, "answers")["slice_uid"].unique().sort().to_list() == ["s0002", "s0003", "s0007", "s0009"]
    step = build.make_step(REAL, readers(settings)["mock"])
    assert step.code_version(settings) != step.code_version(study(24)) == step.version
    most = study(24, max_cases=2)
    read(most, "r2")
    assert table(most, "answers")["slice_uid"].n_unique() == 4
    with pytest.raises(ConfigError, match="ITRIALSPACE_CASE_IDS="):
        read(study(24, case_ids=tmp_path / "none.txt"), "r3")


def test_an_empty_partition_is_written(study: Study) -> None:
    settings = study(rows=[])
    result = read(settings, "r1")
    assert result.note == "no slice in this partition"
    assert table_path(settings.output, "answers", reader="mock", **WHERE).exists()


def test_health_tells_constant_answers_refusals_and_gaps(study: Study) -> None:
    settings = study(60)
    read(settings, "r1")
    answers, generations = table(settings, "answers"), table(settings, "generations")
    given = shown(read_table(settings.output, "slices", **WHERE), "lung_axial", (0,))
    tasks, target = health.tasks_of([answers]), pl.col("target_uid") < given["target_uid"].sort()[20]
    assert health.coverage([(answers, given)], tasks, ())["share"].to_list() == [1.0] * 6
    halves = [(answers.filter(part), given.filter(part)) for part in (target, ~target)]
    assert health.coverage(halves, tasks, ()).equals(health.coverage([(answers, given)], tasks, ()))
    assert not health.entropies([answers[:9], answers[9:]])["constant"].any()
    assert health.answered_twice([answers]) == health.shared_keys(lambda: [generations[:9], generations[9:]]) == []
    same = answers.with_columns(
        answer=pl.when(pl.col("task") == "presence").then(pl.lit("present")).otherwise("answer")
    )
    assert health.entropies([same]).filter("constant")["task"].to_list() == ["presence"]
    assert health.entropies([same.head(50)]).filter("constant").is_empty(), "too few to tell"
    some = answers.filter(~((pl.col("task") == "lobe") & (pl.col("slice_uid") < "s0030")))
    gap = health.coverage([(some, given)], tasks, ())
    assert gap.filter(pl.col("share") < 1).select("task", "share").rows() == [("lobe", 0.5)] * 2
    refused = answers.with_columns(status=pl.when(pl.col("task") == "size").then(pl.lit("refused")).otherwise("status"))
    assert health.refusals([refused])["refused"].to_list() == [0.0, 0.0, 1.0]
    (twice,) = health.answered_twice([pl.concat([answers, answers.head(1)])])
    assert twice.endswith(": 2 answers")
    other = generations.head(1).with_columns(options=pl.concat_list(pl.lit("other")))
    (shared,) = health.shared_keys(lambda: [generations, other])
    assert shared == f"generation_key {other['generation_key'][0]}: 2 different requests"
