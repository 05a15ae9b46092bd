"""Puts the server together: guard, routes, page. What a route answers is decided elsewhere."""

from fastapi import FastAPI

from itrialspace_assets import __version__
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.compat import nodulemap, retriever
from itrialspace_assets.explorer.server.page import PageFiles
from itrialspace_assets.explorer.server.problems import RESPONSES, answer_problems
from itrialspace_assets.explorer.server.routes import (
    cases,
    images,
    maps,
    nodules,
    reading,
    results,
    reviews,
    root,
    sql,
    trials_of_selection,
)
from itrialspace_assets.explorer.server.security import Access, Guard
from itrialspace_assets.explorer.server.state import OpenRoot

#: Every router, in the order of the description.
ROUTERS = (
    root.router,
    nodules.router,
    maps.router,
    trials_of_selection.router,
    images.router,
    cases.router,
    reviews.router,
    results.router,
    sql.router,
    reading.router,
    nodulemap.router,
    retriever.router,
)


def create_app(settings: Settings, access: Access) -> FastAPI:
    """The explorer's server over one data root and its outputs; nothing is opened yet."""
    app = FastAPI(
        title="iTrialSpace explorer",
        version=__version__,
        description="Nodules, trials, images and results of one data root. Ids only; no path goes in or out.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # its scripts come from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        responses=RESPONSES,
    )
    app.state.root = OpenRoot(settings)
    answer_problems(app, settings)
    for router in ROUTERS:
        app.include_router(router)
    app.router.default = PageFiles()  # what no route answers; a mount would answer a route's other methods too
    app.add_middleware(Guard, access=access)
    return app
