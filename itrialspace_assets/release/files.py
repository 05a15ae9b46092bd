"""Puts one file into the published layout and says its hash. Chooses no name."""

from pathlib import Path

from itrialspace_assets.base.fingerprints import link_file, replace_file, sha256_bytes
from itrialspace_assets.base.settings import Settings


def link(settings: Settings, source: str, target: str, sha: str) -> dict[str, str]:
    """Link a file of the store under a published name.

    Args:
        settings: output folder.
        source: the file, below the output folder.
        target: its published name, below the output folder.
        sha: its SHA-256.

    Returns:
        ``target`` -> ``sha``.
    """
    link_file(settings.output / source, settings.output / target)
    return {target: sha}


def copy(settings: Settings, source: Path, target: str) -> dict[str, str]:
    """Copy a file of the user's.

    Args:
        settings: output folder.
        source: the file.
        target: its published name, below the output folder; may be the file itself.

    Returns:
        ``target`` -> its SHA-256.
    """
    content = source.read_bytes()
    if not (settings.output / target).exists() or not (settings.output / target).samefile(source):
        replace_file(settings.output / target, content)
    return {target: sha256_bytes(content)}


def text(settings: Settings, target: str, content: str) -> dict[str, str]:
    """Write a text file.

    Args:
        settings: output folder.
        target: its published name, below the output folder.
        content: the text.

    Returns:
        ``target`` -> its SHA-256.
    """
    replace_file(settings.output / target, content.encode())
    return {target: sha256_bytes(content.encode())}
