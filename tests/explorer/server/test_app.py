"""The whole server: what its description promises, Arrow streams, reloading, many clients."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
import polars as pl
import pyarrow as pa
import pytest
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from starlette.testclient import TestClient

from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.explorer.app import ROUTERS, create_app
from itrialspace_assets.explorer.overview import marks
from itrialspace_assets.explorer.server.security import LOOPBACK, Access
from tests.explorer.search.nodules import frame, write

#: The host that Schemathesis and Starlette's client say they ask.
ACCESS = Access(names=LOOPBACK | {"testserver"})
ROWS = frame(60)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("root")
    write(folder / "out", ROWS)
    (folder / "data" / "profiles").mkdir(parents=True)
    return load_settings(data_dir=folder / "data", output_dir=folder / "out")


@pytest.fixture(scope="module")
def client(root: Settings) -> TestClient:
    return TestClient(create_app(root, ACCESS))


def test_every_route_describes_what_it_answers(client: TestClient) -> None:
    """A strict model, or a stated type of content that is no JSON of unknown shape."""
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    assert len(routes) >= 9
    described = client.get("/api/openapi.json").json()["paths"]
    for route in routes:
        assert route.endpoint.__doc__, route.path
        for method in route.methods if route.include_in_schema else ():
            told = described[route.path_format][method.lower()]
            answer = told["responses"]
            if route.path.startswith("/api/"):  # those of the originals are described by their own documents
                bare = [p["name"] for p in told.get("parameters", ()) if not p.get("description")]
                assert not bare, f"{route.path}: {bare}"
            content = next(answer[status] for status in answer if status.startswith("2")).get("content", {})
            shapes = [c.get("schema", {}) for kind, c in content.items() if kind == "application/json"]
            assert route.response_model is not None or (content and not any(shapes)), f"{route.path}: {content}"
            assert "#/components/schemas/Problem" in json.dumps(answer["422"]), route.path


def test_arrow_streams_are_in_the_order_of_nodule_uid(client: TestClient) -> None:
    def column(name: str) -> pa.Table:
        found = client.get("/api/nodules/column", params={"name": name})
        assert found.headers["content-type"] == "application/vnd.apache.arrow.stream"
        return pa.ipc.open_stream(found.content).read_all()

    uids = sorted(ROWS["nodule_uid"])
    assert column("nodule_uid")["value"].to_pylist() == uids
    by_uid = {r["nodule_uid"]: r for r in ROWS.rows(named=True)}
    for name in ("age", "label", "has_ct", "size_bucket", "dataset"):
        assert column(name)["value"].to_pylist() == [by_uid[uid][name] for uid in uids]
    assert pa.types.is_dictionary(column("dataset").schema.field("value").type), "a byte a nodule"
    found = client.post("/api/nodules/rows", json={"filters": [{"column": "dataset", "any": ["D1"]}]})
    rows = pa.ipc.open_stream(found.content).read_all()
    assert rows.schema.field("row").type == pa.uint32()
    assert [uids[row] for row in rows["row"].to_pylist()] == [uid for uid in uids if uid.startswith("D1/")]


def test_a_table_that_is_made_again_is_opened_again(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out")
    client = TestClient(create_app(settings, ACCESS))
    assert client.post("/api/nodules/search", json={}).status_code == 409, "before the index is made"
    for n in (20, 30):
        write(settings.output, frame(n))
        assert client.post("/api/nodules/search", json={}).json()["total"] == n
        assert client.app.state.root.columns.height == n


def test_a_root_says_what_is_procedural_and_simulated(client: TestClient, settings: Settings, tmp_path: Path) -> None:
    """The second root is the demo's: drawn anatomy. The first has neither mark."""
    assert client.get("/api/root").json()["marks"] == []
    (found,) = marks(settings)
    assert "no person" in found and "no evidence" in found
    readers = tmp_path / "readers.yaml"
    readers.write_text("readers: {guesses: {kind: mock}}\n")
    simulated = load_settings(data_dir=tmp_path / "data", output_dir=tmp_path, readers_config=readers)
    (found,) = marks(simulated)
    assert "Simulated" in found and "guesses" in found


def test_downloads_have_a_name(client: TestClient) -> None:
    found = client.post("/api/nodules/export", json={"format": "parquet", "uids": ["D0/n0000"]})
    assert found.headers["content-disposition"] == 'attachment; filename="nodules.parquet"'
    assert pl.read_parquet(found.content)["nodule_uid"].to_list() == ["D0/n0000"]


@pytest.mark.slow
def test_nothing_that_can_be_asked_breaks_the_server(root: Settings) -> None:
    """Schemathesis: requests that the description allows and requests that it does not; answers are as described."""
    import schemathesis
    from schemathesis import GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    app = create_app(root, ACCESS)
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", app)
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    asked: set[tuple[str, str]] = set()
    seen: Counter[int] = Counter()
    for operation in (found.ok() for found in schema.get_all_operations()):
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @given(case=operation.as_strategy(generation_mode=mode))
            @hypothesis_settings(
                max_examples=15, suppress_health_check=list(HealthCheck), derandomize=True, database=None
            )
            def ask(case: schemathesis.Case) -> None:
                answer = case.call()
                seen[answer.status_code] += 1
                case.validate_response(answer, checks=checks)

            try:
                ask()
            except Exception as error:
                if type(error).__name__ not in ("Unsatisfiable", "SkipTest"):  # nothing wrong can be asked of it
                    raise
        asked.add((operation.method.upper(), operation.path))
    described = {(m, route.path_format) for router in ROUTERS for route in router.routes for m in route.methods}
    assert asked == described
    assert seen[200] > 30 and seen[422] > 50 and not [status for status in seen if status >= 500]


@pytest.mark.slow
def test_fifty_clients_at_once_get_their_answers(root: Settings) -> None:
    """A real server on loopback: no error, and an end within seconds when it is told to end."""
    command = [sys.executable, "-W", "ignore", "-m", "itrialspace_assets.cli.main", "explore", "--port", "0"]
    environment = os.environ | {
        "ITRIALSPACE_DATA_DIR": str(root.data),
        "ITRIALSPACE_OUTPUT_DIR": str(root.output),
        "PYTHONUNBUFFERED": "1",
    }
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        line = server.stdout.readline()
        assert line.startswith("Result: http://127.0.0.1:"), line + server.stderr.read()
        address = line.split()[1]
        statuses = asyncio.run(_ask(address, clients=50, times=3))
    finally:
        server.terminate()
        _, errors = server.communicate(timeout=20)
    assert statuses == {200: 50 * 3 * 4}, "each client got each answer"
    assert errors == "" and server.returncode in (0, -15)


async def _ask(address: str, clients: int, times: int) -> Counter:
    """Every client asks four things one after another, some times; statuses, or names of errors, with their numbers."""
    seen: Counter = Counter()
    search = {"facets": ["dataset", "label"], "histograms": ["age"]}

    async def one(client: httpx.AsyncClient, number: int) -> None:
        filters = [{"column": "dataset", "any": [f"D{number % 3}"]}]
        for _ in range(times):
            for ask in (
                client.post("/api/nodules/search", json={**search, "filters": filters}),
                client.get("/api/nodule", params={"uid": f"D{number % 3}/n{number % 3:04d}"}),
                client.get("/api/nodules/column", params={"name": "age"}),
                client.post("/api/nodules/similar", json={"uid": "D0/n0000"}),
            ):
                try:
                    seen[(await ask).status_code] += 1
                except httpx.HTTPError as error:
                    seen[type(error).__name__] += 1

    limits = httpx.Limits(max_connections=clients)  # one each; fifty contexts for TLS would take the time of the test
    async with httpx.AsyncClient(base_url=address, timeout=60, trust_env=False, limits=limits) as client:
        await asyncio.gather(*(one(client, number) for number in range(clients)))
    return seen
