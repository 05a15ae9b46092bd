"""What a run writes where the setting ``log`` is ``json``."""

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from itrialspace_assets import drive
from itrialspace_assets.base.logs import configure
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.orchestration.instance import open_instance


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    configure("text")


@pytest.mark.slow
def test_a_run_says_what_each_partition_took_and_what_failed(
    own_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    settings = load_settings(data_dir=own_root, output_dir=tmp_path / "out", workers=1, log="json")
    table = own_root / "profiles/LUNA16_nodule_profiles.csv"
    data = table.read_bytes()
    table.unlink()
    table.write_bytes(b"no_such_column\n1\n")
    choice = drive.RunChoice((), ("LUNA16",), ("profiles",))
    assert drive.drive(settings, choice)
    first, last = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["level"], first["asset"], first["partition"]) == ("ERROR", "profiles", "LUNA16")
    assert first["message"] in last["message"] and (last["level"], last["logger"]) == ("ERROR", "itrialspace.run")
    table.write_bytes(data)
    assert not drive.drive(settings, choice)
    (made,) = map(json.loads, capsys.readouterr().err.splitlines())
    written = list((tmp_path / "out/tables").rglob("part.parquet"))
    assert made["bytes"] == sum(p.stat().st_size for p in written) > 0
    assert (made["asset"], made["step"], made["rejected"]) == ("profiles", "profiles", 0)
    assert made["computed"] > 0 and made["seconds"] > 0 and made["peak_memory_mb"] > 50
    with open_instance(settings) as instance:
        (found,) = instance.fetch_materializations(dg.AssetKey("profiles"), limit=5).records
        assert found.run_id == made["run"]
        assert found.asset_materialization is not None
        metadata = {k: v.value for k, v in found.asset_materialization.metadata.items()}
    assert {k: metadata[k] for k in ("seconds", "peak_memory_mb", "bytes")} == {
        k: made[k] for k in ("seconds", "peak_memory_mb", "bytes")
    }
