"""The volumes of a nodule or a case by their names. Reading them is of ``explorer.images``."""

from collections.abc import Iterator
from dataclasses import dataclass

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.images.volumes import Of, VolumeEntry, read, volumes_of
from itrialspace_assets.imaging.geometry import Volume


@dataclass(frozen=True, repr=False)
class Images:
    """The volumes of a nodule or a case.

    Attributes:
        settings: where they are.
        uid: the ``nodule_uid`` or ``case_uid``.
        of: which of the two.
    """

    settings: Settings
    uid: str
    of: Of

    def list(self) -> list[VolumeEntry]:
        """The volumes that there are now, with shape, spacing (mm) and mark; reads no voxels."""
        return volumes_of(self.settings, self.uid, self.of)

    def __getitem__(self, what: str) -> Volume:
        """A volume by its name, (X, Y, Z) in RAS+. Its array may be shared: copy it before you write to it.

        Raises:
            NotFound: there is no such volume; names those that there are.
            CaseRejected: its file is damaged.
        """
        return read(self.settings, self.uid, self.of, what)

    def __iter__(self) -> Iterator[str]:
        """Names of the volumes."""
        return (entry.what for entry in self.list())

    def __repr__(self) -> str:
        """The names with their shapes."""
        shown = (f"{e.what} ({'×'.join(map(str, e.shape or ()))})" for e in self.list())
        return f"Images({', '.join(shown) or 'none yet'})"
