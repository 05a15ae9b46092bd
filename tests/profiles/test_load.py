"""Reading profile tables: the seven datasets' rules, and what is wrong with a table."""

from pathlib import Path

import polars as pl
import pytest

from itrialspace_assets.errors import ConfigError, TableError
from itrialspace_assets.profiles.load import load_profiles
from itrialspace_assets.profiles.persons import series_persons
from itrialspace_assets.profiles.registry import dataset, datasets
from itrialspace_assets.settings import Settings, load_settings


def spoil(settings: Settings, name: str, change: pl.Expr | list[str], tmp_path: Path) -> Path:
    frame = pl.read_csv(dataset(settings, name).profile_csv(settings.data), infer_schema=False)
    frame = frame.drop(change) if isinstance(change, list) else frame.with_columns(change)
    frame.write_csv(tmp_path / f"{name}_nodule_profiles.csv")
    return tmp_path / f"{name}_nodule_profiles.csv"


def test_all_seven_load_with_their_label_rules(settings: Settings) -> None:
    labels = {}
    for name, entry in datasets(settings).items():
        frame = load_profiles(entry.profile_csv(settings.data), entry, "procedural")
        labels[name] = set(frame["label"].to_list())
        assert frame["nodule_uid"].is_unique().all()
        assert frame["mask_source"].unique().to_list() == ["procedural"]
    assert labels["LUNA16"] == {None}
    assert labels["NSCLCR"] == {1}
    assert labels["DLCS24"] <= {0, 1}
    assert labels["LNDbv4"] <= {0, 1}


def test_soft_labels_and_words(settings: Settings, tmp_path: Path) -> None:
    path = spoil(
        settings,
        "LNDbv4",
        pl.Series("Malignancy", ["3.0", "2.99", "5"] + ["1"] * 100).head(
            pl.read_csv(dataset(settings, "LNDbv4").profile_csv(settings.data)).height
        ),
        tmp_path,
    )
    assert load_profiles(path, dataset(settings, "LNDbv4"), "real")["label"].to_list()[:3] == [1, 0, 1]
    path = spoil(settings, "IMDCT", pl.lit(" Cancer ").alias("CADx_label"), tmp_path)
    assert set(load_profiles(path, dataset(settings, "IMDCT"), "real")["label"]) == {1}
    path = spoil(settings, "IMDCT", pl.lit("unclear").alias("CADx_label"), tmp_path)
    assert set(load_profiles(path, dataset(settings, "IMDCT"), "real")["label"]) == {None}


def test_persons(settings: Settings, tmp_path: Path) -> None:
    series, patient = next(iter(series_persons().items()))
    path = spoil(settings, "LUNA16", pl.lit(series).alias("seriesuid"), tmp_path)
    assert set(load_profiles(path, dataset(settings, "LUNA16"), "real")["person_uid"]) == {f"LIDC-IDRI/{patient}"}
    luna = load_profiles(
        dataset(settings, "LUNA16").profile_csv(settings.data), dataset(settings, "LUNA16"), "procedural"
    )
    assert luna["person_uid"].str.ends_with("?").all(), "an unnamed person is the scan's own, never one 'unknown'"
    path = spoil(settings, "DLCS24", pl.lit(None).alias("patient-id"), tmp_path)
    assert load_profiles(path, dataset(settings, "DLCS24"), "real")["person_uid"].n_unique() == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["lobe_cc_pct", "w"], "missing: w, lobe_cc_pct"),
        (["AnnotationID"], "missing: AnnotationID"),
        (
            pl.lit("ten").alias("nodule_mean_diam_mm"),
            r"column nodule_mean_diam_mm: expected a number, got 'ten' in row 0",
        ),
        (pl.lit("2.5").alias("n_nodules_in_patient"), "n_nodules_in_patient: expected a number"),
        (pl.lit("maybe").alias("bilateral_distribution"), "expected true or false, got 'maybe'"),
        (pl.lit("same").alias("AnnotationID"), "repeated: same"),
        (pl.lit("").alias("ct_path"), "ct_path"),
        (pl.lit("0").alias("reinsertion_nodule_diam_mm"), "expected a diameter > 0 mm in every row, rows 0"),
        (pl.lit("0.7").alias("label"), "column label: expected 0 or 1, got '0.7' in row 0"),
    ],
)
def test_a_wrong_table_names_column_and_row(
    settings: Settings, tmp_path: Path, change: pl.Expr | list[str], message: str
) -> None:
    with pytest.raises(TableError, match=message):
        load_profiles(spoil(settings, "DLCS24", change, tmp_path), dataset(settings, "DLCS24"), "real")


def test_no_table_and_no_csv(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="found none"):
        load_profiles(tmp_path / "none.csv", dataset(settings, "DLCS24"), "real")
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00\x01" * 40)
    with pytest.raises(TableError):
        load_profiles(tmp_path / "x.csv", dataset(settings, "DLCS24"), "real")


def test_registering_and_refusing_datasets(tmp_path: Path) -> None:
    config = tmp_path / "own.yaml"
    config.write_text(
        "datasets: {MYSET: {patient: pid, annotation: aid, label: null, label_source: none, population: screening, annotation_completeness: complete, licence: mine}}"
    )
    assert "MYSET" in datasets(load_settings(datasets_config=config))
    config.write_text("datasets: {MYSET: {patient: pid, label_src: x}}")
    with pytest.raises(ConfigError, match=r"datasets\.MYSET.*label_src"):
        datasets(load_settings(datasets_config=config.rename(tmp_path / "own2.yaml")))
    (tmp_path / "own3.yaml").write_text("datasets: {NLST3D: {}}")
    with pytest.raises(ConfigError, match="withdrawn"):
        datasets(load_settings(datasets_config=tmp_path / "own3.yaml"))
    with pytest.raises(ConfigError, match="expected one of DLCS24"):
        dataset(load_settings(), "DLCS25")
