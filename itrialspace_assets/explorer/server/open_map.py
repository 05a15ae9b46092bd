"""The nodule map of the present index, made once and shared between requests."""

from typing import Annotated

from fastapi import Depends

from itrialspace_assets.explorer.lately import Lately
from itrialspace_assets.explorer.layouts.nodule_map import NoduleMap
from itrialspace_assets.explorer.server.state import OpenRoot, RootOf


def open_map(root: OpenRoot) -> NoduleMap:
    """The map of the present index.

    Raises:
        TableError: there is no index yet, or it was accepted under another contract.
    """
    columns = root.columns
    made: NoduleMap = root.kept(
        "nodule_map", columns, lambda: NoduleMap(root.settings, columns, Lately(columns.budget))
    )
    return made


def _map(root: RootOf) -> NoduleMap:
    return open_map(root)


#: The parameter of a route that reads the map.
MapOf = Annotated[NoduleMap, Depends(_map)]
