"""Reading profile tables: the seven datasets' rules, and what is wrong with a table."""

import json
from pathlib import Path

import polars as pl
import pytest

from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.profiles.load import finding_rows, load_profiles
from itrialspace_assets.profiles.persons import alias_table
from itrialspace_assets.profiles.registry import Dataset, dataset, datasets


def spoil(settings: Settings, name: str, change: pl.Expr | list[str], tmp_path: Path) -> Path:
    frame = pl.read_csv(dataset(settings, name).profile_csv(settings.data), infer_schema=False)
    frame = frame.drop(change) if isinstance(change, list) else frame.with_columns(change)
    frame.write_csv(tmp_path / f"{name}_nodule_profiles.csv")
    return tmp_path / f"{name}_nodule_profiles.csv"


def profiles(path: Path, entry: Dataset, anatomy: str = "real") -> pl.DataFrame:
    return load_profiles(path, entry, anatomy).profiles


def test_all_seven_load_with_their_label_rules(settings: Settings) -> None:
    labels = {}
    for name, entry in datasets(settings).items():
        frame = profiles(entry.profile_csv(settings.data), entry, "procedural")
        labels[name] = set(frame["label"].to_list())
        assert frame["nodule_uid"].is_unique().all()
        assert frame["mask_source"].unique().to_list() == ["procedural"]
    assert labels["LUNA16"] == {None}
    assert labels["NSCLCR"] == {1}
    assert labels["DLCS24"] <= {0, 1}
    assert labels["LNDbv4"] <= {0, 1}


def test_soft_labels_and_words(settings: Settings, tmp_path: Path) -> None:
    entry = dataset(settings, "LNDbv4")
    rows = pl.read_csv(entry.profile_csv(settings.data)).height
    soft = pl.Series("Malignancy", (["3.0", "2.99", "5"] + ["1"] * rows)[:rows])
    path = spoil(settings, "LNDbv4", soft, tmp_path)
    loaded = load_profiles(path, entry, "real")
    assert loaded.profiles["label"].to_list()[:3] == [1, 0, 1]
    (exact,) = [f for f in loaded.findings if "exactly 3" in f.rule]
    assert (exact.rows, exact.at, exact.severity) == (1, (0,), "warning")
    assert finding_rows(entry, loaded.findings, rows).filter(pl.col("rule") == exact.rule)["known"].item()
    assert entry.label is not None
    banded = entry.model_copy(update={"label": entry.label.model_copy(update={"indeterminate": (2.5, 3.5)})})
    assert profiles(path, banded)["label"].to_list()[:3] == [None, None, 1]
    path = spoil(settings, "IMDCT", pl.lit(" Cancer ").alias("CADx_label"), tmp_path)
    assert set(profiles(path, dataset(settings, "IMDCT"))["label"]) == {1}
    path = spoil(settings, "IMDCT", pl.lit("unclear").alias("CADx_label"), tmp_path)
    loaded = load_profiles(path, dataset(settings, "IMDCT"), "real")
    assert set(loaded.profiles["label"]) == {None}
    assert any(f.column == "CADx_label" and f.sample[0] == "unclear" for f in loaded.findings)


def test_persons(settings: Settings, tmp_path: Path) -> None:
    series, person = next(iter(alias_table("lidc_series_patients").items()))
    path = spoil(settings, "LUNA16", pl.lit(series).alias("seriesuid"), tmp_path)
    assert person.startswith("LIDC-IDRI/LIDC-IDRI-")
    assert set(profiles(path, dataset(settings, "LUNA16"))["person_uid"]) == {person}
    luna = profiles(dataset(settings, "LUNA16").profile_csv(settings.data), dataset(settings, "LUNA16"), "procedural")
    assert luna["person_uid"].str.ends_with("?").all(), "an unnamed person is the scan's own, never one 'unknown'"
    path = spoil(settings, "DLCS24", pl.lit(None).alias("patient-id"), tmp_path)
    loaded = load_profiles(path, dataset(settings, "DLCS24"), "real")
    assert loaded.profiles["person_uid"].n_unique() == 2
    assert any(f.column == "patient-id" and f.severity == "warning" for f in loaded.findings)


def test_a_users_alias_table_joins_people(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "who.csv").write_text("id,person_uid\nDLCS24-P0001,LIDC-IDRI/X\n")
    entry = dataset(settings, "DLCS24").model_copy(update={"aliases": str(tmp_path / "who.csv")})
    found = profiles(entry.profile_csv(settings.data), entry)
    assert set(found.filter(pl.col("patient_id") == "DLCS24-P0001")["person_uid"]) == {"LIDC-IDRI/X"}
    assert set(found.filter(pl.col("patient_id") != "DLCS24-P0001")["person_uid"]) == {"DLCS24/DLCS24-P0002"}
    with pytest.raises(ConfigError, match="expected a CSV with the columns id and person_uid"):
        alias_table(str(tmp_path / "none.csv"))
    for name, text, message in (
        ("semicolons", "id;person_uid\na;b\n", "expected columns separated by commas, got ';'"),
        ("short", "id,person_uid\na,b\nc\n", "row 1 with 1"),
        ("blank", "id,person_uid\na,b\nc,\n", "in every row, got row 1 without one"),
        ("twice", "id,person_uid\na,b\na,c\n", "one person for an id, got several for 'a'"),
        ("named", "id,who\na,b\n", "got id, who; missing person_uid"),
    ):
        (tmp_path / f"{name}.csv").write_text(text)
        with pytest.raises(ConfigError, match=message):
            alias_table(str(tmp_path / f"{name}.csv"))
    (tmp_path / "[1].csv").write_bytes("id,person_uid\r\n1.20,b\r\n1.20,b\r\n".encode("utf-16"))
    assert alias_table(str(tmp_path / "[1].csv")) == {"1.20": "b"}, "a Windows program's table; an id is text"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["lobe_cc_pct", "w"], "w: missing column.*lobe_cc_pct: missing column"),
        (["AnnotationID"], "AnnotationID: missing column"),
        (
            pl.lit("ten").alias("nodule_mean_diam_mm"),
            r"nodule_mean_diam_mm: expected a number \(3 rows at 0, 1, 2, first: ten",
        ),
        (
            pl.lit("12,5").alias("nodule_mean_diam_mm"),
            r"nodule_mean_diam_mm: expected a number with a decimal point, got a decimal comma \(3 rows at 0, 1, 2",
        ),
        (pl.lit("2.5").alias("n_nodules_in_patient"), r"n_nodules_in_patient: expected a whole number \(3 rows at 0"),
        (
            pl.lit("maybe").alias("bilateral_distribution"),
            "bilateral_distribution: expected true or false.*first: maybe",
        ),
        (pl.lit("same").alias("AnnotationID"), r"AnnotationID: expected unique ids \(3 rows at 0, 1, 2, first: same"),
        (pl.lit("").alias("ct_path"), "ct_path: expected a file name"),
        (
            pl.lit("0").alias("reinsertion_nodule_diam_mm"),
            r"reinsertion_nodule_diam_mm: expected a diameter > 0 mm \(3 rows at 0",
        ),
        (
            pl.lit("-3").alias("nodule_mean_diam_mm"),
            r"nodule_mean_diam_mm: expected >= 0 \(3 rows at 0, 1, 2, first: -3",
        ),
        (pl.lit("").alias("reinsertion_nodule_diam_mm"), "expected a diameter, or missing_because to say why not"),
        (pl.lit("0.7").alias("label"), r"label: expected 0 or 1 \(3 rows at 0, 1, 2, first: 0.7"),
        (
            pl.lit("middle_lobe").alias("lobe_name"),
            r"lobe_name: expected one of .* \(3 rows at 0, 1, 2, first: middle_lobe",
        ),
        (pl.lit("inf").alias("coordX"), "coordX: expected a finite number"),
        (pl.lit("../../etc/x").alias("AnnotationID"), "AnnotationID: expected an id without a path"),
        (pl.lit("DLCS24/..").alias("ct_path"), "ct_path: expected a file name"),
    ],
)
def test_a_wrong_table_names_column_and_row(
    settings: Settings, tmp_path: Path, change: pl.Expr | list[str], message: str
) -> None:
    with pytest.raises(TableError, match=message):
        load_profiles(spoil(settings, "DLCS24", change, tmp_path), dataset(settings, "DLCS24"), "real")


def test_everything_wrong_is_named_at_once(settings: Settings, tmp_path: Path) -> None:
    path = spoil(settings, "DLCS24", pl.lit("ten").alias("w"), tmp_path)
    frame = pl.read_csv(path, infer_schema=False).with_columns(label=pl.lit("x"), lobe_name=pl.lit("left"))
    frame.write_csv(path)
    with pytest.raises(TableError, match=r"(?s)w: expected a number.*label: expected a number"):
        load_profiles(path, dataset(settings, "DLCS24"), "real")


def test_a_renamed_column_is_guessed(settings: Settings, tmp_path: Path) -> None:
    source = dataset(settings, "DLCS24").profile_csv(settings.data)
    path = tmp_path / "DLCS24_nodule_profiles.csv"
    pl.read_csv(source, infer_schema=False).rename({"pleural_distance_mm": "pleural_dist_mm"}).write_csv(path)
    with pytest.raises(TableError, match="pleural_distance_mm: missing column; did 'pleural_dist_mm' get another name"):
        load_profiles(path, dataset(settings, "DLCS24"), "real")


def test_what_is_odd_but_usable_is_kept_and_reported(settings: Settings, tmp_path: Path) -> None:
    """Extra column, NaN label, byte-order mark, Windows line ends: loaded, nothing dropped, all named."""
    source = dataset(settings, "DLCS24").profile_csv(settings.data)
    frame = pl.read_csv(source, infer_schema=False)
    first = pl.int_range(pl.len()) == 0
    frame = frame.with_columns(
        note=pl.lit('says "x" \\ y'),
        label=pl.when(first).then(pl.lit("NaN")).otherwise("label"),
        lobe_ml_pct=pl.when(first).then(pl.lit("-40")).otherwise("lobe_ml_pct"),
        lung_side=pl.lit("left"),
    )
    path = tmp_path / "DLCS24_nodule_profiles.csv"
    path.write_bytes(b"\xef\xbb\xbf" + frame.write_csv().replace("\n", "\r\n").encode())
    loaded = load_profiles(path, dataset(settings, "DLCS24"), "real")
    assert loaded.profiles.height == frame.height
    assert loaded.profiles["label"].to_list()[0] is None
    assert json.loads(loaded.profiles["extras"][0])["note"] == 'says "x" \\ y'
    found = {(f.rule, f.column): f for f in loaded.findings}
    assert found["a column that nobody named; kept in extras", "note"].severity == "info"
    assert found["expected a label", "label"].at == (0,)
    assert found["lobe_ml_pct within 0-100", "row"].rows == 1
    right = [i for i, lobe in enumerate(loaded.profiles["lobe_name"]) if lobe.startswith("right")]
    assert found["lung_side is the side of lobe_name", "row"].at == tuple(right[:3])
    known = finding_rows(dataset(settings, "DLCS24"), loaded.findings, frame.height)
    assert known.filter(pl.col("rule") == "lobe_ml_pct within 0-100")["known"].item()


def test_no_table_empty_table_and_no_csv(settings: Settings, tmp_path: Path) -> None:
    entry = dataset(settings, "DLCS24")
    path = tmp_path / "x.csv"
    with pytest.raises(TableError, match="found none"):
        load_profiles(path, entry, "real")
    for content, message in (
        (b"", "empty file"),
        (b"\xff\xfe\x00\x01" * 40, "x.csv"),
        (b"a;b;c\n1;2;3\n", "separated by commas, got ';'"),
        (b"a,b\n1,2,3,4\n", "expected a CSV table"),
    ):
        path.write_bytes(content)
        with pytest.raises(TableError, match=message):
            load_profiles(path, entry, "real")
    header = entry.profile_csv(settings.data).read_text().splitlines()[0]
    path.write_text(header + "\n")
    with pytest.raises(TableError, match="a header alone"):
        load_profiles(path, entry, "real")


def test_ten_times_the_rows(settings: Settings, tmp_path: Path) -> None:
    entry = dataset(settings, "DLCS24")
    frame = pl.read_csv(entry.profile_csv(settings.data), infer_schema=False)
    path = tmp_path / "DLCS24_nodule_profiles.csv"
    pl.concat([frame] * 10).write_csv(path)
    with pytest.raises(TableError, match=f"expected unique ids .{10 * frame.height} rows"):
        load_profiles(path, entry, "real")
    many = pl.concat([frame.with_columns(pl.concat_str("AnnotationID", pl.lit(f"_{i}"))) for i in range(10)])
    many.write_csv(path)
    assert profiles(path, entry).height == 10 * frame.height
    with pytest.raises(TableError, match=f"expected the 2487 rows of the release, got {10 * frame.height}"):
        load_profiles(path, entry, "real", released=True)


def test_scans_without_a_nodule_come_from_the_scan_list(settings: Settings, own_root: Path) -> None:
    entry = dataset(settings, "LUNA16")
    listed = own_root / "profiles" / "LUNA16_scans.csv"
    series, person = next(iter(alias_table("lidc_series_patients").items()))
    listed.write_text(f"ct_id,patient,series\nCLEAN_1,,{series}\nDEMO_LUNA16_0001,,\n")
    scans = load_profiles(entry.profile_csv(own_root), entry, "real").scans
    assert scans.height == 3
    clean = scans.filter(pl.col("ct_id") == "CLEAN_1").row(0, named=True)
    assert (clean["n_nodules"], clean["person_uid"], clean["named_by"]) == (0, person, "scan_list")
    for text, message in (
        ("ct_id\nA\n", "patient: missing column"),
        ("ct_id,patient\nA,\nA,\n", "unique ids"),
        ("ct_id,patient\n../A,\n", "without a path"),
    ):
        listed.write_text(text)
        with pytest.raises(TableError, match=message):
            load_profiles(entry.profile_csv(own_root), entry, "real")


def test_registering_and_refusing_datasets(tmp_path: Path) -> None:
    config = tmp_path / "own.yaml"
    config.write_text(
        "datasets: {MYSET: {patient: pid, annotation: aid, label: null, label_source: none, population: "
        "screening, annotation_completeness: complete, licence: mine}}"
    )
    assert "MYSET" in datasets(load_settings(datasets_config=config))
    root = tmp_path / "root"
    root.mkdir()
    (root / "datasets.yaml").write_text(config.read_text())
    assert "MYSET" in datasets(load_settings(data_dir=root)), "a root may bring its own registry"
    config.write_text("datasets: {MYSET: {patient: pid, label_src: x}}")
    with pytest.raises(ConfigError, match=r"datasets\.MYSET.*label_src"):
        datasets(load_settings(datasets_config=config.rename(tmp_path / "own2.yaml")))
    (tmp_path / "own3.yaml").write_text("datasets: {NLST3D: {}}")
    with pytest.raises(ConfigError, match="withdrawn"):
        datasets(load_settings(datasets_config=tmp_path / "own3.yaml"))
    with pytest.raises(ConfigError, match="expected one of DLCS24"):
        dataset(load_settings(), "DLCS25")


@pytest.mark.parametrize("top", ["${ITRIALSPACE_DATA_DIR}/profiles", "profiles", "../root/profiles"])
def test_the_originals_registry_in_a_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, top: str) -> None:
    """docs/facts/datasets.md#the-originals-registry."""
    monkeypatch.delenv("ITRIALSPACE_DATA_DIR", raising=False)
    table = f"{top}/LUNGx_nodule_profiles.csv"
    for number, entry in enumerate((table, {"path": table}, {"csv_path": table, "has_label": True, "notes": "x"})):
        root = tmp_path / str(number) / "root"
        root.mkdir(parents=True)
        (root / "datasets.yaml").write_text(json.dumps({"datasets": {"LUNGx": entry}}))
        settings = load_settings(data_dir=root)
        assert datasets(settings)["LUNGx"] == datasets(load_settings())["LUNGx"]


def test_the_originals_registry_is_refused_where_it_would_be_misread(tmp_path: Path) -> None:
    for number, (entry, message) in enumerate(
        (
            (
                "LUNGx: /elsewhere/LUNGx_nodule_profiles.csv",
                "expected its table at .*/LUNGx_nodule_profiles.csv",
            ),
            ("MINE: profiles/MINE_nodule_profiles.csv", "its import --dataset MINE"),
            ("LUNGx: {csv_path: profiles/LUNGx_nodule_profiles.csv, labels: 3}", "labels: unknown key"),
        )
    ):
        root = tmp_path / str(number)
        root.mkdir()
        (root / "datasets.yaml").write_text(f"datasets: {{{entry}}}")
        with pytest.raises(ConfigError, match=message):
            datasets(load_settings(data_dir=root))


def test_both_names_of_a_finding_without_an_id_mean_it() -> None:
    known = datasets(load_settings())
    for given in ("IMDCT_IMDCT-0649_648", "IMDCT-0649"):
        assert known["IMDCT"].canonical_annotation(given) == "IMDCT-0649"
    assert known["IMDCT"].canonical_annotation("IMDCT_unknown") == "IMDCT_unknown"
    assert known["LUNA25"].canonical_annotation("LUNA25_a_1") == "LUNA25_a_1"


def test_terms_that_are_not_stated_let_nobody_pass_a_dataset_on(tmp_path: Path) -> None:
    known = datasets(load_settings())
    assert {n: known[n].licence for n in ("DLCS24", "LUNA25")} == {
        "DLCS24": "CC BY-NC-ND 4.0",
        "LUNA25": "CC BY-NC-SA 4.0",
    }
    for entry in known.values():
        restricted = "NC" in entry.licence or entry.licence == "not stated"
        assert not (entry.redistributable and restricted)
        assert not restricted or entry.licence_source != "not stated" or entry.name == "IMDCT"
    (tmp_path / "datasets.yaml").write_text("datasets: {IMDCT: {redistributable: true}}")
    with pytest.raises(ConfigError, match="expected a licence that is known, got 'not stated'"):
        datasets(load_settings(data_dir=tmp_path))


def test_published_counts_sum_to_the_release() -> None:
    """13,140 and its parts: docs/facts/published-release.md#volumes-and-profiles."""
    counts = {name: entry.release_rows for name, entry in datasets(load_settings()).items()}
    assert counts == {
        "DLCS24": 2487,
        "LUNA25": 6163,
        "LUNA16": 1186,
        "LUNGx": 83,
        "LNDbv4": 768,
        "NSCLCR": 421,
        "IMDCT": 2032,
    }
    assert sum(filter(None, counts.values())) == 13140
