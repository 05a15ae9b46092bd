"""Reading that is killed at any moment loses at most the batch that it was at."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.readers.ledger import Ledger
from itrialspace_assets.readers.registry import readers
from tests.readers.conftest import read, table
from tests.support import warm

#: Reads one partition with the mock reader, and writes each request that is asked into a file.
SCRIPT = """
import os, sys
from pathlib import Path
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.readers import mock
from tests.readers.conftest import read
real = mock.answer
asked = os.open(sys.argv[4], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def answer(options, request):
    os.write(asked, f"{request.key}\\n".encode())
    return real(options, request)
mock.answer = answer
data, output, config = map(Path, sys.argv[1:4])
settings = load_settings(data_dir=data, output_dir=output, readers_config=config, workers=1, batch=8)
read(settings, sys.argv[5])
"""
KILLS, BATCH = 10, 8


@pytest.mark.slow
def test_kills_lose_at_most_a_batch_each(study: Callable[..., Settings], tmp_path: Path) -> None:
    settings = study(160, "options: {delay_ms: 4.0, refusal_rate: 0.1}")
    asked = tmp_path / "asked.txt"
    given = [settings.data, settings.output, settings.readers_config, asked]
    command = ["-c", SCRIPT, *map(str, given)]
    draw = random.Random(5)

    def requests() -> int:
        return asked.read_bytes().count(b"\n") if asked.exists() else 0

    for number in range(KILLS):
        wanted = requests() + draw.randint(1, 6 * BATCH)
        process = warm.Process([*command, f"k{number}"], dict(os.environ))
        while process.poll() is None and requests() < wanted:
            time.sleep(0.002)
        assert process.poll() is None, "it was done before it was killed often enough"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert warm.run([*command, "end"], dict(os.environ)).returncode == 0
    times = Counter(asked.read_text().split())
    again = [key for key, n in times.items() if n > 1]
    assert len(times) == 160 * 2 * 3
    assert sum(times[key] - 1 for key in again) <= KILLS * BATCH
    ledger = Ledger.of(settings, "mock", readers(settings)["mock"].revision)
    said = ledger.rows().drop("seconds", "asked_ns")
    assert ledger.verify() == []
    answers = table(settings, "answers")
    calm = settings.model_copy(update={"output_dir": tmp_path / "calm"})
    (tmp_path / "calm").mkdir()
    for name in ("store", "tables/slices"):
        (tmp_path / "calm" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "calm" / name).symlink_to(settings.output / name)
    read(calm, "r1")
    assert Ledger.of(calm, "mock", readers(calm)["mock"].revision).rows().drop("seconds", "asked_ns").equals(said)
    assert table(calm, "answers").equals(answers)
