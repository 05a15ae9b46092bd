"""Features and layouts: against scikit-learn, the same twice, and honest about what is missing."""

import numpy as np
import pytest

from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.layouts import build, reduce
from itrialspace_assets.explorer.layouts.features import features_of
from itrialspace_assets.explorer.layouts.files import layout_path, made_of
from itrialspace_assets.explorer.layouts.nodule_map import NoduleMap
from itrialspace_assets.explorer.layouts.presets import FEATURE_SETS, PRESETS, preset
from itrialspace_assets.explorer.layouts.table import Held
from itrialspace_assets.records.store import read_table, table_path, write_table
from tests.explorer.nodules import known


@pytest.mark.parametrize(("name", "columns"), [("reinsertion_core", 9), ("core_53", 30)])
def test_features_are_those_of_scikit_learn(name: str, columns: int) -> None:
    """Independent: its scalers and one-hot encoder, with the missing values as docs/facts/explorer.md has them."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder, RobustScaler, StandardScaler

    nodules, chosen = known(), FEATURE_SETS[name]
    numbers = nodules.select(chosen.numbers).to_numpy().astype(float)
    if chosen.robust:
        scaled = RobustScaler().fit_transform(SimpleImputer(strategy="median").fit_transform(numbers))
    else:
        scaled = np.nan_to_num(StandardScaler().fit_transform(numbers))
    encoder = OneHotEncoder(sparse_output=False)
    flags = encoder.fit_transform(nodules.select(chosen.categories).to_numpy())
    found = features_of(Held(nodules), chosen)
    assert len(chosen.numbers) == columns
    assert found.matrix.dtype == np.float32
    assert found.matrix[:, columns:].tolist() == flags.tolist()
    assert found.matrix[:, :columns] == pytest.approx(scaled, abs=1e-5)
    assert found.names[columns:] == tuple(
        f"{c}={v}" for c, values in zip(chosen.categories, encoder.categories_, strict=True) for v in values
    )


def test_principal_components_are_those_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.decomposition import PCA

    matrix = features_of(Held(known()), FEATURE_SETS["reinsertion_core"]).matrix
    wanted = PCA(6).fit_transform(matrix.astype(float))
    found = reduce.principal(matrix, 6)
    assert np.abs(found) == pytest.approx(np.abs(wanted), abs=2e-5)
    assert reduce.principal(matrix, 32).shape == (60, matrix.shape[1])
    assert reduce.principal(matrix[:1], 2).tolist() == [[0, 0]]
    assert reduce.principal(matrix[:0], 2).shape == (0, 2)
    monkeypatch.setattr(reduce, "_ROWS", 7)  # many blocks, the last one shorter
    assert reduce.principal(matrix, 6) == pytest.approx(found, abs=2e-6)


def test_the_asset_is_written_for_the_index_with_the_layouts_that_settings_name(
    empty: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = empty.model_copy(update={"layouts": "PCA_32"})
    nodules = known()
    write_table(empty.output, "nodules", nodules)
    first = build.build(empty, {})
    bytes_of = [table_path(empty.output, "nodule_map").read_bytes()]
    assert list(first.files) == ["explorer/layouts/reinsertion_core__PCA_32.parquet"]
    assert build.build(empty, {}).files == first.files
    assert table_path(empty.output, "nodule_map").read_bytes() == bytes_of[0]
    table = read_table(empty.output, "nodule_map")
    seen = NoduleMap(empty, Held(nodules))
    assert table.select("x", "y").to_numpy() == pytest.approx(seen.layout("reinsertion_core", "PCA_2D"), abs=1e-6)
    assert seen.layout("reinsertion_core", "pca_32d").shape[1] == seen.features("reinsertion_core").matrix.shape[1]
    with pytest.raises(ConfigError, match="layout 'MDS': expected one of PCA_2D"):
        build.build(empty.model_copy(update={"layouts": "MDS"}), {})
    monkeypatch.setattr(reduce, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'itrialspace-assets\[maps\]'"):
        build.build(empty.model_copy(update={"layouts": "UMAP_2D"}), {})


def test_a_layout_of_another_index_is_not_shown(empty: Settings) -> None:
    nodules = known()
    seen = NoduleMap(empty, Held(nodules))
    assert "found none; make it with `its-nodulemap build --model TSNE_2D" in seen.why_not(
        "reinsertion_core", "t-sne_2d"
    )
    build.make_layout(empty, Held(nodules), "reinsertion_core", preset("TSNE_2D"))
    assert seen.why_not("reinsertion_core", "TSNE_2D") == ""
    assert seen.layout("reinsertion_core", "TSNE_2D").shape == (60, 2)
    other = NoduleMap(empty, Held(nodules[:59]))
    with pytest.raises(TableError, match="found one of another index"):
        other.layout("reinsertion_core", "TSNE_2D")
    layout_path(empty, "reinsertion_core", "TSNE_2D").write_bytes(b"PAR1 damaged")
    assert made_of(layout_path(empty, "reinsertion_core", "TSNE_2D")) == ""
    assert "found none" in seen.why_not("reinsertion_core", "TSNE_2D")


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_layouts_are_the_same_twice(name: str) -> None:
    matrix = features_of(Held(known()), FEATURE_SETS["core_53"]).matrix
    first = reduce.reduce(matrix, preset(name))
    assert first.shape == (60, min(preset(name).dims, matrix.shape[1]))
    assert first.tobytes() == reduce.reduce(matrix, preset(name)).tobytes()
    with pytest.raises(ConfigError, match="nodules or more, got 3"):
        reduce.reduce(matrix[:3], preset("UMAP_2D"))
