"""Croissant 1.1 metadata of a release, with the fields for responsible AI (docs/facts/reporting.md#croissant).

Forms JSON-LD from what the release holds; mlcroissant validates it in the tests. Knows the published folders alone.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets import __version__
from itrialspace_assets.release.described import ReleaseDescription

NAME = "croissant.json"
_CROISSANT = "http://mlcommons.org/croissant"
#: The standard context of version 1.1.
_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": f"{_CROISSANT}/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": f"{_CROISSANT}/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
#: Tables of slices with their truth; each is a record set.
_TABLES = ("eval_dataset.csv", "eval_dataset_negatives.csv")
#: Files of a kind: folder at the top, glob below it, media type, what they are.
_SETS = (
    ("manifests", "**/*.csv", "text/csv", "planned cases"),
    ("inserted_masks", "**/*.nii.gz", "application/gzip", "label maps with inserted nodules (label 23)"),
    ("generated_cts", "**/*.nii.gz", "application/gzip", "rendered CTs (HU)"),
    ("vlm_dataset", "**/*.png", "image/png", "evaluation slices"),
)


def croissant(root: Path, files: Mapping[str, str], what: ReleaseDescription) -> str:
    """The metadata as JSON text; equal releases give equal bytes.

    Args:
        root: folder of the release.
        files: SHA-256 of each file of the release, by its path below ``root``.
        what: what the release is.
    """
    tables = [path for path in sorted(files) if path.rsplit("/", 1)[-1] in _TABLES]
    tops = sorted({path.split("/", 1)[0] for path in files if "/" in path})
    content: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [f"{_CROISSANT}/1.1", f"{_CROISSANT}/RAI/1.0"],
        "name": what.name,
        "description": what.description,
        "version": __version__,
        "datePublished": what.date,
        "license": list(what.licences),
        "url": "https://arxiv.org/abs/2605.05761",
        "citeAs": _cite(what),
        "creator": {"@type": "sc:Organization", "name": f"not stated; made with itrialspace-assets {__version__}"},
        "keywords": ["lung CT", "pulmonary nodule", "virtual imaging trial", what.evidence.anatomy + " anatomy"],
        "distribution": [*(_file(path, files[path]) for path in tables), *_sets(tops)],
        "recordSet": [found for path in tables if (found := _records(root, path)) is not None],
        **_responsible(what),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _cite(what: ReleaseDescription) -> str:
    own = "Made with itrialspace-assets " + __version__
    return "; ".join([own, *(f"{t.dataset}: {t.citation}" for t in what.evidence.terms)])


def _identifier(path: str) -> str:
    return path.removesuffix(".csv").replace("/", "_")


def _file(path: str, sha256: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path.rsplit("/", 1)[-1],
        "description": "slices with their truth" if path.endswith(_TABLES[0]) else "negative slices",
        "contentUrl": path,
        "encodingFormat": "text/csv",
        "sha256": sha256,
    }


def _sets(tops: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileSet",
            "@id": f"{top}-files",
            "name": top,
            "description": told,
            "encodingFormat": media,
            "includes": f"{top}/{glob}",
        }
        for of, glob, media, told in _SETS
        for top in tops
        if top == of or top.startswith(f"{of}_")
    ]


def _records(root: Path, path: str) -> dict[str, Any] | None:
    """A table's columns with their types; None: it has no row."""
    frame = pl.read_csv(root / path, infer_schema_length=None)
    if not frame.height:
        return None
    name = _identifier(path)
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"rows of {path}",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column}",
                "name": column,
                "description": column.replace("_", " "),
                "dataType": _type(frame[column]),
                "source": {"fileObject": {"@id": path}, "extract": {"column": column}},
            }
            for column in frame.columns
        ],
    }


def _type(values: pl.Series) -> str:
    """An empty cell is no whole number, so a column with one holds numbers."""
    if not values.dtype.is_numeric() or values.null_count() == values.len():
        return "sc:Text"
    return "sc:Integer" if values.dtype.is_integer() and not values.null_count() else "sc:Float"


def _responsible(what: ReleaseDescription) -> dict[str, Any]:
    """The fields for responsible AI; one without an answer in our tables is left out."""
    procedural = what.evidence.anatomy == "procedural"
    found = {
        "rai:dataCollection": what.told("design"),
        "rai:dataCollectionType": ["Simulations"] if what.evidence.cts.height else ["Secondary data analysis"],
        "rai:dataCollectionMissingData": what.told("flow"),
        "rai:dataCollectionRawData": what.told("data_sources"),
        "rai:dataPreprocessingProtocol": [t for t in (what.told("preprocessing"),) if t],
        "rai:dataAnnotationProtocol": [t for t in (what.told("reference"), what.told("annotators")) if t],
        "rai:dataBiases": [t for t in (what.told("people"), what.told("representative")) if t],
        "rai:dataLimitations": [t for t in (what.told("limits"), _NOT_FOR) if t],
        "rai:dataUseCases": ["To test readers of lung CT on planned cohorts. Not to train on, not for clinical use."],
        "rai:dataSocialImpact": (
            "A reader that does well on rendered images may still fail on people; results say where to look."
        ),
        "rai:personalSensitiveInformation": [
            "none: drawn anatomy, no people"
            if procedural
            else "anatomy of real people, under the ids of the publishers; age, sex and smoking where they publish them"
        ],
    }
    return {key: value for key, value in found.items() if value}


_NOT_FOR = "no clinical result: rendered images stand for no patient"
