"""Reads a volume's file with the help of another that it shares most of its gzip members with.

``packing.repack`` copies the members that did not change, so an image with lesions differs from its lesion-free twin
in the few members that hold them: only those are decompressed.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from isal import isal_zlib

from itrialspace_assets.imaging.geometry import Box, Volume, read_volume, slab_depth
from itrialspace_assets.imaging.packing import Packed

_GZIP = 31  # window bits of zlib for a gzip member
_PIECE = 1 << 16  # bytes that are unpacked at a time, ours: no more than these are copied where a member ends


@dataclass(frozen=True)
class Members:
    """A volume, and the gzip members of its file: the header's, then one for some slices along z each.

    ``sizes`` are the bytes that each member holds. There are no members where the file does not hold the volume's own
    bytes in their order.
    """

    volume: Volume
    members: tuple[bytes, ...]
    sizes: tuple[int, ...]

    @property
    def packed(self) -> Packed | None:
        """The file as ``pack_volume`` makes it; None where it is divided in another way."""
        array = self.volume.array
        depth = slab_depth(array)
        slabs = [array[..., k : k + depth].nbytes for k in range(0, array.shape[2], depth)]
        return Packed(self.members[0], self.members[1:], depth) if list(self.sizes[1:]) == slabs else None


def read_members(path: Path) -> Members:
    """A volume with the members of its file.

    Raises:
        CaseRejected: as ``read_volume``.
    """
    members: list[bytes] = []
    sizes: list[int] = []
    stored = [b""]

    def unpack(data: bytes) -> bytes:
        content = io.BytesIO()  # gives its bytes without a copy, and each piece's memory is used for the next
        at = 0
        while at < len(data):
            pieces, end = _unpack(data, at)
            members.append(data[at:end])
            sizes.append(sum(map(len, pieces)))
            content.writelines(pieces)
            at = end
        stored[0] = content.getvalue()
        return stored[0]

    volume = read_volume(path, unpack=unpack)
    if not members:  # the file is not compressed
        return Members(volume, (), ())
    array = volume.array
    start = np.frombuffer(stored[0], np.uint8).ctypes.data + sum(sizes[:1])
    over_the_bytes = array.flags.f_contiguous and array.ctypes.data == start and array.nbytes == sum(sizes[1:])
    return Members(volume, tuple(members), tuple(sizes)) if over_the_bytes else Members(volume, (), ())


def read_beside(path: Path, like: Members, levels: slice | None = None) -> Volume:
    """What ``read_volume`` gives, from the members in which a file differs from its like.

    Args:
        path: a NIfTI file.
        like: a volume of the same grid and type with the members of its file.
        levels: bounds along z of what is wanted, within the volume; None: all of it.

    Raises:
        CaseRejected: as ``read_volume``.
    """
    wanted = levels or slice(0, like.volume.array.shape[2])
    found = _patched(path, like, wanted)
    if found is not None:
        return found
    volume = read_volume(path)
    return volume if levels is None else volume.crop(_levels(volume, levels))


def _levels(volume: Volume, levels: slice) -> Box:
    x, y, _ = volume.array.shape
    return slice(0, x), slice(0, y), levels


def _patched(path: Path, like: Members, levels: slice) -> Volume | None:
    """The wanted levels with the differing members laid over the like's; None where that does not give the whole file.

    Every differing member is unpacked, also of other levels, so that a damaged file is never taken for a whole one.
    """
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    if not like.members or not raw.startswith(like.members[0]):
        return None
    part = like.volume.crop(_levels(like.volume, levels))
    array = part.array.copy(order="F")
    flat = array.reshape(-1, order="F").view(np.uint8)
    begin = levels.start * (flat.nbytes // array.shape[2])
    at, first = len(like.members[0]), 0
    for member, size in zip(like.members[1:], like.sizes[1:], strict=True):
        if raw.startswith(member, at):
            at += len(member)
        else:
            try:
                pieces, end = _unpack(raw, at)
            except (EOFError, isal_zlib.error):  # type: ignore[misc]
                return None
            unpacked = b"".join(pieces)
            if len(unpacked) != size:
                return None
            low, high = max(first, begin), min(first + size, begin + flat.nbytes)
            if low < high:
                flat[low - begin : high - begin] = np.frombuffer(unpacked, np.uint8)[low - first : high - first]
            at = end
        first += size
    return Volume(array, part.affine) if at == len(raw) else None


def _unpack(data: bytes, at: int) -> tuple[list[bytes], int]:
    """What the gzip member that begins at a place of some bytes holds, in pieces, and where it ends.

    Raises:
        EOFError: the member is cut off.
        isal_zlib.error: this is no gzip member.
    """
    reader, view, end = isal_zlib.decompressobj(wbits=_GZIP), memoryview(data), at
    content = []
    while not reader.eof:
        piece = view[end : end + _PIECE]
        if not piece:
            raise EOFError
        content.append(reader.decompress(piece))
        end += len(piece)
    return content, end - len(reader.unused_data)
