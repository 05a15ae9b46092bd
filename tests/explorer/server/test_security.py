"""Every rule of the guard, each with a request that breaks it alone."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.explorer import app as app_module
from itrialspace_assets.explorer.app import create_app
from itrialspace_assets.explorer.server import security
from itrialspace_assets.explorer.server.page import PageFiles
from itrialspace_assets.explorer.server.security import Access, access_for, is_loopback
from tests.explorer.search.nodules import frame, write

TOKEN = "0123456789abcdef-secret"
HERE = "http://127.0.0.1:8422"


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    write(folder / "out", frame(30))
    return folder


def client(output: Path, access: Access, base: str = HERE, page: Path | None = None) -> TestClient:
    """A server whose page is in ``page``; None: it is not built, whether or not this checkout's is."""
    settings = load_settings(data_dir=output / "data", output_dir=output / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app_module, "PageFiles", lambda: PageFiles(page or output / "no page"))
        return TestClient(create_app(settings, access), base_url=base, follow_redirects=False)


@pytest.fixture(scope="module")
def own(output: Path) -> TestClient:
    """This computer's own server."""
    return client(output, access_for("127.0.0.1", None))


@pytest.mark.parametrize("host", ["127.0.0.1:8422", "localhost:8422", "LOCALHOST", "[::1]:8422"])
def test_names_of_this_computer_are_answered(own: TestClient, host: str) -> None:
    assert own.get("/api/nodules/columns", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8422", "127.0.0.1.evil.example", "192.168.0.7", "", "["]
)
def test_other_names_are_refused(own: TestClient, host: str) -> None:
    """A page whose name was bound again to this computer's address would be of the same origin otherwise."""
    for path in ("/", "/api/root", "/api/nodules/columns"):
        found = own.get(path, headers={"host": host})
        assert found.status_code == 400 and "Host" in found.json()["detail"]


def test_two_names_at_once_are_refused(own: TestClient) -> None:
    """Which of the two a proxy or a library takes is not known."""
    both = [("host", "127.0.0.1:8422"), ("host", "evil.example")]
    assert own.get("/api/nodules/columns", headers=both).status_code == 400


def test_another_address_demands_a_token_and_takes_its_own_names() -> None:
    with pytest.raises(ValueError, match="token"):
        access_for("0.0.0.0", None)
    access = access_for("192.168.0.7", TOKEN, ["Reading.Example"])
    assert access.allows_host("192.168.0.7:8422") and access.allows_host("reading.example")
    assert access.allows_host("10.0.0.1"), "a number is nobody's name"
    assert not access.allows_host("evil.example")
    assert TOKEN not in repr(access)
    assert [is_loopback(h) for h in ("127.0.0.1", "127.8.0.1", "::1", "localhost", "0.0.0.0", "::", "host")] == [
        *[True] * 4,
        *[False] * 3,
    ]


def test_a_token_is_asked_for_everywhere(output: Path) -> None:
    with_token = client(output, access_for("127.0.0.1", TOKEN))
    for path in ("/", "/assets/x.js", "/api/root", "/api/openapi.json", "/api/nodules/column?name=age"):
        found = with_token.get(path)
        assert found.status_code == 401 and found.headers["www-authenticate"] == "Bearer"
    for wrong in ("", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper()):
        assert with_token.get("/api/nodules/columns", headers={"authorization": f"Bearer {wrong}"}).status_code == 401
        assert with_token.get("/api/nodules/columns", params={"token": wrong}).status_code == 401
        cookie = {"cookie": f"{access_for('127.0.0.1', TOKEN).cookie}={wrong}"}
        assert with_token.get("/api/nodules/columns", headers=cookie).status_code == 401
    assert with_token.get("/api/nodules/columns", headers={"authorization": f"Basic {TOKEN}"}).status_code == 401
    assert with_token.get("/api/nodules/columns", headers={"authorization": f"bearer {TOKEN}"}).status_code == 200
    assert with_token.post("/api/nodules/search", json={}).status_code == 401


def test_the_token_in_an_address_becomes_a_cookie_and_leaves_the_address(output: Path) -> None:
    with_token = client(output, access_for("127.0.0.1", TOKEN))
    found = with_token.get(f"{HERE}//evil.example/nodules?view=a%26b&token={TOKEN}")
    assert found.status_code == 303
    assert found.headers["location"] == "/evil.example/nodules?view=a%26b", "no other server, no token"
    cookie = found.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Secure" not in cookie
    assert with_token.get("/api/nodules/columns").status_code == 200, "the client kept the cookie"
    secure = client(output, access_for("127.0.0.1", TOKEN), "https://127.0.0.1").get(f"/?token={TOKEN}")
    assert "; Secure" in secure.headers["set-cookie"]
    proxied = client(output, access_for("127.0.0.1", TOKEN)).get(
        f"/?token={TOKEN}", headers={"x-forwarded-proto": "https"}
    )
    assert "; Secure" in proxied.headers["set-cookie"]


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x"])
def test_what_a_form_of_another_site_can_send_is_refused(own: TestClient, kind: str | None) -> None:
    headers = {"content-type": kind} if kind else {}
    assert own.post("/api/nodules/search", content=b"{}", headers=headers).status_code == 415
    assert own.post("/api/nodules/search", content=b"{}", headers={"content-type": "application/json; charset=utf-8"})


@pytest.mark.parametrize(
    ("origin", "status"),
    [(HERE, 200), (None, 200), ("https://evil.example", 403), ("null", 403), ("http://127.0.0.1:9999", 403), ("", 403)],
)
def test_only_the_own_page_may_write(own: TestClient, origin: str | None, status: int) -> None:
    headers = {} if origin is None else {"origin": origin}
    assert own.post("/api/nodules/search", json={}, headers=headers).status_code == status


def test_another_site_may_link_to_the_page_but_not_read_or_embed(own: TestClient) -> None:
    cross = {"sec-fetch-site": "cross-site"}
    assert own.get("/api/nodules/columns", headers=cross | {"sec-fetch-mode": "no-cors"}).status_code == 403
    frame_in = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
    assert own.get("/api/nodules/columns", headers=cross | frame_in).status_code == 403
    link = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert own.get("/", headers=cross | link).status_code != 403
    same = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
    assert own.get("/api/nodules/columns", headers=same).status_code == 200


def test_no_answer_allows_another_origin(own: TestClient) -> None:
    ask = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    for found in (own.options("/api/nodules/search", headers=ask), own.get("/api/nodules/columns", headers=ask)):
        assert not [name for name in found.headers if name.startswith("access-control-")]
    assert own.options("/api/nodules/search", headers=ask).status_code in (403, 405)


def test_every_answer_has_the_headers(own: TestClient) -> None:
    kinds = {
        200: own.get("/api/nodules/columns"),
        404: own.get("/api/nodule", params={"uid": "no"}),
        405: own.post("/api/nodules/columns", json={}),
        415: own.post("/api/nodules/search"),
        422: own.post("/api/nodules/search", json={"limit": -1}),
        503: own.get("/"),
        400: own.get("/", headers={"host": "evil.example"}),
    }
    for status, found in kinds.items():
        assert found.status_code == status
        policy = dict(part.split(" ", 1) for part in found.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'self'" and policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == "'self' 'wasm-unsafe-eval'" and policy["object-src"] == "'none'"
        assert "http" not in found.headers["content-security-policy"] and "*" not in policy.values()
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["referrer-policy"] == "no-referrer"
        assert found.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in found.headers


@pytest.mark.parametrize(
    "uid", ["../etc", "a/../../b", "..", "/etc/passwd", "a\\b", "a\0b", "%2e%2e/%2e%2e", "a/..", "C:\\x"]
)
def test_ids_that_could_be_paths_are_refused(own: TestClient, uid: str) -> None:
    found = own.get("/api/nodule", params={"uid": uid})
    if "%" in uid:  # as it is, not decoded twice
        assert found.status_code == 404
        assert own.get(f"/api/nodule?uid={uid}").status_code == 422
    else:
        assert found.status_code == 422 and "id" in found.json()["detail"]
        assert own.get("/api/nodules/columns", params={"anything": uid}).status_code == 422


@pytest.mark.parametrize("path", ["/../pyproject.toml", "/assets/%2e%2e/%2e%2e/app.py", "/%5c..%5cx", "/a%00b"])
def test_addresses_that_leave_a_folder_are_refused(own: TestClient, path: str) -> None:
    found = own.get(HERE + path.replace("/..", "/%2e%2e"))
    assert found.status_code == 422


def test_large_bodies_are_refused_whatever_they_say(own: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "MAX_BODY", 1000)
    json = {"content-type": "application/json"}
    large = b'{"text": "' + b"x" * 2000 + b'"}'
    assert own.post("/api/nodules/search", content=large, headers=json).status_code == 413

    def pieces():
        yield from (large[i : i + 100] for i in range(0, len(large), 100))

    assert own.post("/api/nodules/search", content=pieces(), headers=json).status_code == 413
    for stated in ("-1", "x", "1" * 5000):
        assert own.get("/api/nodules/columns", headers={"content-length": stated}).status_code == 413
    assert own.post("/api/nodules/search", content=b"{}", headers=json).status_code == 200


def test_errors_name_no_folder(own: TestClient, output: Path) -> None:
    empty = client(output / "elsewhere", access_for("127.0.0.1", None))
    found = empty.get("/api/nodules/columns")
    assert found.status_code == 409 and "stage has not run" in found.json()["detail"]
    with pytest.MonkeyPatch.context() as patch:

        def named(*_: object) -> None:
            raise ConfigError(f"{output / 'out' / 'x.yaml'}: expected y, got z")

        patch.setattr("itrialspace_assets.explorer.search.find.search", named)
        assert own.post("/api/nodules/search", json={}).json() == {"detail": "out/x.yaml: expected y, got z"}
        patch.setattr("itrialspace_assets.explorer.search.find.search", lambda *_: 1 / 0)
        broken = TestClient(own.app, base_url=HERE, raise_server_exceptions=False)
        found = broken.post("/api/nodules/search", json={})
    assert found.status_code == 500 and set(found.json()) == {"detail"}
    assert "content-security-policy" in found.headers and str(output) not in found.text


def test_the_page_is_served_with_what_browsers_may_keep(output: Path, tmp_path: Path) -> None:
    bare = client(output, access_for("127.0.0.1", None)).get("/map")
    assert bare.status_code == 503 and "make explore" in bare.text
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<title>page</title>")
    (tmp_path / "assets" / "main-abc123.js").write_text("1")
    (tmp_path.parent / "outside.txt").write_text("secret")
    built = client(output, access_for("127.0.0.1", None), page=tmp_path)
    for path in ("/", "/map", "/nodules/compare", "/index.html"):
        found = built.get(path)
        assert found.text == "<title>page</title>" and found.headers["cache-control"] == "no-cache"
        assert built.get(path, headers={"if-none-match": found.headers["etag"]}).status_code == 304
    script = built.get("/assets/main-abc123.js")
    assert "immutable" in script.headers["cache-control"] and "javascript" in script.headers["content-type"]
    assert built.get("/assets/missing.js").status_code == 404
    assert built.get("/api/missing").json()["detail"].startswith("expected an address")
    assert built.get("/%2e%2e/outside.txt").status_code == 422
    assert built.get("/api/nodules/columns").headers["cache-control"] == "no-store"


def test_the_catalog_reads_no_file_and_cannot_be_written(output: Path, tmp_path: Path) -> None:
    import duckdb

    from itrialspace_assets.catalog.rebuild import NAME
    from itrialspace_assets.explorer.server.state import OpenRoot

    settings = load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out")
    settings.output.mkdir()
    with duckdb.connect(str(settings.output / NAME)) as db:
        db.execute("CREATE TABLE t AS SELECT 1 AS a")
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    with OpenRoot(settings).catalog() as db:
        assert db.execute("SELECT a FROM t").fetchall() == [(1,)]
        for sql in (
            f"SELECT * FROM read_csv('{secret}')",
            f"SELECT * FROM '{secret}'",
            f"ATTACH '{tmp_path / 'new.duckdb'}'",
            f"COPY t TO '{tmp_path / 'out.csv'}'",
            f"SELECT * FROM read_text('{secret}')",
            "INSERT INTO t VALUES (2)",
            "DROP TABLE t",
            "SET enable_external_access = true",
            "SET memory_limit = '9GB'",
            "INSTALL httpfs",
            "LOAD httpfs",
        ):
            with pytest.raises(duckdb.Error):
                db.execute(sql).fetchall()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "secret.csv"]
