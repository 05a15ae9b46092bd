"""Errors as answers: which status an error has, and one sentence in plain English without a path of the disk."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from itrialspace_assets.base.errors import ConfigError, NotFound, PlatformError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.server.security import HEADERS


class Problem(StrictModel):
    """Why a request was not answered."""

    detail: str


#: For the description of every route.
RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The Host header names no name of this server"},
    401: {"model": Problem, "description": "The token is missing or wrong"},
    403: {"model": Problem, "description": "The request comes from another site"},
    404: {"model": Problem, "description": "There is nothing of this id"},
    409: {"model": Problem, "description": "A stage has to run first, or another program holds a file"},
    413: {"model": Problem, "description": "The body is too large"},
    415: {"model": Problem, "description": "The body is not JSON"},
    422: {"model": Problem, "description": "A value is wrong"},
}


def bytes_of(*types: str) -> dict[str, Any]:
    """Arguments of a route's decorator that say that it answers with bytes of one of these types, or a ``Problem``.

    A ``response_class`` with a type of its own would describe the problems as of that type.
    """
    return {"response_class": Response, "responses": {200: {"content": {kind: {} for kind in types}}}}


def answer_problems(app: FastAPI, settings: Settings) -> None:
    """Answer every error of a route as ``Problem``."""

    def answer(status: int, detail: str) -> JSONResponse:
        for folder, name in ((settings.output, "out"), (settings.data, "data")):
            detail = detail.replace(str(folder), name)
        return JSONResponse({"detail": detail.encode("utf-8", "replace").decode()}, status, HEADERS)

    async def http(request: Request, error: HTTPException) -> JSONResponse:
        response = answer(error.status_code, error.detail)
        response.headers.update(error.headers or {})
        return response

    async def wrong(request: Request, error: RequestValidationError) -> JSONResponse:
        return answer(422, "; ".join(_one(e) for e in error.errors()[:10]))

    async def platform(request: Request, error: PlatformError) -> JSONResponse:
        status = 404 if isinstance(error, NotFound) else 422 if isinstance(error, ConfigError) else 409
        return answer(status, str(error))

    async def defect(request: Request, error: Exception) -> JSONResponse:
        return answer(500, f"a defect of the explorer ({type(error).__name__}); its terminal shows where")

    handlers: list[tuple[type[Exception], Callable[[Request, Any], Awaitable[JSONResponse]]]] = [
        (HTTPException, http),
        (RequestValidationError, wrong),
        (PlatformError, platform),
        (Exception, defect),
    ]
    for kind, handler in handlers:
        app.add_exception_handler(kind, handler)


def _one(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"][1:]) or str(error["loc"][0])
    return f"{where}: {error['msg'].removeprefix('Value error, ')}"
