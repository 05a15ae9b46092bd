"""What is said of a failed run, to the log and to a webhook on loopback."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import pytest
from pydantic import SecretStr

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.resources.workspace import failure
from itrialspace_assets.sensors.failures import failure_sensor


@dg.op
def wrong_input() -> None:
    raise failure(ConfigError("profiles.csv: expected a column diameter_mm"))


@dg.op
def lost() -> None:
    raise RuntimeError("the GPU fell off the bus")


@dg.job
def refused() -> None:
    wrong_input()


@dg.job
def broken() -> None:
    lost()


class Hook(BaseHTTPRequestHandler):
    got: ClassVar[list[dict[str, str]]] = []
    answer = 200

    def do_POST(self) -> None:
        self.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.answer)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("job", "kind", "error"),
    [
        (refused, "permanent", "profiles.csv: expected a column diameter_mm"),
        (broken, "may pass", "RuntimeError: the GPU fell off the bus"),
    ],
)
def test_a_failed_run_is_said_with_its_kind(
    job: dg.JobDefinition, kind: str, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Hook.got.clear()
    hook = SecretStr(f"http://127.0.0.1:{server.server_port}/secret-path")
    settings = load_settings(data_dir=tmp_path, output_dir=tmp_path / "out", webhook=hook)
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, raise_on_error=False, tags={"dagster/partition": "LUNA16"})
        context = dg.build_run_status_sensor_context(
            "run_failed", result.get_run_failure_event(), instance, result.dagster_run
        ).for_run_failure()
        failure_sensor(settings)(context)
        Hook.answer = 500
        failure_sensor(settings)(context)
        Hook.answer = 200
        server.shutdown()
        server.server_close()
        failure_sensor(settings)(context)  # nobody listens any more: a warning, no error
    assert len(Hook.got) == 2
    said = Hook.got[0]
    assert (said["job"], said["partition"], said["kind"]) == (job.name, "LUNA16", kind)
    assert said["error"].strip().startswith(error)
    assert "secret-path" not in capsys.readouterr().err, "the address of a webhook is a secret"
