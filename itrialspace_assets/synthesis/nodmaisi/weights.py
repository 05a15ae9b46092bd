"""The files of NodMAISI's weights: where they lie, how they are named, whether they are the ones that were locked.

Hashes files and reads the lock; imports no torch and opens no checkpoint.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import FileHashes, digest, hash_file, replace_file
from itrialspace_assets.base.settings import Settings

#: File of each network, and its name in the public MAISI set (docs/facts/synthesis.md#weights).
FILES = {
    "autoencoder": ("autoencoder.pt", "autoencoder_v1.pt"),
    "diffusion_unet": ("diffusion_unet.pt", "diff_unet_3d_rflow-ct.pt"),
    "controlnet": ("Experiments_NoMAISI_512xy_256z_771p25m_finetune_500epoch_best.pt", "controlnet_3d_rflow-ct.pt"),
}
#: SHA-256 of each file as it was when the user locked it; written by ``its weights lock``.
LOCK = "nodmaisi.lock.json"
#: Networks other than the published ones; optional.
ARCHITECTURE = "nodmaisi.architecture.json"


@dataclass(frozen=True)
class NodmaisiWeights:
    """Paths of the three checkpoints, the architecture's file if there is one, and one hash of all."""

    autoencoder: Path
    diffusion_unet: Path
    controlnet: Path
    architecture: Path | None
    sha256: str


def _folder(settings: Settings) -> Path:
    if settings.nodmaisi_models_dir is None:
        raise ConfigError(f"NODMAISI_MODELS_DIR is not set: expected a folder with {_names()}")
    folder = settings.nodmaisi_models_dir.expanduser().absolute()
    if not folder.is_dir():
        raise ConfigError(f"NODMAISI_MODELS_DIR={folder}: expected a folder with {_names()}, found none")
    return folder


def _names() -> str:
    return ", ".join(f"{own} (in the public MAISI set {public})" for own, public in FILES.values())


def _paths(settings: Settings) -> dict[str, Path]:
    """Existing files by name in the lock.

    Raises:
        ConfigError: a file is missing.
    """
    folder = _folder(settings)
    if missing := [f"{name}: {own}" for name, (own, _) in FILES.items() if not (folder / own).is_file()]:
        raise ConfigError(
            f"NODMAISI_MODELS_DIR={folder}: missing {'; '.join(missing)}. Expected {_names()}, under the first "
            "name each"
        )
    found = {name: folder / own for name, (own, _) in FILES.items()}
    if (folder / ARCHITECTURE).is_file():
        found["architecture"] = folder / ARCHITECTURE
    return found


def lock(settings: Settings) -> Path:
    """Write the present hashes of the files; returns the lock's path.

    Raises:
        ConfigError: a file is missing, or the folder cannot be written.
    """
    found = _paths(settings)
    path = _folder(settings) / LOCK
    content = {name: {"file": p.name, "sha256": hash_file(p)} for name, p in found.items()}
    try:
        replace_file(path, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())
    except OSError as error:
        raise ConfigError(f"{path}: expected a writable folder, got {error.strerror}") from None
    return path


def locked_hash(settings: Settings) -> str:
    """One hash of all files that the lock names; reads the lock only, so that it is quick enough for each case.

    Raises:
        ConfigError: no lock, or a file that is none.
    """
    return digest(sorted(_read_lock(settings).items()))


def _read_lock(settings: Settings) -> dict[str, str]:
    path = _folder(settings) / LOCK
    try:
        content = json.loads(path.read_text())
        return {name: str(entry["sha256"]) for name, entry in content.items()}
    except FileNotFoundError:
        _paths(settings)  # first reports files that are missing
        raise ConfigError(
            f"{path}: expected the hashes of the weights, found none. Check where your files come from, then "
            "run `its weights lock`"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: expected file and sha256 of each network, got {error!r}; run `its weights lock`"
        ) from None


def find(settings: Settings) -> NodmaisiWeights:
    """The files, after their hashes were compared with the lock.

    Raises:
        ConfigError: a file is missing, is not in the lock, or is not the one that was locked.
    """
    found, wanted = _paths(settings), _read_lock(settings)
    if set(found) != set(wanted):
        raise ConfigError(
            f"{_folder(settings) / LOCK}: expected {', '.join(sorted(found))}, got "
            f"{', '.join(sorted(wanted))}; run `its weights lock`"
        )
    settings.output.mkdir(parents=True, exist_ok=True)
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        for name, path in found.items():
            if (got := hashes.get(path)) != wanted[name]:
                raise ConfigError(
                    f"{path}: expected SHA-256 {wanted[name]} (from {LOCK}), got {got}: another file, or a damaged one"
                )
    return NodmaisiWeights(
        found["autoencoder"],
        found["diffusion_unet"],
        found["controlnet"],
        found.get("architecture"),
        locked_hash(settings),
    )
