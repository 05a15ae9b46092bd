"""Study files: what they may say, their lock, and what a number is to them."""

import hashlib
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from itrialspace_assets.analysis.frozen import ListKey, freeze
from itrialspace_assets.analysis.protocol.files import copy_study, json_schema, read_study, study_files
from itrialspace_assets.analysis.protocol.installation import missing
from itrialspace_assets.analysis.protocol.lock import lock_path
from itrialspace_assets.analysis.protocol.names import DROPPED, METRICS
from itrialspace_assets.analysis.protocol.standing import Quantity, comparison_standing, standing_of
from itrialspace_assets.analysis.protocol.study import (
    Study,
    changed_since_lock,
    load_study,
    lock_state,
    lock_study,
)
from itrialspace_assets.analysis.protocol.words import in_words
from itrialspace_assets.analysis.scoring.detection_rows import detection_rows
from itrialspace_assets.analysis.scoring.metrics import score_cells
from itrialspace_assets.analysis.scoring.rows import Analysis
from itrialspace_assets.analysis.scoring.scored import coded, scored_of
from itrialspace_assets.analysis.scoring.tasks import metrics_of
from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.readers.ledger import SCHEMA, Ledger
from itrialspace_assets.records.store import write_table
from itrialspace_assets.records.tables import TABLES
from tests.analysis.oracles import table
from tests.analysis.test_marks import OF, joined, study_of

#: A study file of the first version.
SHORT = {
    "study": "mine",
    "primary": {"task": "presence", "metric": "auc", "condition": "plain"},
    "clusters": ["host_person_uid", "donor_person_uid"],
    "alpha": 0.05,
    "min_clusters": 10,
    "refusals": "wrong",
}
SHIPPED = sorted(study_files(load_settings()))


def study(**changed: object) -> Study:
    return Study.model_validate(SHORT | changed)


def written(folder: Path, **changed: object) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(SHORT | changed))
    return path


def test_three_studies_are_shipped_and_each_is_whole() -> None:
    assert SHIPPED == ["demo", "reader_trust", "virtual_lesion_study"]
    for name, path in study_files(load_settings()).items():
        found, text = read_study(path), path.read_text()
        assert found.study == name
        assert found.question.endswith("?") and found.context_of_use and found.primary.estimand and found.limits
        assert "yaml-language-server: $schema=../study.schema.json" in text
        assert len(in_words(found)) > 15
    published = read_study(study_files(load_settings())["virtual_lesion_study"])
    assert len(published.populations.readers) == 3 and len(published.populations.modes) == 13
    assert {s.task for s in published.secondary} == {"presence", "lobe", "size"}
    assert all(len(s.conditions) == 4 for s in published.secondary)


def test_the_schema_that_editors_read_is_the_model_and_explains_every_key() -> None:
    schema = json.loads(json.dumps(json_schema()))
    for path in ("itrialspace_assets/analysis/protocol/study.schema.json", "docs/schemas/study.json"):
        assert json.loads((Path(__file__).parents[2] / path).read_text()) == schema, f"`its study schema > {path}`"
    for model in (schema, *schema["$defs"].values()):
        for key, entry in model["properties"].items():
            assert entry.get("description"), f"{model['title']}.{key}"


def test_a_file_of_the_first_version_stays_valid_and_keeps_its_hash(tmp_path: Path) -> None:
    found = read_study(written(tmp_path))
    canonical = json.dumps(SHORT, sort_keys=True, separators=(",", ":"))
    assert found.sha256 == hashlib.sha256(canonical.encode()).hexdigest()
    stated = read_study(written(tmp_path, negatives="all", tests={"correction": "holm"}))
    assert stated.sha256 == found.sha256, "a default may be stated"
    assert read_study(written(tmp_path, negatives=["twin"])).sha256 != found.sha256


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"alfa": 0.05}, r"mine.yaml: alfa: unknown key; did you mean 'alpha'"),
        ({"primary": SHORT["primary"] | {"metrik": "auc"}}, r"primary.metrik: unknown key; did you mean 'metric'"),  # type: ignore[operator]
        (
            {"primary": SHORT["primary"] | {"task": "lobe", "metric": "acuracy"}},  # type: ignore[operator]
            r"primary: metric: 'acuracy' is no metric of lobe; did you mean 'accuracy'; expected one of accuracy, ",
        ),
        ({"primary": SHORT["primary"] | {"mode": "m02_size"}}, r"did you mean 'm02_size_detection_curve'"),  # type: ignore[operator]
        ({"primary": SHORT["primary"] | {"against": "blob"}}, r"primary: against: expected reader as well"),  # type: ignore[operator]
        ({"secondary": [{"task": "size", "metrics": ["auc"]}]}, r"secondary.0: metrics: 'auc' is no metric of size"),
        ({"populations": {"modes": ["m14_x"]}}, r"populations.modes: 'm14_x' is not a mode"),
        (
            {"primary": SHORT["primary"] | {"reader": "b"}, "populations": {"readers": ["a"]}},  # type: ignore[operator]
            r"primary.reader: 'b' is not in populations.readers \(a\)",
        ),
        ({"margin": {"value": 0, "reason": "x"}}, r"margin.value: Input should be greater than 0"),
        ({"negatives": []}, r"negatives: expected all, or at least one of twin, level, clean_scan"),
        ({"controls": ["blank", "blank"]}, r"controls: expected each once"),
        ({"study": "other"}, r"study: expected 'mine' like the file's name, got 'other'"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(tmp_path: Path, changed: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_study(written(tmp_path, **changed))


def test_every_metric_that_is_scored_may_be_asked_for_and_no_other() -> None:
    """The names in the protocol are those that the scoring makes."""
    baselines = {"answer_entropy", "accuracy_majority", "accuracy_always_present", "accuracy_always_malignant"}
    for task in ("presence", "malignancy", "lobe", "size"):
        made = {m.name for m in metrics_of(scored_of(coded(table(8, task=task), study()), ("reader",)), task)}
        assert made - baselines == set(METRICS[task]), task  # type: ignore[index]
    assert Study.model_validate(SHORT | {"primary": SHORT["primary"] | {"metric": "ppv_prevalence=0.05"}})  # type: ignore[operator]


def test_the_metrics_of_detection_are_those_of_its_rows() -> None:
    found = joined(study_of(4))
    rows, _ = detection_rows(found, load_study(load_settings()), *OF, np.random.SeedSequence(0))
    assert {r.metric for r in rows} == set(METRICS["detection"])


def test_a_copy_keeps_comments_and_is_valid(tmp_path: Path) -> None:
    target = copy_study(load_settings(), "virtual_lesion_study", "mine", tmp_path / "new")
    text = target.read_text()
    assert read_study(target).study == "mine"
    assert text.count("#") == study_files(load_settings())["virtual_lesion_study"].read_text().count("#")
    assert (tmp_path / "new" / "mine.yaml").exists() and "study.schema.json" in text.splitlines()[0]
    with pytest.raises(ConfigError, match="is already there"):
        copy_study(load_settings(), "demo", "mine", tmp_path / "new")
    with pytest.raises(ConfigError, match="small letters"):
        copy_study(load_settings(), "demo", "Mine", tmp_path)
    own = load_settings(studies_dir=tmp_path / "new", study="mine")
    assert load_study(own).populations.sources == ["real", "nodmaisi"]
    with pytest.raises(ConfigError, match=r"ITRIALSPACE_STUDY=mien: expected one of demo, mine"):
        load_study(own.model_copy(update={"study": "mien"}))


# --- the lock


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path, output_dir=tmp_path / "out")


def answer(settings: Settings, reader: str, slices: range, scored: bool = True) -> None:
    """Answers of a reader about some slices, in its ledger and, if they are scored, in ``generations``."""
    keys = [hashlib.sha256(f"{reader}{i}".encode()).hexdigest() for i in slices]
    nothing = dict.fromkeys(SCHEMA)
    row = nothing | {"condition": "plain", "control": "none", "task": "presence", "options": [], "asked_ns": 0}
    ledger = Ledger.of(settings, reader, "r1")
    ledger.append([row | {"generation_key": key, "picture_sha256": "p", "prompt_id": "p"} for key in keys])
    ledger.seal()
    if scored:
        columns = {"slice_uid": [f"s{i}" for i in slices], "target_uid": [f"s{i}" for i in slices]}
        rows = pl.DataFrame(columns | {"generation_key": keys}).with_columns(
            *(
                pl.lit(v).alias(k)
                for k, v in {"profile": "p", "z_offsets": "0", "condition": "plain", "control": "none"}.items()
            ),
            *(
                pl.lit(v).alias(k)
                for k, v in {"prompt_id": "p", "task": "presence", "source": "tissue", "reader": reader}.items()
            ),
            *(
                pl.lit(v).alias(k)
                for k, v in {"mode": "m", "dataset": "D", "reader_revision": "r1", "picture_sha256": "p"}.items()
            ),
            options=pl.lit(["present", "absent"]),
            raw_text=pl.lit("yes"),
        )
        whole = pl.concat([TABLES["generations"].empty(), rows], how="diagonal_relaxed")
        write_table(settings.output, "generations", whole, source="tissue", reader=reader, mode="m", dataset="D")


def freeze_slices(settings: Settings, slices: range) -> None:
    pictures = pl.DataFrame({"slice_uid": [f"s{i}" for i in slices]}).with_columns(
        condition=pl.lit("plain"), control=pl.lit("none"), sha256=pl.lit("p")
    )
    freeze(settings, ListKey(settings.split, "tissue", "m"), pictures, "all")


def test_a_study_that_was_edited_after_its_lock_is_exploratory(settings: Settings) -> None:
    before = study()
    assert lock_state(settings, before).status == "missing" and changed_since_lock(settings, before)
    assert lock_study(settings, before)
    state = lock_state(settings, before)
    assert (state.status, state.exploratory, state.existing) == ("locked", False, ())
    assert standing_of(before, PRIMARY, state) == "primary"
    bytes_before = lock_path(settings, "mine").read_bytes()
    edited = study(alpha=0.1, negatives=["twin"])
    state = lock_state(settings, edited)
    assert state.changes == ("alpha was 0.05, is 0.1", 'negatives was "all", is ["twin"]')
    assert "alpha was 0.05, is 0.1" in state.reason and "exploratory" in state.reason
    assert changed_since_lock(settings, edited) and standing_of(edited, PRIMARY, state) == "exploratory"
    assert not lock_study(settings, edited), "a lock is written once"
    assert lock_path(settings, "mine").read_bytes() == bytes_before
    path = lock_path(settings, "mine")
    lock = json.loads(path.read_text())
    lock["content"]["rejected"] = "replaced"  # as if a default had meant something else when it was locked
    path.write_text(json.dumps(lock))
    assert lock_state(settings, before).changes == ('rejected was "replaced", is "left_out"',)
    other = settings.model_copy(update={"split": "other"})
    assert lock_state(other, before).status == "missing", "a lock is of one split"


def test_answers_from_before_the_lock_are_found_whatever_the_clock_says(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(settings, "early", range(6))
    answer(settings, "pilot", range(100, 104), scored=False)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")  # the clock says 1970: before every answer
    lock_study(settings, study())
    answer(settings, "late", range(6))
    waiting = lock_state(settings, study())
    assert [(e.reader, e.answers, e.scored) for e in waiting.existing] == [("early", 6, None), ("pilot", 4, None)]
    assert waiting.status == "locked" and "holds no list yet" in waiting.reason
    freeze_slices(settings, range(4))
    state = lock_state(settings, study())
    assert [(e.reader, e.answers, e.scored) for e in state.existing] == [("early", 6, 4), ("pilot", 4, 0)]
    assert state.status == "late" and state.exploratory
    assert "4 of reader early" in state.reason and "pilot" not in state.reason and "late" not in state.reason
    assert state.found[0].startswith("6 answers of reader early existed when the study was locked; 4 of them")


def test_answers_of_readers_that_the_study_is_not_about_count_against_nothing(settings: Settings) -> None:
    answer(settings, "early", range(4))
    freeze_slices(settings, range(4))
    about = study(populations={"readers": ["other"]})
    lock_study(settings, about)
    assert lock_state(settings, about).status == "locked"


def test_answers_that_were_marked_or_lie_in_tables_alone_are_found(settings: Settings) -> None:
    answer(settings, "early", range(4))
    for file in (settings.output / "ledger").rglob("*.parquet"):
        file.unlink()
    mark = settings.output / "store" / "marks" / "detector" / "r1" / "ab" / f"{'ab' * 16}.json"
    mark.parent.mkdir(parents=True)
    mark.write_text("[]")
    freeze_slices(settings, range(4))
    lock_study(settings, study())
    assert [(e.reader, e.scored) for e in lock_state(settings, study()).existing] == [("detector", 1), ("early", 4)]


def test_a_lock_that_proves_nothing_or_is_damaged(settings: Settings) -> None:
    path = lock_path(settings, "mine")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"study": "mine", "sha256": study().sha256, "split": settings.split}))
    state = lock_state(settings, study())
    assert state.status == "unproven" and "does not tell which answers existed" in state.reason
    for damaged in ("{", "[" * 100_000):
        path.write_text(damaged)
        with pytest.raises(TableError, match="expected the lock of a study"):
            lock_state(settings, study())
    path.unlink()
    answer(settings, "early", range(2))
    lock_study(settings, study())
    path.with_name(path.name.replace("lock.json", "answers.parquet")).unlink()
    with pytest.raises(TableError, match=r"answers.parquet: expected the keys that were written with the lock"):
        lock_state(settings, study())


# --- what a number is to a study

PRIMARY = Quantity(task="presence", metric="auc", condition="plain", analysis="m01_controlled_prevalence", reader="a")


def test_the_standing_of_a_number() -> None:
    declared = study(
        secondary=[
            {"task": "size", "metrics": ["accuracy"], "conditions": ["plain", "bbox"], "strata": ["size_bucket"]}
        ],
        populations={"modes": ["m01_controlled_prevalence"], "datasets": ["LUNGx"], "readers": ["a", "b"]},
        sensitivity=["refusals_dropped"],
        tests={"families": ["readers"]},
    )

    def of(**changed: str | None) -> str:
        asked = {name: getattr(PRIMARY, name) for name in PRIMARY.__dataclass_fields__} | changed
        return standing_of(declared, Quantity(**asked))

    assert of() == "primary"
    assert of(analysis="m02_size_detection_curve") == "exploratory", "another mode"
    assert of(analysis="real-LUNGx") == "primary" and of(analysis="real-LUNA16") == "exploratory"
    assert of(reader="c") == "exploratory" and of(condition="bbox") == "exploratory"
    assert of(stratum="lobe=left_lung_upper_lobe") == "exploratory"
    assert of(metric=f"auc{DROPPED}") == "planned"
    assert of(against="b") == "planned" and of(against="c") == "exploratory"
    size = {"task": "size", "metric": "accuracy"}
    assert of(**size, stratum="size_bucket=5-10mm", condition="bbox") == "planned"
    assert of(**size) == "exploratory", "over all slices it was not asked for"
    assert comparison_standing(declared, "reader", None) == "planned"
    assert comparison_standing(declared, "condition", None) == "exploratory"


def test_one_number_is_primary_where_mode_source_and_reader_are_named() -> None:
    one = study(primary=SHORT["primary"] | {"mode": "m01_controlled_prevalence", "source": "tissue", "reader": "a"})  # type: ignore[operator]
    analyses = ("m01_controlled_prevalence", "m02_size_detection_curve")
    rows = [
        standing_of(one, Quantity(task="presence", metric="auc", condition="plain", analysis=m, source=s, reader=r))
        for m in analyses
        for s in ("tissue", "real")
        for r in ("a", "b")
    ]
    assert rows.count("primary") == 1 and rows.count("planned") == 7


def test_a_study_says_what_this_installation_lacks() -> None:
    asked = study(
        populations={"readers": ["blob", "medgemma", "nobody"], "sources": ["nodmaisi"], "modes": ["x_none"]},
        controls=["blank", "text_only"],
        primary=SHORT["primary"] | {"condition": "contour_published"},  # type: ignore[operator]
    )
    found = missing(load_settings(), asked)
    assert [line.split(";")[0] for line in found] == [
        "reader medgemma: not enabled",
        "reader nobody: unknown",
        "source nodmaisi: not enabled",
        "mode x_none: no such trial file",
        "condition contour_published: not drawn",
        "control blank: not drawn",
        "control text_only: not asked of blob",
    ]
    assert missing(load_settings(), study()) == []


# --- declared choices are used

ANALYSIS = Analysis("a", "s", "procedural")


def metric(of: Study, rows: pl.DataFrame, name: str, task: str = "presence") -> tuple[float | None, int | None]:
    strata = {"all": pl.repeat("all", rows.height, dtype=pl.String, eager=True)}
    found = {r.metric: r for r in score_cells(rows, strata, of, ANALYSIS) if r.task == task}
    return (found[name].estimate, found[name].n_slices) if name in found else (None, None)


def test_only_declared_negatives_count() -> None:
    kinds = [None, "twin", None, "level"] * 10
    said = ["present", "absent", "present", "present"] * 10  # right on twins, wrong on levels
    rows = table(40, answer=said).with_columns(negative_type=pl.Series(kinds))
    assert metric(study(), rows, "specificity") == (0.5, 20)
    assert metric(study(negatives=["twin"]), rows, "specificity") == (1.0, 10)
    assert metric(study(negatives=["level", "clean_scan"]), rows, "specificity") == (0.0, 10)
    assert metric(study(negatives=["twin"]), rows, "sensitivity") == (1.0, 20)
    untold = rows.with_columns(negative_type=pl.lit(None, pl.String))
    assert metric(study(negatives=["twin"]), untold, "specificity") == (None, 0), "a negative of no known kind"
    assert metric(study(), untold, "specificity") == (0.5, 20)


def test_endpoints_without_refusals_are_made_where_they_are_declared() -> None:
    statuses = (["ok"] * 3 + ["refused"]) * 10
    rows = table(40, task="size", answer=["5-10mm"] * 40, status=statuses)
    first = {"primary": {"task": "size", "metric": "accuracy", "condition": "plain"}}
    assert metric(study(**first), rows, f"accuracy{DROPPED}", "size") == (None, None)
    declared = study(**first, sensitivity=["refusals_dropped"])
    assert metric(declared, rows, "accuracy", "size") == (1.0, 20), "odd slices are refused and show no nodule"
    rows = rows.with_columns(status=pl.Series((["refused"] + ["ok"] * 3) * 10))
    assert metric(declared, rows, "accuracy", "size") == (0.5, 20)
    assert metric(declared, rows, f"accuracy{DROPPED}", "size") == (1.0, 10)
    assert metric(declared, rows, f"macro_f1{DROPPED}", "size") == (None, None), "no endpoint of the study"
