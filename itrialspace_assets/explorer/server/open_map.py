"""The nodule map of the present index, made once and shared between requests."""

from collections.abc import Callable
from typing import Annotated, Any, Protocol

from fastapi import Depends, Request

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.layouts.nodule_map import NoduleMap
from itrialspace_assets.explorer.layouts.table import NoduleTable
from itrialspace_assets.index.query import Index


class OpenRoot(Protocol):
    """What maps and the originals' endpoints need of ``app.state.root``."""

    settings: Settings

    @property
    def index(self) -> Index:
        """The index, opened again when its table was made again."""

    @property
    def columns(self) -> NoduleTable:
        """Columns of the index, each read when it is first asked for; another object when its table was made again."""

    def kept(self, name: str, stamp: Any, make: Callable[[], Any]) -> Any:
        """What ``make`` gave, kept until the stamp changes.

        Args:
            name: of what is kept.
            stamp: compared with that of the last time.
            make: makes it anew.
        """


def _root(request: Request) -> OpenRoot:
    root: OpenRoot = request.app.state.root
    return root


#: The parameter of a route that reads the data root.
RootOf = Annotated[OpenRoot, Depends(_root)]


def open_map(root: OpenRoot) -> NoduleMap:
    """The map of the present index.

    Raises:
        TableError: there is no index yet, or it was accepted under another contract.
    """
    columns = root.columns
    made: NoduleMap = root.kept("nodule_map", columns, lambda: NoduleMap(root.settings, columns))
    return made


def _map(root: RootOf) -> NoduleMap:
    return open_map(root)


#: The parameter of a route that reads the map.
MapOf = Annotated[NoduleMap, Depends(_map)]
