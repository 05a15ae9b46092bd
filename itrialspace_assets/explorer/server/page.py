"""Serves the built web page. Browsers keep files with a hash in their name, and ask for ``index.html`` each time."""

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGE = Path(__file__).parents[1] / "page"
#: Folder of files whose names hold a hash of their bytes (Vite's).
HASHED = "assets/"


class PageFiles(StaticFiles):
    """The files below ``folder``. An address without a file ending is a view of the page."""

    def __init__(self, folder: Path = PAGE) -> None:
        super().__init__(directory=folder, check_dir=False, html=False)
        self.index = folder / "index.html"

    async def check_config(self) -> None:
        """A folder that is missing is a page that is not built: ``get_response`` says so."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        path = "" if path == "." else path
        if path.partition("/")[0] in ("api", "compat"):
            raise HTTPException(404, "expected an address that /api/openapi.json lists")
        if not self.index.is_file():
            return PlainTextResponse(
                "The page is not built. Build it with `make explore`, and load this address again.\n"
                "The interface is there without it: /api/openapi.json describes it.\n",
                503,
            )
        is_view = "." not in path.rpartition("/")[2]
        response = await super().get_response("index.html" if is_view else path, scope)
        kept = "public, max-age=31536000, immutable" if path.startswith(HASHED) else "no-cache"
        response.headers["cache-control"] = kept
        return response
