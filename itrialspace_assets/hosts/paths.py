"""Where the files of a host lie below the output folder. Opens none of them."""

from pathlib import Path


def map_path(output: Path, map_sha256: str) -> Path:
    """File of a host's nodule-free label map."""
    return output / "store" / "hosts" / f"{map_sha256[:2]}" / f"{map_sha256}.nii.gz"


def depth_path(output: Path, map_sha256: str) -> Path:
    """File of a host's ``lung_depth``."""
    return map_path(output, map_sha256).with_name(f"{map_sha256}.depth.nii.gz")


def clearance_path(output: Path, map_sha256: str) -> Path:
    """File of a host's clearance map."""
    return map_path(output, map_sha256).with_name(f"{map_sha256}.clearance.npz")
