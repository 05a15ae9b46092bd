"""A bare app with the root that the server defines, for tests of single routers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from itrialspace_assets.base.errors import ConfigError, PlatformError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.search.columns import Columns
from itrialspace_assets.index.query import Index
from tests.explorer.search.nodules import write


@dataclass
class Root:
    settings: Settings
    index: Index
    made: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.columns = Columns(write(self.settings.output, self.index.nodules.sort("nodule_uid")))

    def kept(self, name: str, stamp: Any, make: Callable[[], Any]) -> Any:
        if name not in self.made or self.made[name][0] != stamp:
            self.made[name] = (stamp, make())
        return self.made[name][1]


def client(root: Root, router: APIRouter) -> TestClient:
    """The router alone; errors of the platform are 422 and 409, as the server has it."""
    app = FastAPI()
    app.state.root = root
    app.include_router(router)

    @app.exception_handler(PlatformError)
    async def answer(request: Request, error: PlatformError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422 if isinstance(error, ConfigError) else 409)

    return TestClient(app)
