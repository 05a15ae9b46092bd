"""``/api/root``: what this data root is, and what it must say about itself on every view."""

from fastapi import APIRouter

from itrialspace_assets.explorer.overview import Overview, overview
from itrialspace_assets.explorer.server.state import RootOf

router = APIRouter(prefix="/api", tags=["root"])


@router.get("/root")
def get_root(root: RootOf) -> Overview:
    """Name, version, marks, counts, datasets and tables of the data root."""
    return overview(root.settings)
