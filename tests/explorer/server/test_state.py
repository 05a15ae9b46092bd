"""What the server keeps between requests: made once for all who ask, and nobody waits for something else."""

import threading
from pathlib import Path

from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.explorer.server.state import OpenRoot


def test_what_takes_long_is_made_once_and_holds_up_nothing_else(tmp_path: Path) -> None:
    root = OpenRoot(load_settings(data_dir=tmp_path, output_dir=tmp_path))
    begun, go, made = threading.Event(), threading.Event(), []

    def slow() -> int:
        begun.set()
        assert go.wait(10)
        made.append(1)
        return 1

    asked: list[int] = []
    threads = [threading.Thread(target=lambda: asked.append(root.kept("volume", 1, slow))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    other: list[str] = []
    quick = threading.Thread(target=lambda: other.append(root.kept("index", 1, lambda: "index")))
    quick.start()
    quick.join(5)
    assert other == ["index"], "it waited for the volume"
    go.set()
    for thread in threads:
        thread.join(10)
    assert (asked, made) == ([1] * 4, [1])
    assert root.kept("volume", 2, lambda: 2) == 2, "another stamp"
