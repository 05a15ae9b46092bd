from pathlib import Path

import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.yaml_files import read_yaml


def test_yaml_variables(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: {b: ['x ${ROOT}/y']}\n")
    assert read_yaml(path, {"ROOT": "/r"}) == {"a": {"b": ["x /r/y"]}}
    with pytest.raises(ConfigError, match=r"a\.yaml: key a\.b\[0\]: variable ROOT"):
        read_yaml(path, {"ROOT": ""})
    path.write_text("a: [1\n")
    with pytest.raises(ConfigError, match=r"a\.yaml"):
        read_yaml(path)
    with pytest.raises(ConfigError, match="found none"):
        read_yaml(tmp_path / "none.yaml")
