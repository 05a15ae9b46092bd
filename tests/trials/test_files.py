"""Trial files: those shipped, those that are wrong (each message names the place), and what is possible before
planning."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

from itrialspace_assets.base.errors import ConfigError, TrialError
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.records.layout import MODES
from itrialspace_assets.trials import build
from itrialspace_assets.trials.build import refuse_unknown_ids, resolved_trial
from itrialspace_assets.trials.feasibility import feasibility
from itrialspace_assets.trials.files import json_schema, load_trial, read_trial, trial_files
from itrialspace_assets.trials.model import Trial
from itrialspace_assets.trials.resolve import resolve
from itrialspace_assets.trials.sites import find_site, sites

from .conftest import Paper, small_plan, small_pool, small_trial

GOOD = """
mode: x_mine
trial: mine
question: Does it hold?
planner: sampled
cohort: {prevalence: {value: 0.3}}
arms: [{name: all, published: mine, varies: none, level: none}]
sizes: {demo: {n_cases: 3}, paper: {n_cases: 30}}
"""


def test_the_thirteen_and_two_more_are_right_at_both_sizes() -> None:
    settings = load_settings()
    files = trial_files(settings)
    assert tuple(files)[:13] == MODES
    assert len(files) == 15
    for mode in files:
        trial = load_trial(settings, mode)
        assert set(trial.sizes) == {"demo", "paper"}
        assert trial.question.endswith("?")
        assert "yaml-language-server: $schema=../trial.schema.json" in files[mode].read_text()


def test_the_schema_that_editors_read_is_the_model() -> None:
    path = Path("itrialspace_assets/trials/trial.schema.json")
    assert json.loads(path.read_text()) == json.loads(json.dumps(json_schema()))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("prevalence:", "prevalance:", r"cohort\.prevalance: .*did you mean 'prevalence'"),
        ("value: 0.3", "value: 1.3", r"cohort\.prevalence\.value: .*less than or equal to 1"),
        ("value: 0.3", "value: -0.1", r"cohort\.prevalence\.value"),
        ("value: 0.3", "value: many", r"cohort\.prevalence\.value"),
        ("value: 0.3", "value: .nan", r"cohort\.prevalence\.value"),
        ("{value: 0.3}", "{value: 0.3}, label: 1", "prevalence or label, not both"),
        ("{value: 0.3}", "{value: 0.3}, donors: {diameter_mm: [9, 4]}", r"donors\.diameter_mm: expected lower < upper"),
        ("{value: 0.3}", "{value: 0.3}, hosts: {age: [70, 70]}", r"hosts\.age: expected lower < upper"),
        ("{value: 0.3}", "{value: 0.3}, sizes: {5-10mm: 0.7}", r"sizes: expected shares that sum to 1, got 0\.700"),
        ("{value: 0.3}", "{value: 0.3}, sizes: {4-6mm: 1}", r"cohort\.sizes.*5-10mm"),
        ("{value: 0.3}", "{value: 0.3}, lobes: {lingula: 1}", r"cohort\.lobes.*left_lung_upper_lobe"),
        ("{value: 0.3}", "{value: 0.3}, calibrate: [size]", "calibrate needs a site"),
        ("planner: sampled", "planner: twin", "twin belongs to planner twin"),
        ("planner: sampled", "planner: guessed", r"planner: .*'sampled' or 'twin'"),
        ("mode: x_mine", "mode: x_other", "mode: expected 'x_mine' like the file's name"),
        ("trial: mine", "trial: ../../etc", r"trial: .*pattern"),
        ("published: mine", "published: ../mine", r"arms\.0\.published: .*pattern"),
        ("name: all,", "name: all, cohort: {n_case: 3},", "n_case.*did you mean 'n_cases'"),
        ("n_cases: 3}", "n_cases: -3}", "n_cases: .*greater than or equal to 0"),
        ("n_cases: 3}", "n_cases: 2.5}", "n_cases"),
        ("sizes: {demo", "sizes: {tiny", "sizes.*'demo' or 'paper'"),
        ("value: 0.3", "value: !!python/object/apply:os.system [echo]", "line 6: a YAML tag is not allowed"),
        ("question: Does it hold?", "question: &a [x, x]\nx: [*a, *a]", "line 4: a YAML anchor is not allowed"),
        ("planner: sampled", "planner: [", "expected YAML"),
        ("planner: sampled", "planner: sampled\nplanner: twin", "the key planner more than once, in lines 5, 6"),
        ("{value: 0.3}", "{value: 0.3}, sizes: {5-10mm: .nan}", r"sizes.*finite number"),
        ("n_cases: 3}", "n_cases: true}", r"sizes\.demo: .*n_cases: expected a number, got true"),
        ("{value: 0.3}", "{value: 0.3}, hosts: {age: [.nan, 70]}", r"hosts\.age.*finite number"),
        ("{value: 0.3}", "{value: 0.3}, hosts: {exclude: [010, 2026-01-02, no, 1.0]}", r"exclude\.3: .*in quotes"),
        (GOOD, "", "expected the keys of a trial"),
        (GOOD, "- 1\n", "expected the keys of a trial"),
        ("question: Does", "question: " + "x" * 200_000, "below 200000 bytes"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place_in_it(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    path = tmp_path / "x_mine.yaml"
    path.write_text(GOOD)
    read_trial(path)
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message) as error:
        read_trial(path)
    assert "x_mine.yaml: " in str(error.value)


def test_a_made_arm_names_no_file_elsewhere(tmp_path: Path) -> None:
    made = 'arms_from: {what: vary, vary: prevalence.value, published: "%s"}'
    text = GOOD.replace("arms: [{name: all, published: mine, varies: none, level: none}]", made)
    text = text.replace("value: 0.3}", "value: 0.3}, values: [0.1, 0.2]")
    path = tmp_path / "x_mine.yaml"
    path.write_text(text % "{trial}_{level}")
    assert [a.published for a in resolve(read_trial(path), "demo").arms] == ["mine_0.1", "mine_0.2"]
    for published in ("../../{level}", "/tmp/{level}", "{trial.__class__}{level}", "{0}{level}", "{level"):
        path.write_text(text % published)
        with pytest.raises(ConfigError, match=r"x_mine.yaml: arms_from\.published: expected letters, digits"):
            read_trial(path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("cohort.hosts.exclude=[LUNA61]", r"hosts\.exclude: .*got 'LUNA61'; did you mean 'LUNA16'"),
        ("cohort.donors.datasets=[../..]", r"donors\.datasets: expected one of the registered datasets"),
        ("cohort.exclude_training=[luna25]", r"exclude_training: .*got 'luna25'"),
        ("cohort.site=NSLT", r"site: .*did you mean 'NLST'"),
    ],
)
def test_a_dataset_or_site_that_is_not_there_is_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"controlled_prevalence: arm nlst_cohort: {message}"):
        resolved_trial(load_settings(overrides=override), "m01_controlled_prevalence")


def test_a_nodule_or_scan_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial was planned from the others, without a word."""
    there = {"nodules": pl.DataFrame({"nodule_uid": ["A/1", "A/2"]}), "scans": pl.DataFrame({"scan_uid": ["A/s1"]})}
    monkeypatch.setattr(build, "read_table", lambda root, name, columns: there[name])
    for given, message in (
        (
            "cohort.donors.nodules=[A/1, a/2, A/3, PROCEDURAL/x]",
            r"donors\.nodules: 2 are not in the index, first: A/3, a/2",
        ),
        ("cohort.hosts.scans=[A/s1, A/s2]", r"hosts\.scans: 1 are not in the index, first: A/s2"),
        ("cohort.hosts.scans=[A/s1]", None),
    ):
        settings = load_settings(overrides=given)
        resolved = resolved_trial(settings, "m01_controlled_prevalence")
        if message is None:
            refuse_unknown_ids(settings, resolved, there["nodules"])
            continue
        with pytest.raises(ConfigError, match=f"controlled_prevalence: arm nlst_cohort: {message}"):
            refuse_unknown_ids(settings, resolved, there["nodules"])


@pytest.mark.parametrize("stem", ["x_a b", "x_a,b", "x_é", "x_" + "a" * 59, "x_", "x_a.b", "x_a'b"])
def test_the_name_of_a_file_names_folders(tmp_path: Path, stem: str) -> None:
    (tmp_path / f"{stem}.yaml").write_text(GOOD.replace("mode: x_mine", f"mode: {json.dumps(stem)}"))
    with pytest.raises(ConfigError, match="expected x_ and 1 to 58 letters"):
        load_trial(load_settings(trials_dir=tmp_path), stem)


def test_a_name_is_given_once(tmp_path: Path) -> None:
    (tmp_path / "x_mine.yaml").write_text(GOOD.replace("trial: mine", '"trial": size_detection_curve # ours'))
    settings = load_settings(trials_dir=tmp_path)
    with pytest.raises(ConfigError, match=r"'size_detection_curve' is also that of x_mine\.yaml"):
        load_trial(settings, "m02_size_detection_curve")
    with pytest.raises(ConfigError, match=r"'size_detection_curve' is also that of m02_size_detection_curve\.yaml"):
        load_trial(settings, "x_mine")
    (tmp_path / "x_mine.yaml").write_text(GOOD)
    (tmp_path / "x_lobe_size_shortcut.yaml").write_text(GOOD)
    with pytest.raises(ConfigError, match="is that of a shipped trial"):
        trial_files(settings)
    with pytest.raises(ConfigError, match="expected a folder of trial files"):
        trial_files(load_settings(trials_dir=tmp_path / "none"))
    with pytest.raises(ConfigError, match="did you mean 'm02_size_detection_curve'"):
        load_trial(load_settings(), "m02_size_detection")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n_cases=3", r"expected cohort\.<field>=<value>"),
        ("cohort.n_cases", r"expected cohort\.<field>=<value>"),
        ("cohort.n_case=3", "did you mean 'n_cases'"),
        ("cohort.n_cases=some", "n_cases"),
        ("cohort.donors.diameter_mm=[9", "expected a YAML value"),
        ("cohort.prevalence.value=2", "prevalence.value"),
        ("cohort.donors=3", "donors"),
        ("arms.only=3", r"expected cohort\.<field>=<value>"),
        ("twin.pairing=crossed", "twin.pairing: means nothing here: it has no twin"),
        ("arms_from.decay=0.5", "it has no arms_from"),
        ("arms.multi.share=0.5", r"arms\.multi: expected one of its listed arms, "),
    ],
)
def test_a_wrong_override_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(load_trial(load_settings(), "m01_controlled_prevalence"), "demo", (text,), ["A"])


def test_an_override_beats_arm_and_size() -> None:
    trial = load_trial(load_settings(), "m03_location_sensitivity")
    for size in ("demo", "paper"):
        assert {a.cases for a in resolve(trial, size, ("cohort.n_cases=7",), ["A"]).arms} == {7}


def test_a_run_may_set_how_twins_are_paired_and_arms_are_made() -> None:
    cross = load_trial(load_settings(), "m13_digital_twin_cross")
    got = resolve(cross, "demo", ("twin.pairing=crossed", "twin.render_seeds=2", "arms_from.published=a_{level}"), ())
    assert got.trial.twin is not None
    assert (got.trial.twin.pairing, got.trial.twin.render_seeds, got.trial.twin.kind) == ("crossed", 2, "cross")
    assert [a.published for a in got.arms] == ["a_DLCS24_x_LUNA25"]
    for wrong, message in (
        ("twin.pairing=crossed", "render_seeds of 2 or more"),
        ("twin.pairings=one_to_one", "did you mean 'pairing'"),
        ("arms_from.what=rounds", "planner twin makes arms from"),
    ):
        with pytest.raises(ConfigError, match=message):
            resolve(cross, "demo", (wrong,), ())
    several = load_trial(load_settings(), "m10_multi_nodule_realism")
    with pytest.raises(ConfigError, match="summing to 1"):
        resolve(several, "demo", ("arms.multi.share=0.5",), ())


@pytest.mark.parametrize(
    ("cohort", "message"),
    [
        ({"donors": {"datasets": ["B"]}}, r"datasets B 0"),
        ({"donors": {"exclude": ["A"]}}, r"not A 0"),
        ({"hosts": {"age": (90, 99)}}, r"no host is left.*hosts:.*age \(90\.0, 99\.0\) 0"),
        ({"sizes": {">30mm": 1}, "donors": {"diameter_mm": [4, 10]}}, r">30mm\): 0 donors meet it"),
        ({"site": "NLTS", "calibrate": ["size"]}, "did you mean NLST"),
    ],
)
def test_what_is_infeasible_is_refused_by_name(cohort: dict[str, object], message: str) -> None:
    with pytest.raises((TrialError, ConfigError), match=message):
        small_plan(4, **cohort)


def test_a_covariate_that_no_host_states_is_named() -> None:
    from dataclasses import replace

    pool = small_pool()
    bare = replace(pool, hosts=pool.hosts.with_columns(age=pl.lit(None, pl.Float64)), by_cohort={})
    with pytest.raises(TrialError, match="hosts of A never state age"):
        small_plan(2, bare, hosts={"age": [50, 60]})


def test_a_users_site(tmp_path: Path) -> None:
    path = tmp_path / "sites.yaml"
    path.write_text(
        "OURS: {publication: ours 2026, population: screening, sizes: {value: {5-10mm: 0.5, 10-15mm: 0.5}, "
        "status: derived}}"
    )
    site = find_site(sites(load_settings(trials_dir=tmp_path)), "OURS")
    assert site.sizes is not None
    assert site.sizes.status == "derived"
    path.write_text("OURS: {publication: ours, population: screening, male: {value: 0.5, status: guessed}}")
    with pytest.raises(ConfigError, match=r"OURS: male\.status"):
        sites(load_settings(trials_dir=tmp_path))


def test_every_site_states_its_publication_and_what_each_value_is_worth() -> None:
    """Facts: NLST recorded no nodule under 4 mm (docs/facts/trials.md#sites)."""
    known = sites(load_settings())
    assert {"NLST", "NELSON", "UKLS", "DANTE", "MILD"} <= set(known)
    for name, site in known.items():
        assert len(site.publication) > 10, name
    assert known["NLST"].size_floor_mm is not None
    assert known["NLST"].size_floor_mm.value == 4


def test_feasibility_names_what_binds_and_what_a_relaxation_costs() -> None:
    trial = small_trial(label=1, donors={"max_uses": 1})
    resolved = resolve(trial, "demo", ("cohort.n_cases=20",), ["A"])
    table = feasibility(resolved, small_pool(), sites(load_settings()), 42)
    (cases,) = table.filter(pl.col("of") == "cases").to_dicts()
    assert (cases["left"], cases["needed"], cases["binding"]) == (15, 20, True)
    assert table.filter(pl.col("binding") & (pl.col("of") == "donors")).height == 1
    relaxed = {r["constraint"]: r for r in table.filter(pl.col("of") == "relaxation").to_dicts()}
    assert relaxed["donors.max_uses x2"]["left"] == 30
    assert "effective donors for 20 cases" in relaxed["donors.max_uses x2"]["price"]
    assert relaxed["hosts.max_uses x2"]["price"] == "does not help"
    made = small_plan(20, label=1, donors={"max_uses": 1}, relax=True)
    assert made.cases.height == 20
    fine = feasibility(resolve(trial, "demo", ("cohort.n_cases=15",), ["A"]), small_pool(), sites(load_settings()), 42)
    assert not fine["binding"].any()
    assert small_plan(15, label=1, donors={"max_uses": 1}).cases.height == 15, "what it calls feasible is feasible"


#: Those with many arms take seconds each; the quick tests leave them out.
LONG = ("m02", "m04", "m05", "m07", "m09")


@pytest.mark.parametrize(
    "mode", [pytest.param(m, marks=[pytest.mark.slow] if m.startswith(LONG) else []) for m in MODES]
)
def test_feasibility_at_paper_size_agrees_with_the_planner(paper: Paper, mode: str) -> None:
    table = feasibility(paper.resolve(mode), paper.pool, sites(paper.settings), 42)
    assert not table["binding"].any()
    refused = feasibility(
        paper.resolve(mode, "paper", "cohort.donors.datasets=[]", "cohort.hosts.datasets=[]"),
        paper.pool,
        sites(paper.settings),
        42,
    )
    assert refused.filter(pl.col("of") == "cases")["binding"].all()


def test_a_trial_may_state_its_own_seed(paper: Paper) -> None:
    from itrialspace_assets.trials.build import seed_of

    resolved = paper.resolve("m08_algorithm_comparison")
    assert seed_of(paper.settings, resolved) == paper.settings.seed
    own = resolve(resolved.trial.model_copy(update={"seed": 7}), "paper", (), ["DLCS24"])
    assert seed_of(paper.settings, own) == 7


@pytest.mark.slow
def test_the_plan_does_not_depend_on_the_hash_seed(paper: Paper, tmp_path: Path) -> None:
    """Two processes with other PYTHONHASHSEEDs write the same bytes."""
    script = (
        "from itrialspace_assets.base.settings import load_settings\n"
        "from itrialspace_assets.trials import build\n"
        "import sys, pathlib\n"
        "s = load_settings(data_dir=sys.argv[1], output_dir=sys.argv[2], size='paper', workers=int(sys.argv[3]))\n"
        "for mode in ('m04_demographic_stratification', 'm10_multi_nodule_realism', 'm11_digital_twin_isolation'):\n"
        "    build.build(s, {'mode': mode})\n"
    )
    found = []
    for seed in ("1", "777"):
        out = tmp_path / seed
        (out / "tables").mkdir(parents=True)
        for name in ("nodules", "donors", "hosts", "host_lobes", "profiles"):
            if (paper.settings.output / "tables" / name).exists():
                (out / "tables" / name).symlink_to(paper.settings.output / "tables" / name)
        env = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", script, str(paper.settings.data), str(out), seed[0]], env=env, check=True)
        found.append(
            {
                str(p.relative_to(out)): p.read_bytes()
                for p in out.rglob("*")
                if p.is_file() and "work" not in p.parts and not p.is_symlink()
            }
        )
    first, second = found
    assert first.keys() == second.keys()
    assert len(first) > 20
    assert [k for k in first if first[k] != second[k]] == []


def test_the_shipped_files_are_the_yaml_that_people_copy() -> None:
    """No shipped file needs a key that the schema does not know, or a list of files elsewhere."""
    known = set(json_schema()["properties"])
    for path in trial_files(load_settings()).values():
        assert set(yaml.safe_load(path.read_text())) <= known, path.name


def test_a_file_that_would_not_be_read_is_named(tmp_path: Path) -> None:
    settings = load_settings(trials_dir=tmp_path)
    (tmp_path / "mine.yaml").write_text("trial: mine\n")
    with pytest.raises(ConfigError, match=r"'mine' is not a mode.*; mine\.yaml is not read: name it x_<name>\.yaml"):
        load_trial(settings, "mine")
    (tmp_path / "x_mine.yml").write_text("trial: mine\n")
    with pytest.raises(ConfigError, match=r"x_mine\.yml: expected the suffix \.yaml; rename it to x_mine\.yaml"):
        trial_files(settings)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("size_bucket", "size_bucket"),
        ("all_of_it", "arm"),  # what its arms vary
        ("weights", "lobe_size"),
        ("prevalence.value", "counterfactual"),
        ("dataset", "donor_dataset"),
    ],
)
def test_contrasts_of_older_files_keep_their_meaning(tmp_path: Path, given: str, found: str) -> None:
    text = GOOD.replace("varies: none", "varies: all_of_it") + f"contrast: {given}\n"
    (tmp_path / "x_mine.yaml").write_text(text)
    assert read_trial(tmp_path / "x_mine.yaml").contrast == found


def test_an_unknown_contrast_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "x_mine.yaml").write_text(GOOD + "contrast: sizes\n")
    with pytest.raises(ConfigError, match=r"contrast: .*'size_bucket'.* \(got 'sizes'\)"):
        read_trial(tmp_path / "x_mine.yaml")
    twin = load_trial(load_settings(), "m13_digital_twin_cross").model_dump(mode="json") | {"contrast": "dataset"}
    assert Trial.model_validate(twin).contrast == "crossing"


def test_arms_of_one_published_file_are_refused_before_planning() -> None:
    """Numbers of cases begin again in each arm: two arms in one file could not be told apart."""
    trial = load_trial(load_settings(), "m07_bootstrap_confidence")
    resolve(trial, "demo", (), ["A"])
    with pytest.raises(ConfigError, match=r"arms_from.published: expected \{level\} or \{number\} in it"):
        resolve(trial, "demo", ("arms_from.published='{trial}'",), ["A"])
