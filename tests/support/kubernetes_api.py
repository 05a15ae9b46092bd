"""A stand-in for the API server of a Kubernetes cluster, on loopback: jobs and their pods, and nothing else.

It refuses what the schema of Kubernetes does not know, as a server with strict field validation does. A job's container
is run as a process of this machine, with the variables that its pod would have; a test may say that a job waits, fails,
is evicted or vanishes instead. What was asked is kept as (verb, API group, resource), as roles name it.
"""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from . import warm

#: The newest version whose schema the package has.
VERSION = "1.37"
Fate = Literal["runs", "waits", "fails", "is evicted", "vanishes"]
_PATH = re.compile(r"/(?:api/v1|apis/(\w+)/v1)/namespaces/([\w-]+)/(\w+)(?:/([\w.-]+))?(?:/(status|log))?")
_VERBS = {"GET": "get", "POST": "create", "DELETE": "delete"}


@dataclass
class Job:
    """A job with what became of it."""

    body: dict[str, Any]
    process: warm.Process | None = None
    status: dict[str, Any] = field(default_factory=dict)


@dataclass
class Cluster:
    """What the server knows.

    Args:
        folder: for what containers print.
        configuration: config maps and secrets by name.
        fate: what becomes of a job, by its body and by how many jobs came before it.
    """

    folder: Path
    configuration: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    fate: Callable[[dict[str, Any], int], Fate] = lambda body, before: "runs"
    jobs: dict[str, Job] = field(default_factory=dict)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    asked: set[tuple[str, str, str]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def create(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        from kubernetes_validate import ValidationError, validate

        try:
            validate(body, VERSION, strict=True)
        except ValidationError as error:
            return 422, {"message": f"{error.json_path}: {error.message}"}
        name = body["metadata"]["name"]
        if name in self.jobs:
            return 409, {"message": f"{name} exists"}
        fate = self.fate(body, len(self.bodies))
        self.bodies.append(body)
        job = self.jobs[name] = Job(body, status={"active": 1})
        if fate in ("runs", "is evicted"):
            job.process = self._start(name, body)
            threading.Thread(target=self._follow, args=(job, fate), daemon=True).start()
        elif fate == "fails":
            job.status = {"failed": 1}
        elif fate == "vanishes":
            del self.jobs[name]
        return 201, body

    def _start(self, name: str, body: dict[str, Any]) -> warm.Process:
        (container,) = body["spec"]["template"]["spec"]["containers"]
        given: dict[str, str] = {}
        for source in container.get("envFrom", []):
            given |= self.configuration[next(iter(source.values()))["name"]]
        given |= {e["name"]: e["value"] for e in container.get("env", []) if "value" in e}
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("ITRIALSPACE_", "DAGSTER_"))}
        words = container["args"]
        assert words[0] == "dagster", words
        with (self.folder / f"{name}.log").open("wb") as log:
            return warm.Process(["-W", "ignore", "-m", *words], inherited | given, log.fileno())

    def _follow(self, job: Job, fate: Fate) -> None:
        assert job.process is not None
        if fate == "is evicted":
            log = self.folder / f"{job.body['metadata']['name']}.log"
            while b"STEP_START" not in log.read_bytes() and job.process.poll() is None:
                time.sleep(0.02)  # in the middle of its work, however fast the machine is
            job.process.send_signal(signal.SIGKILL)
            assert job.process.wait() == -signal.SIGKILL, "the step ended before its pod was evicted"
            job.status = {
                "failed": 1,
                "conditions": [{"type": "Failed", "status": "True", "reason": "PodFailurePolicy"}],
            }
            return
        job.status = {"succeeded" if job.process.wait() == 0 else "failed": 1}

    def delete(self, name: str) -> bool:
        job = self.jobs.pop(name, None)
        if job is not None and job.process is not None and job.process.poll() is None:
            job.process.terminate()
        return job is not None

    def pods(self, job: str) -> list[dict[str, Any]]:
        if job not in self.jobs:
            return []
        body = self.jobs[job].body["spec"]["template"]
        return [{"metadata": body["metadata"], "spec": body["spec"], "status": {"phase": "Running"}}]

    def answer(self, method: str, url: str, body: Any) -> tuple[int, dict[str, Any]]:
        parts = urlsplit(url)
        found = _PATH.fullmatch(parts.path)
        if found is None:
            return 404, {"message": f"{parts.path}: not played here"}
        group, _, kind, name, part = found.groups()
        verb = "list" if method == "GET" and name is None else _VERBS[method]
        with self.lock:
            self.asked.add((verb, group or "", f"{kind}/{part}" if part else kind))
            if kind == "jobs" and verb == "create":
                return self.create(body)
            if kind == "jobs" and verb == "delete":
                return (200, {}) if self.delete(name) else (404, {"message": f"{name}: none"})
            if kind == "jobs" and verb == "get":
                job = self.jobs.get(name)
                return (404, {"message": f"{name}: none"}) if job is None else (200, {**job.body, "status": job.status})
            if kind == "pods" and verb == "list":
                selector = dict(p.split("=", 1) for p in parse_qs(parts.query)["labelSelector"][0].split(","))
                return 200, {"kind": "PodList", "items": self.pods(selector["job-name"])}
            if kind == "pods" and verb == "delete":
                return 200, {}
        return 405, {"message": f"{method} {parts.path}: not played here"}


@contextmanager
def served(cluster: Cluster) -> Iterator[Path]:
    """Serve the cluster; gives a ``kubeconfig`` for it. Its jobs end with the block."""

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            code, told = cluster.answer(self.command, self.path, json.loads(self.rfile.read(size) or b"null"))
            data = json.dumps(told).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _do

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    path = cluster.folder / "kubeconfig"
    named = {"cluster": {"server": f"http://127.0.0.1:{server.server_port}"}, "name": "here"}
    context = {"name": "here", "context": {"cluster": "here", "user": "nobody", "namespace": "itrialspace"}}
    users = [{"name": "nobody", "user": {}}]
    config = {"apiVersion": "v1", "kind": "Config", "clusters": [named], "contexts": [context], "users": users}
    path.write_text(json.dumps(config | {"current-context": "here"}))
    try:
        yield path
    finally:
        server.shutdown()
        server.server_close()
        for name in list(cluster.jobs):
            cluster.delete(name)
