"""A Provenance Run Crate of a release: RO-Crate metadata of inputs, steps, versions and outputs.

The profile is https://w3id.org/ro/wfrun/provenance/0.5 (docs/facts/reporting.md#run-crate). Says what the records say;
nothing here reads a table. The workflow is a file of the release that names each asset and what it reads.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from itrialspace_assets import __version__
from itrialspace_assets.release.described import ReleaseDescription
from itrialspace_assets.release.lineage import BuiltPartition

NAME = "ro-crate-metadata.json"
#: The workflow as a file of the release.
WORKFLOW = "workflow.json"
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
_CONTEXT = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
_ENGINE, _LANGUAGE, _SOFTWARE, _RUN = "#dagster", "#dagster-assets", "#itrialspace-assets", "#run"
_APACHE = "https://spdx.org/licenses/Apache-2.0"
_COMPLETED = "http://schema.org/CompletedActionStatus"
Entity = dict[str, Any]


def workflow(made: Mapping[str, BuiltPartition]) -> str:
    """The workflow as JSON text: every asset with its code versions and the assets and inputs that it reads."""
    steps: dict[str, tuple[set[str], set[str]]] = {}
    for one in made.values():
        versions, reads = steps.setdefault(one.asset, (set(), set()))
        versions.add(one.code_version)
        reads |= {label.partition("|")[0] for label in one.reads}
    content = [
        {"asset": asset, "code_versions": sorted(versions), "reads": sorted(reads)}
        for asset, (versions, reads) in sorted(steps.items())
    ]
    return json.dumps({"software": f"itrialspace-assets {__version__}", "assets": content}, indent=1) + "\n"


def run_crate(
    made: Mapping[str, BuiltPartition], outputs: Mapping[str, str], folders: list[str], what: ReleaseDescription
) -> str:
    """The metadata as JSON text; equal records and files give equal bytes.

    Args:
        made: partitions that the release comes from, by label.
        outputs: SHA-256 of files at the top of the release; ``WORKFLOW`` among them.
        folders: folders of the release.
        what: what the release is.
    """
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version="1.1")
    for identifier, content in _entities(made, outputs, folders, what):
        if identifier == "./":
            crate.root_dataset.properties().update(content)
        else:
            crate.add(ContextEntity(crate, identifier, properties=content))
    graph = crate.metadata.generate()["@graph"]
    own = [e for e in graph if e["@id"] in (NAME, "./")]
    rest = sorted((e for e in graph if e["@id"] not in (NAME, "./")), key=lambda e: str(e["@id"]))
    return json.dumps({"@context": _CONTEXT, "@graph": [*own, *rest]}, indent=1, allow_nan=False) + "\n"


def _of(identifier: str) -> Entity:
    return {"@id": identifier}


def _step(asset: str) -> str:
    return f"#step/{asset}"


def _tool(asset: str) -> str:
    return f"#asset/{asset}"


def _action(label: str) -> str:
    return f"#made/{label.replace('|', '/')}"


def _data(label: str, version: str) -> str:
    return f"#data/{label.replace('|', '/')}@{(version or 'missing').replace(' ', '-')}"


def _entities(
    made: Mapping[str, BuiltPartition], outputs: Mapping[str, str], folders: list[str], what: ReleaseDescription
) -> Iterator[tuple[str, Entity]]:
    """Identifier and properties of every entity but the metadata file itself."""
    parts = sorted([*(f"{folder}/" for folder in folders), *outputs])
    assets = sorted({one.asset for one in made.values()})
    yield from _release(made, parts, what)
    yield from _software(outputs[WORKFLOW], assets)
    yield from _files(outputs, folders)
    yield from _steps(made, assets)
    yield from _actions(made, parts, what)
    yield from _states(made)


def _release(
    made: Mapping[str, BuiltPartition], parts: list[str], what: ReleaseDescription
) -> Iterator[tuple[str, Entity]]:
    """The release itself, its terms, and the profiles that the crate keeps to."""
    terms = f"{'; '.join(what.licences)}"
    licence = terms if terms == _APACHE else "#terms"
    yield (
        "./",
        {
            "name": what.name,
            "description": what.description,
            "datePublished": what.date,
            "license": _of(licence),
            "conformsTo": [_of(p) for p in _PROFILES],
            "mainEntity": _of(WORKFLOW),
            "hasPart": [_of(p) for p in parts],
            "mentions": [_of(a) for a in (_RUN, *map(_action, made))],
        },
    )
    for profile, (name, version) in _PROFILES.items():
        yield profile, {"@type": "CreativeWork", "name": name, "version": version}
    yield (
        licence,
        {"@type": "CreativeWork", "name": "Terms of the release", "description": terms, "identifier": licence},
    )


def _software(workflow_sha256: str, assets: list[str]) -> Iterator[tuple[str, Entity]]:
    """Dagster, this platform, and the workflow as a file."""
    yield _LANGUAGE, {"@type": "ComputerLanguage", "name": "Dagster assets", "url": "https://docs.dagster.io"}
    yield _ENGINE, {"@type": "SoftwareApplication", "name": "Dagster", "url": "https://dagster.io"}
    yield (
        _SOFTWARE,
        {
            "@type": "SoftwareApplication",
            "name": "itrialspace-assets",
            "softwareVersion": __version__,
            "license": _of(_APACHE),
        },
    )
    yield (
        WORKFLOW,
        {
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
            "name": "Asset graph of itrialspace-assets",
            "description": "Every asset that took part, its code versions, and what it reads",
            "encodingFormat": "application/json",
            "version": __version__,
            "license": _of(_APACHE),
            "programmingLanguage": _of(_LANGUAGE),
            "sha256": workflow_sha256,
            "hasPart": [_of(_tool(a)) for a in assets],
            "step": [_of(_step(a)) for a in assets],
        },
    )


def _files(outputs: Mapping[str, str], folders: list[str]) -> Iterator[tuple[str, Entity]]:
    """Folders and files at the top of the release, but the workflow."""
    for folder in folders:
        about = f"folder {folder} of the release; hashes: SHA256SUMS"
        yield f"{folder}/", {"@type": "Dataset", "name": folder, "description": about}
    for path, sha256 in outputs.items():
        if path != WORKFLOW:
            yield (
                path,
                {
                    "@type": "File",
                    "name": path,
                    "description": f"file {path} of the release",
                    "encodingFormat": "application/json" if path.endswith(".json") else "text/plain",
                    "sha256": sha256,
                },
            )


def _steps(made: Mapping[str, BuiltPartition], assets: list[str]) -> Iterator[tuple[str, Entity]]:
    """The step of each asset, as software and as part of the workflow."""
    for number, asset in enumerate(assets):
        versions = sorted({one.code_version for one in made.values() if one.asset == asset})
        yield (
            _tool(asset),
            {
                "@type": "SoftwareApplication",
                "name": asset,
                "description": f"the step that makes the asset {asset}",
                "softwareVersion": ", ".join(versions),
                "isPartOf": _of(_SOFTWARE),
            },
        )
        yield (
            _step(asset),
            {"@type": "HowToStep", "name": asset, "position": str(number), "workExample": _of(_tool(asset))},
        )


def _actions(
    made: Mapping[str, BuiltPartition], parts: list[str], what: ReleaseDescription
) -> Iterator[tuple[str, Entity]]:
    """The run as a whole, and the making of each partition."""
    yield (
        _RUN,
        {
            "@type": "CreateAction",
            "name": f"Run of itrialspace-assets {__version__}",
            "description": "All partitions that the release comes from; each has an action of its own",
            "instrument": _of(WORKFLOW),
            "agent": _of(_SOFTWARE),
            "object": [_of(i) for i in sorted(_inputs(made))],
            "result": [_of(p) for p in parts if p != WORKFLOW],
            "actionStatus": _of(_COMPLETED),
            "endTime": what.date,
        },
    )
    for label, one in made.items():
        yield (
            _action(label),
            {
                "@type": "CreateAction",
                "name": f"{label} was made",
                "instrument": _of(_tool(one.asset)),
                "agent": _of(_SOFTWARE),
                "object": [_of(_data(of, version)) for of, version in sorted(one.reads.items())],
                "result": [_of(_data(label, one.data_version))],
                "actionStatus": _of(_COMPLETED),
            },
        )


def _states(made: Mapping[str, BuiltPartition]) -> Iterator[tuple[str, Entity]]:
    """What was read and what was written, each by its version."""
    inputs = _inputs(made)
    states = {_data(label, one.data_version): (label, one.data_version) for label, one in made.items()}
    states |= {_data(of, version): (of, version) for one in made.values() for of, version in one.reads.items()}
    for identifier, (label, version) in sorted(states.items()):
        yield (
            identifier,
            {
                "@type": "CreativeWork",
                "name": label,
                "version": version,
                "identifier": version or "missing",
                "description": "input" if identifier in inputs else "what the partition wrote, by its hash",
            },
        )


def _inputs(made: Mapping[str, BuiltPartition]) -> set[str]:
    """Identifiers of what was read and not made."""
    reads = (read for one in made.values() for read in one.reads.items())
    return {_data(label, version) for label, version in reads if label not in made}
