"""Files of layouts and edges below the output folder: written by rename, read only for the nodules they were made of.

    explorer/layouts/<feature set>__<layout>.parquet    nodule_uid, c0, c1, … (float32)
    explorer/edges/<name>.parquet                       source, target (row numbers), distance, rank

Each holds a hash of all that decides it; one of other nodules is not read.
"""

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from itrialspace_assets.base.fingerprints import replace_file, sha256_bytes
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.layouts.features import Features, Singles

_OF = b"itrialspace.of"
#: Ids that are joined at once, for little memory; ours.
_JOINED = 1 << 16
#: Rows of an array whose bytes are hashed at once; ours.
_HASHED = 1 << 16


def layout_path(settings: Settings, feature_set: str, layout: str) -> Path:
    """File of a layout.

    Args:
        settings: give the output folder.
        feature_set: name of the feature set.
        layout: name of the layout.
    """
    return settings.output / "explorer" / "layouts" / f"{feature_set}__{layout}.parquet"


def edges_path(settings: Settings, name: str) -> Path:
    """File of edges, by a name that says all that was asked."""
    return settings.output / "explorer" / "edges" / f"{name}.parquet"


def hash_of(uids: pl.Series, *parts: npt.NDArray[Any] | Features) -> str:
    """Hash over ids and arrays: of what a file is made."""
    whole = hashlib.sha256()
    for some in uids.to_frame().iter_slices(_JOINED):
        whole.update("\n".join((*some.to_series(), "")).encode())
    for part in parts:
        whole.update(f"{part[:0].dtype} {part.shape}\n".encode())
        for first in range(0, len(part), _HASHED):
            whole.update(np.ascontiguousarray(part[first : first + _HASHED]).data)
    return whole.hexdigest()


def write_layout(path: Path, uids: pl.Series, points: Singles, of: str) -> str:
    """Write a layout.

    Args:
        path: of ``layout_path``.
        uids: nodule_uid of each row.
        points: coordinates (n, d).
        of: hash of what it is made of.

    Returns:
        SHA-256 of the file's bytes; equal layouts give equal bytes.
    """
    columns = {f"c{i}": points[:, i] for i in range(points.shape[1])}
    return _write(path, pl.DataFrame({"nodule_uid": uids, **columns}), of)


def write_edges(path: Path, edges: pl.DataFrame, of: str) -> str:
    """Write edges; arguments and answer as of ``write_layout``.

    Args:
        path: of ``edges_path``.
        edges: source, target, distance, rank.
        of: hash of what they are made of.
    """
    return _write(path, edges, of)


def read_points(path: Path, of: str) -> Singles | None:
    """Coordinates (n, d) of a layout; None if there is none of that hash."""
    if made_of(path) != of:
        return None
    names = [name for name in pq.read_schema(path).names if name != "nodule_uid"]
    return np.ascontiguousarray(pl.read_parquet(path.read_bytes(), columns=names).to_numpy())


def read_edges(path: Path, of: str) -> pl.DataFrame | None:
    """Edges; None if there are none of that hash."""
    return pl.read_parquet(path.read_bytes()) if made_of(path) == of else None


def made_of(path: Path) -> str:
    """Hash of what a file was made of; empty if there is no such file, or it is damaged."""
    try:
        return str((pq.read_metadata(path).metadata or {}).get(_OF, b"").decode())
    except (OSError, pa.ArrowException):
        return ""


def present(settings: Settings) -> Iterable[Path]:
    """Files of layouts and of edges, in order."""
    folder = settings.output / "explorer"
    return [*sorted((folder / "layouts").glob("*.parquet")), *sorted((folder / "edges").glob("*.parquet"))]


def _write(path: Path, frame: pl.DataFrame, of: str) -> str:
    arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).replace_schema_metadata({_OF: of.encode()})
    buffer = io.BytesIO()
    pq.write_table(arrow, buffer, compression="zstd", use_dictionary=False)
    replace_file(path, buffer.getvalue())
    return sha256_bytes(buffer.getvalue())
