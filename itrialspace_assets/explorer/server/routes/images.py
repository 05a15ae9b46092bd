"""``/api/volumes``, ``/api/volume``, ``/api/plane.png``, ``/api/slice.png``, ``/api/marks``: what there is to look at.

The volume that was asked for last stays in memory, so that planes and parts of it come at once.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from itrialspace_assets.base.errors import ConfigError, NotFound
from itrialspace_assets.base.fingerprints import sha256_bytes
from itrialspace_assets.explorer.images.marks import MarksOnVolumes, marks_of
from itrialspace_assets.explorer.images.parts import MAX_STEP, box_of, every, nifti
from itrialspace_assets.explorer.images.planes import AXES, Axis, WindowName, busiest, clamped, plane_png
from itrialspace_assets.explorer.images.volumes import Of, VolumeEntry, read, volumes_of
from itrialspace_assets.explorer.server.problems import bytes_of
from itrialspace_assets.explorer.server.security import Uid
from itrialspace_assets.explorer.server.state import OpenRoot, RootOf
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.records.store import table_files
from itrialspace_assets.records.tables import CONDITIONS

router = APIRouter(prefix="/api", tags=["images"])

What = Annotated[str, Query(max_length=80, description="name of a volume, as /api/volumes lists them")]
Match = Annotated[
    str | None, Header(alias="If-None-Match", max_length=200, description="tags that the browser has; it may get a 304")
]
OwnerUid = Annotated[Uid, Query(description="nodule_uid or case_uid")]
OwnerKind = Annotated[Of, Query(description="which of the two the id is")]
PNG, PACKED, PLAIN = "image/png", "application/gzip", "application/octet-stream"
_TABLES = ("nodules", "cases", "insertions", "cts")
#: Volumes that stay in memory: the last one and the mask that is laid over it.
_KEPT = Literal["volume", "mask"]


@router.get("/volumes")
def get_volumes(root: RootOf, uid: OwnerUid, of: OwnerKind = "case") -> list[VolumeEntry]:
    """The volumes that a nodule or a case has, with shape, voxel size and what is to be said of each."""
    return volumes_of(root.settings, uid, of)


@router.get("/volume", **bytes_of(PACKED, PLAIN))
def get_volume(
    root: RootOf,
    uid: OwnerUid,
    what: What,
    of: OwnerKind = "case",
    step: Annotated[int, Query(ge=1, le=MAX_STEP, description="every n-th voxel along each axis")] = 1,
    box: Annotated[str | None, Query(max_length=60, description="x0,x1,y0,y1,z0,z1 in voxels")] = None,
    packed: Annotated[bool, Query(description="gzip, or the plain NIfTI file, quicker on this computer")] = True,
    known: Match = None,
) -> Response:
    """A volume as NIfTI in RAS+, whole, a box of it, or every n-th voxel."""
    volume = _volume(root, uid, of, what, "volume")
    part = volume if box is None else volume.crop(box_of(box, volume))
    return _tagged(PACKED if packed else PLAIN, nifti(every(part, step), what, packed), known)


@router.get("/plane.png", **bytes_of(PNG))
def get_plane(
    root: RootOf,
    uid: OwnerUid,
    what: What,
    of: OwnerKind = "case",
    axis: Annotated[Axis, Query(description="plane")] = "axial",
    index: Annotated[int | None, Query(description="voxel along the axis; none: where the nodule is largest")] = None,
    window: Annotated[WindowName, Query(description="window of a CT; other volumes have their own")] = "lung",
    mask: Annotated[bool, Query(description="lay the nodules over it in red")] = False,
    known: Match = None,
) -> Response:
    """A plane of a volume in a window, drawn as evaluation slices are."""
    entries = {entry.what: entry for entry in volumes_of(root.settings, uid, of)}
    volume = _volume(root, uid, of, what, "volume")
    needed = "mask" in entries and (mask or index is None)
    nodules = _volume(root, uid, of, "mask", "mask") if needed else None
    if index is None:
        own = None if nodules is None or not volume.same_grid(nodules) else busiest(nodules, axis)
        index = volume.array.shape[AXES[axis]] // 2 if own is None else own
    shown = nodules if mask else None
    at = clamped(volume, axis, index)
    return _tagged(PNG, plane_png(volume, entries[what].unit, axis, at, window, shown), known)


@router.get("/slice.png", **bytes_of(PNG))
def get_slice(
    root: RootOf,
    slice_uid: Annotated[str, Query(pattern="^[0-9a-f]{32}$", description="of the table slices")],
    condition: Annotated[str, Query(max_length=40, description="guidance")] = "plain",
    known: Match = None,
) -> Response:
    """The picture of an evaluation slice as readers got it, without a control."""
    if condition not in CONDITIONS:
        raise ConfigError(f"condition: expected one of {', '.join(CONDITIONS)}, got {condition[:40]!r}")
    path = root.settings.output / "store" / "slices" / slice_uid[:2] / f"{slice_uid}_{condition}.png"
    try:
        return _tagged(PNG, path.read_bytes(), known)
    except FileNotFoundError:
        raise NotFound(f"slice {slice_uid}: expected a picture under {condition}, found none") from None


@router.get("/marks")
def get_marks(
    root: RootOf,
    uid: OwnerUid,
    of: OwnerKind = "case",
    reader: Annotated[str | None, Query(max_length=200, description="whose marks; none: no marks")] = None,
) -> MarksOnVolumes:
    """Where the nodules lie, and what readers of whole scans marked; world mm (RAS)."""
    return marks_of(root.settings, uid, of, reader)


def _volume(root: OpenRoot, uid: str, of: Of, what: str, place: _KEPT) -> Volume:
    """A volume, kept until another is asked for or a table is made again.

    Args:
        root: of the server.
        uid: of nodule or case.
        of: which of the two.
        what: its name.
        place: which of the two kept volumes it replaces.
    """
    output = root.settings.output
    stats = tuple(path.stat().st_mtime_ns for table in _TABLES for path in table_files(output, table))
    found: Volume = root.kept(f"images.{place}", (uid, of, what, stats), lambda: read(root.settings, uid, of, what))
    return found


def _tagged(kind: str, data: bytes, known: str | None) -> Response:
    """Bytes of a media type with a tag of their content; an answer without them to a browser that has them.

    Args:
        kind: media type.
        data: the bytes.
        known: tags that the browser has.
    """
    tag = f'"{sha256_bytes(data)[:32]}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if known is not None and tag in (part.strip().removeprefix("W/") for part in known.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=kind, headers=headers)
