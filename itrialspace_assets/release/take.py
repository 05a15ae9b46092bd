"""Uses a downloaded release instead of computing: its verified tables and files become partitions of an output folder.

Everything is checked before anything is written: hashes, contracts, paths, and that each partition is used with what it
was made from. Files become hard links where the file system allows. What is taken is marked as released in its record
(``casework.steps.record_released``); its files are those of who made it. Nothing is computed.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import FileHashes, link_file, replace_file
from itrialspace_assets.base.settings import PROCEDURAL_MARK, Settings
from itrialspace_assets.casework.steps import Result, contracts_of, read_record, record_released
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.release.partitions import NAME, PARTS, Published, ReleasedPartitions, part_of, read_partitions
from itrialspace_assets.release.parts import SUMS, read_sums

#: Folders of an output folder into which a release may write.
_TARGETS = ("tables", "store", "manifests", "trials", "splits")
#: Faults that a message names; ours.
_FIRST = 10
#: What a partition that was taken says of itself.
NOTE = "taken from a release, not computed here"


@dataclass(frozen=True)
class Taken:
    """What was taken.

    Attributes:
        labels: partitions, in order.
        tables: profile tables that were put into the data root, by name.
        unknown: partitions that were left out, as no asset of these settings makes them.
    """

    labels: tuple[str, ...]
    tables: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def by_part(self) -> Mapping[str, int]:
        return Counter(str(part_of(label)) for label in self.labels)


def chosen_parts(text: str) -> tuple[str, ...]:
    """Parts by name, separated by commas; ``all`` for every part.

    Raises:
        ConfigError: a name is no part.
    """
    every = tuple(dict.fromkeys(PARTS.values()))
    words = [w.strip() for w in text.split(",") if w.strip()]
    if unknown := [w for w in words if w not in (*every, "all")]:
        raise ConfigError(f"--use: expected all or some of {', '.join(every)}, got {', '.join(unknown)}")
    return every if "all" in words else tuple(p for p in every if p in words)


def take_release(settings: Settings, root: Path, parts: Sequence[str], known: Collection[str]) -> Taken:
    """Use parts of a release in the present data root and output folder.

    Args:
        settings: where tables, files and records go.
        root: the release.
        parts: which parts.
        known: labels of the partitions that there are with these settings.

    Raises:
        ConfigError: a file is missing, changed, or leads out of the release; a partition is of another contract, or
            disagrees with what it was made from. Every such file or partition is named, and nothing was written.
    """
    if root.resolve() == settings.output.resolve():
        raise ConfigError(f"{root}: expected a release beside the output folder, got the output folder itself")
    stated = read_sums(root) if (root / SUMS).exists() else {}
    content = read_partitions(root)
    if content is None and (wanted := [p for p in parts if p != "profiles"]):
        raise ConfigError(
            f"{root / NAME}: expected it for {', '.join(wanted)}, found none: the published files alone state no "
            "seeds, keys of requests or host maps, and none are invented; use the profile tables (--use profiles), "
            "insert its manifests with `its insert run`, and render its masks with `its cts render`"
        )
    mine = [p for p in content.partitions if p.part in parts] if content else []
    taken = [p for p in mine if p.label in known and not _is_here(settings, p)]
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        release = _Release(root, stated, hashes)
        tables = dict(_profile_tables(settings, release)) if "profiles" in parts else {}
        faults = [*_lacking(parts, mine, tables, content is not None), *_anatomy(settings, content)]
        faults += [fault for partition in taken for fault in _faults(settings, partition, taken)]
        sources: dict[str, Path] = {}
        for partition in taken:
            for path, sha in (partition.files | partition.beside).items():
                if path not in sources:
                    if _overwrites(settings, hashes, partition, path, sha):
                        faults.append(f"{partition.label}: {path}: the output folder holds another; use an empty one")
                    found = release.find(path, sha)
                    if isinstance(found, Path):
                        sources[path] = found
                    else:
                        faults.append(f"{partition.label}: {found}")
    faults += release.faults
    if faults:
        more = f"; and {len(faults) - _FIRST} more" if len(faults) > _FIRST else ""
        raise ConfigError(f"{root}: nothing was taken: {'; '.join(faults[:_FIRST])}{more}")
    _write(settings, content, tables, sources, taken)
    left = tuple(p.label for p in mine if p.label not in known)
    return Taken(tuple(p.label for p in taken), tuple(sorted(path.name for path in tables)), left)


class _Release:
    """The files of a release: found by name or hash, each within its folder and as stated."""

    def __init__(self, root: Path, stated: Mapping[str, str], hashes: FileHashes) -> None:
        self.root, self.stated, self.hashes = root, stated, hashes
        self.faults: list[str] = []
        self.named: dict[str, list[str]] = defaultdict(list)
        for name, sha in stated.items():
            self.named[sha].append(name)

    def find(self, path: str, sha: str) -> Path | str:
        """The file with this content, under its own path or a published name; else what is wrong."""
        if not _may_be_written(path):
            return f"{path}: expected a path below {', '.join(_TARGETS)}, got one that leads elsewhere"
        wrong = f"{path}: missing"
        for name in (path, *self.named[sha]):
            file = self.within(name)
            if file is None:
                wrong = f"{name}: leads out of the release; copy the release with its links followed (cp -rL)"
            elif (got := self.hashes.get(file)) == sha:
                return file
            elif got is not None:
                wrong = f"{name}: changed: expected SHA-256 {sha[:12]}…, got {got[:12]}…"
        return wrong

    def within(self, name: str) -> Path | None:
        """A file of the release with its links followed; None if it lies outside."""
        file = (self.root / name).resolve()
        return file if file.is_relative_to(self.root.resolve()) else None


def _may_be_written(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and parts[0] in _TARGETS and ".." not in parts and "\\" not in path


def _is_here(settings: Settings, partition: Published) -> bool:
    """Whether this output folder made the same partition itself."""
    present = read_record(settings, partition.label) or {"released": True}
    return not present.get("released") and present["data_version"] == partition.data_version


def _overwrites(settings: Settings, hashes: FileHashes, partition: Published, path: str, sha: str) -> bool:
    """Whether a file would take the place of one that is not of an earlier release."""
    if not _may_be_written(path) or hashes.get(settings.output / path) in (None, sha):
        return False
    return not (read_record(settings, partition.label) or {}).get("released")


def _profile_tables(settings: Settings, release: _Release) -> Iterator[tuple[Path, Path]]:
    """Profile tables and lists of scans of registered datasets: place in the data root, file of the release."""
    for entry in datasets(settings).values():
        for target in (entry.profile_csv(settings.data), entry.scan_list_csv(settings.data)):
            name = f"profiles/{target.name}"
            if not (release.root / name).exists():
                continue
            file = release.within(name)
            if file is None:
                release.faults.append(f"{name}: leads out of the release; copy it with its links followed (cp -rL)")
                continue
            got = release.hashes.get(file)
            if got != (sha := release.stated.get(name, got)):
                release.faults.append(f"{name}: changed: expected SHA-256 {str(sha)[:12]}…, got {str(got)[:12]}…")
            elif release.hashes.get(target) not in (None, got):
                release.faults.append(f"{name}: the data root has another {target.name}; use another data root")
            else:
                yield target, file


def _lacking(
    parts: Sequence[str], mine: Sequence[Published], tables: Mapping[Path, Path], described: bool
) -> Iterator[str]:
    """Chosen parts of which the release holds nothing."""
    held = {p.part for p in mine} | ({"profiles"} if tables else set())
    if described and set(parts) == set(PARTS.values()):
        return  # all of what there is
    for part in parts:
        if part not in held:
            yield f"{part}: the release holds none"


def _anatomy(settings: Settings, content: ReleasedPartitions | None) -> Iterator[str]:
    """A data root of real people takes nothing procedural, and the other way round."""
    holds = any((settings.data / name).exists() for name in ("profiles", "masks", "raw_ct", PROCEDURAL_MARK))
    if content is not None and holds and settings.anatomy != content.anatomy:
        yield f"the data root {settings.data} is of {settings.anatomy} anatomy, the release of {content.anatomy}"


def _faults(settings: Settings, partition: Published, taken: Sequence[Published]) -> Iterator[str]:
    """Why a partition cannot be used; without its files."""
    if partition.stated_version != partition.data_version:
        yield f"{partition.label}: {NAME} contradicts itself: its files do not give its data version"
    if partition.contracts != contracts_of(partition.tables):
        yield f"{partition.label}: its tables are of another contract; its version of this program reads them"
    present = read_record(settings, partition.label)
    if present and not present.get("released") and present["data_version"] != partition.data_version:
        yield f"{partition.label}: the output folder holds its own; use another output folder"
    versions = {p.label: p.data_version for p in taken}
    for of, version in partition.bound.items():
        here = versions.get(of) or str((read_record(settings, of) or {}).get("data_version", ""))
        if here == version or (not here and part_of(of) != "manifests"):
            continue
        what = "another one is here" if here else "none is here; use the part manifests too"
        yield f"{partition.label}: disagrees with {of}: it was made from version {version[:12] or 'none'}, {what}"


def _write(
    settings: Settings,
    content: ReleasedPartitions | None,
    tables: Mapping[Path, Path],
    sources: Mapping[str, Path],
    taken: Sequence[Published],
) -> None:
    if content is not None and content.anatomy == "procedural" and settings.anatomy == "real":
        note = {"anatomy": "procedural", "note": NOTE}
        replace_file(settings.data / PROCEDURAL_MARK, json.dumps(note, indent=1).encode())
    for target, file in tables.items():
        replace_file(target, file.read_bytes())
    for path, file in sources.items():
        link_file(file, settings.output / path)
    for partition in taken:
        result = Result(
            partition.tables,
            reused=partition.cases,
            rejected=partition.rejected,
            note="; ".join(filter(None, (NOTE, partition.note.removeprefix(NOTE).removeprefix("; ")))),
            files=partition.files,
        )
        record_released(
            settings,
            partition.label,
            partition.reads,
            result,
            bound=partition.bound,
            contracts=partition.contracts,
            code_version=partition.code_version,
        )
