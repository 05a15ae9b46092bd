"""The edges of the asset graph, as data: what each step reads. Read by Dagster, the command line and
the picture in the README; imports no Dagster.
"""

import itrialspace_assets.hosts.build as hosts
import itrialspace_assets.index.build as index
import itrialspace_assets.insertion.build as insertion
import itrialspace_assets.profiles.build as profiles
import itrialspace_assets.readers.build as reading
import itrialspace_assets.slices.build as slicing
import itrialspace_assets.synthesis.build as synthesis
import itrialspace_assets.trials.build as trials
from itrialspace_assets.analysis import splits
from itrialspace_assets.analysis import steps as reports
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.catalog import rebuild
from itrialspace_assets.explorer import embedding
from itrialspace_assets.hosts import procedural
from itrialspace_assets.orchestration.nodes import RAW, Key, Node
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.release import write as release
from itrialspace_assets.slices.build import REAL
from itrialspace_assets.synthesis import compare
from itrialspace_assets.synthesis.renderers import enabled


def nodes(settings: Settings) -> list[Node]:
    """Every step of the enabled renderers and readers, upstream before downstream."""
    profile, host, plan, insert = ("profiles",), ("hosts",), ("cohort_manifests",), ("inserted_masks",)
    drawn = procedural.STEP.key
    found = [
        Node(
            profiles.STEP,
            (("raw", "profiles"),),
            (),
            profiles.TABLES,
            "table",
            "Profiles of one dataset: the 53 published columns with harmonised ids.",
        ),
        Node(
            hosts.STEP,
            (profile, ("raw", "masks")),
            (),
            hosts.TABLES,
            "volume",
            "Canonical nodule-free host maps with their geometry, and the lesions cut from them.",
        ),
        Node(
            index.STEP,
            (profile,),
            (profile,),
            ("nodules", "scans", "patients"),
            "table",
            "The harmonised nodule index over all datasets.",
        ),
        Node(
            procedural.STEP,
            (),
            (),
            ("donors",),
            "table",
            "Drawn nodules of every size, marked procedural, for trials that ask for them.",
        ),
        Node(embedding.STEP, (("nodule_index",),), (), ("nodule_map",), "table", "Two-dimensional map of the index."),
        Node(
            trials.STEP,
            (("nodule_index",), host, drawn),
            (host,),
            trials.TABLES,
            "table",
            "The manifest of a mode: which donor goes into which host, and why.",
        ),
        Node(
            trials.FEASIBILITY,
            (("nodule_index",), host, drawn),
            (host,),
            ("feasibility",),
            "table",
            "What a mode's arms can draw from, which constraint binds, and what relaxing it costs.",
        ),
        Node(
            insertion.STEP,
            (plan, host, drawn),
            (host,),
            ("insertions",),
            "volume",
            "Donor nodules stamped into host anatomy as label 23.",
        ),
    ]
    sources = [(REAL, ("dataset",)), *((r.name, ("mode", "dataset")) for r in enabled(settings))]
    for renderer in enabled(settings):
        found.append(
            Node(
                synthesis.make_step(renderer),
                (insert,),
                (),
                ("cts",),
                "ct",
                f"CTs that '{renderer.name}' renders from inserted masks, with their lesion-free twins.",
            )
        )
    for source, _ in sources:
        reads: tuple[Key, ...] = (host, profile, ("raw", "cts")) if source == REAL else ((source, "synthetic_cts"),)
        found.append(
            Node(
                slicing.make_step(source),
                reads,
                (),
                ("slices",),
                "image",
                f"Evaluation slices of source '{source}' under four kinds of guidance.",
            )
        )
    for source, _ in sources:
        for reader in readers(settings).values():
            found.append(
                Node(
                    reading.make_step(source, reader),
                    ((source, "eval_slices"),),
                    (),
                    ("predictions", "detections"),
                    "reader",
                    f"Answers and marks of reader '{reader.name}' on source '{source}'.",
                )
            )
    all_slices = tuple((source, "eval_slices") for source, _ in sources)
    real_answers = tuple((REAL, "predictions", name) for name in readers(settings))
    rendered_answers = tuple(
        (source, "predictions", name) for source, _ in sources if source != REAL for name in readers(settings)
    )
    frozen = ("evaluation_splits",)
    found += [
        Node(
            compare.STEP,
            (host, ("raw", "cts"), *((r.name, "synthetic_cts") for r in enabled(settings))),
            (),
            ("fidelity", "host_overlaps"),
            "table",
            "How far rendered CTs lie from real ones, beside how far real datasets lie from each other.",
        ),
        Node(splits.STEP, all_slices, all_slices, ("splits",), "table", "Frozen lists of slices and their hashes."),
        Node(
            reports.MODE_STEP,
            (frozen, *rendered_answers),
            (),
            ("metrics",),
            "report",
            "Estimates with intervals, figure and page of a mode.",
        ),
        Node(
            reports.REAL_STEP,
            (frozen, *real_answers),
            (),
            ("metrics",),
            "report",
            "Estimates with intervals, figure and page of a dataset's real slices.",
        ),
        Node(
            reports.STUDY_STEP,
            (("mode_report",), ("real_report",), compare.STEP.key),
            (("mode_report",), ("real_report",)),
            (),
            "report",
            "One page over all modes and datasets.",
        ),
        Node(
            rebuild.STEP,
            (("study_report",), ("nodule_map",)),
            (),
            (),
            "duckdb",
            "itrialspace.duckdb: every table, with views.",
        ),
        Node(
            release.STEP,
            (("study_report",),),
            (),
            (),
            "files",
            "The published layout: manifests, masks, CTs, slice sets, splits.",
        ),
    ]
    return found


def mermaid(settings: Settings) -> str:
    """The graph as a Mermaid flow chart: one box an asset, dashed boxes what the data root holds."""
    graph = nodes(settings)
    name = {n.step.key: "__".join(n.step.key) for n in graph} | {key: "__".join(key) for key in RAW}
    lines = ["flowchart LR"]
    lines += [f'  {name[key]}["{"/".join(key)}"]:::raw' for key in RAW]
    for node in graph:
        dims = f"<br><small>{' | '.join(node.step.dims)}</small>" if node.step.dims else ""
        lines.append(f'  {name[node.step.key]}["{node.step.name}{dims}"]')
    lines += [f"  {name[read]} --> {name[node.step.key]}" for node in graph for read in node.reads]
    return "\n".join([*lines, "  classDef raw stroke-dasharray: 4 3"])
