"""Renders CTs from the inserted masks of a release: a mixed run, masks of others and CTs of our own.

CTs and their audits are written in the published layout, beside nothing that the release holds. Whose masks they are,
and what their hosts come from, is in each audit. The graph is not used: these cases have no plan, so no slices are cut
and no reader is asked.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from itrialspace_assets.base.fingerprints import FileHashes, digest, link_file, replace_file
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework import journal, workers
from itrialspace_assets.casework.cases import Case, Rejection, payload_hash, require_all
from itrialspace_assets.casework.workers import Work
from itrialspace_assets.release.masks import ReleasedMask, TakenMask, by_host, take_masks
from itrialspace_assets.synthesis.acquisition import STANDARD
from itrialspace_assets.synthesis.case import RenderCase
from itrialspace_assets.synthesis.images import render_seed
from itrialspace_assets.synthesis.renderers import Renderer
from itrialspace_assets.synthesis.rendering import render_case

VERSION = "1"
#: What an audit says of the masks.
MASKS_FROM = "a release: made by others, not inserted here"


@dataclass(frozen=True)
class MixedAudit:
    """The audit of a CT whose mask others made; HU are means."""

    case_id: str
    status: str
    generator: str
    generator_version: str
    trained_on: str
    weights_sha256: str | None
    anatomy: str
    acquisition: str
    image_uid: str
    ct_sha256: str
    masks_from: str
    mask_sha256: str
    host_from: str
    host_map_sha256: str
    host_nodule_voxels: int
    lesion_hu: float | None
    background_hu: float | None
    twin_difference_hu: float | None


@dataclass(frozen=True)
class Mixed:
    """What was rendered from the masks of one manifest.

    Attributes:
        folder: where the CTs lie.
        rendered: cases with a CT.
        computed: those of them that were rendered now.
        cleared: cases whose host is the mask with its nodules cleared, as the host's own map was not here.
        rejected: the other cases, and why.
    """

    folder: Path
    rendered: int
    computed: int
    cleared: int
    rejected: list[Rejection]


def render_masks(
    settings: Settings, renderer: Renderer, part: str, masks: Sequence[ReleasedMask], done: Callable[[int], None]
) -> Mixed:
    """Render the masks of one manifest; a stopped call continues when it is made again.

    Args:
        settings: outputs, seed, workers.
        renderer: what renders.
        part: folder of the mode and name of the manifest.
        masks: from ``released_masks``.
        done: told how many more cases are rendered.

    Raises:
        ConfigError: the renderer lacks its weights or its device.
    """
    renderer.require_weights(settings)
    renderer.require_device(settings)
    whole = settings.model_copy(update={"cts": "nifti"})  # the published layout holds whole images
    run_id = uuid4().hex[:8]
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        take = [
            Case(
                group.host or group.masks[0].case_uid,
                digest([VERSION, group.model_dump(mode="json"), [hashes.get(Path(p)) for p in group.paths]]),
                group.host or group.masks[0].case_uid,
                group,
            )
            for group in by_host(masks)
        ]
    rows, lost, _ = _run(take_masks, take, whole, "released-masks", part, run_id)
    taken = {m.case_uid: m for m in map(TakenMask.model_validate, rows.get("masks", ()))}
    of = {m.case_uid: m for m in masks}
    made_by = [VERSION, renderer.version, renderer.weights(whole)]
    cases = [_case(whole, renderer, of[uid], mask) for uid, mask in sorted(taken.items())]
    render = [Case(c.case_uid, payload_hash(made_by, c), c.map_sha256, c) for c in cases]
    renders = whole.model_copy(update={"workers": renderer.workers(whole)})
    rows, refused, computed = _run(render_case, render, renders, f"{renderer.name}/released-masks", part, run_id, done)
    top = "generated_cts" if renderer.name == "nodmaisi" else f"generated_cts_{renderer.name}"
    folder = settings.output / top / part
    images = [row for row in rows.get("cts", ()) if not row["is_lesion_free"]]
    for row in images:
        uid = row["case_uid"]
        _publish(whole, renderer, folder / of[uid].key, row, taken[uid])
    cleared = sum(taken[row["case_uid"]].host_from == "mask" for row in images)
    return Mixed(folder, len(images), computed, cleared, [*lost, *refused])


def _run(
    work: Work,
    cases: list[Case],
    settings: Settings,
    stage: str,
    part: str,
    run_id: str,
    done: Callable[[int], None] | None = None,
) -> tuple[Mapping[str, list[dict[str, Any]]], list[Rejection], int]:
    """Rows of finished cases, those that were rejected, and how many ran now.

    Args:
        work: what is done with a case.
        cases: all of them.
        settings: outputs, workers.
        stage: name of the journal.
        part: folder of the mode and name of the manifest.
        run_id: of this call.
        done: told how many more are done.
    """
    folder = journal.journal_dir(settings, stage, part)
    left = journal.pending(settings, cases, folder)
    if done:
        done(len(cases) - len(left))
    workers.run(work, left, settings, folder / f"{run_id}-0.jsonl", done)
    made = journal.collect(settings, cases, folder)
    require_all(made, f"{stage} {part}")
    return made.rows, made.rejected, len(left)


def _case(settings: Settings, renderer: Renderer, mask: ReleasedMask, taken: TakenMask) -> RenderCase:
    """What rendering reads: a release states no acquisition and no attenuation, so the standard ones are taken."""
    return RenderCase(
        case_uid=mask.case_uid,
        source=renderer.name,
        mode=mask.case_uid.split("/", 1)[0],
        dataset=mask.dataset,
        map_sha256=taken.map_sha256,
        lesions=taken.lesions,
        anatomy=mask.anatomy,
        attenuation="solid",
        acquisition=STANDARD,
        seed=render_seed(settings.seed, 0),
    )


def _publish(settings: Settings, renderer: Renderer, folder: Path, row: Mapping[str, Any], mask: TakenMask) -> None:
    """Put an image and its audit into the published layout."""
    link_file(settings.output / str(row["path"]), folder / "synthetic_ct.nii.gz")
    record = MixedAudit(
        case_id=folder.name,
        status="success",
        generator=renderer.name,
        generator_version=renderer.version,
        masks_from=MASKS_FROM,
        mask_sha256=mask.mask_sha256,
        host_from=mask.host_from,
        host_map_sha256=mask.map_sha256,
        host_nodule_voxels=mask.host_nodule_voxels,
        ct_sha256=row["sha256"],
        **{name: row[name] for name in _SAME},
    )
    name = "nodmaisi_audit.json" if renderer.name == "nodmaisi" else "render_audit.json"
    replace_file(folder / name, json.dumps(asdict(record), indent=1, allow_nan=False).encode())


#: Fields of an audit that are columns of ``cts``.
_SAME = (
    "trained_on",
    "weights_sha256",
    "anatomy",
    "acquisition",
    "image_uid",
    "lesion_hu",
    "background_hu",
    "twin_difference_hu",
)
