"""One registry of all tables; everything that knows a column's name or type reads it from here.

From it come the Parquet schema, the fast validator, the Great Expectations suites, the comments in
DuckDB, the column schemas in Dagster and the data dictionary. Reading and writing files is
``store.py``'s job.
"""

import math
from collections.abc import Mapping
from typing import Literal, get_args

import polars as pl

from itrialspace_assets.base.errors import Reason
from itrialspace_assets.imaging.anatomy import ANSWER_SIZES, LOBES, SIZE_BUCKETS
from itrialspace_assets.records.schema import (
    Column,
    Rule,
    Table,
    flag,
    integer,
    integers,
    millimetres,
    number,
    numbers,
    percent,
    text,
    texts,
)

SIDES = ("left", "right", "unknown")
ZONES = ("upper_zone", "middle_zone", "lower_zone", "unknown")
LOBES_OR_NONE = (*LOBES, "background", "unknown")
#: Guidance on a slice; the contour of the last two is the published one.
Condition = Literal["plain", "bbox", "contour", "bbox_contour", "contour_published", "bbox_contour_published"]
CONDITIONS: tuple[str, ...] = get_args(Condition)
#: Controls that are pictures of their own: mean grey; guidance on mean grey; guidance at the place mirrored left-right.
PICTURE_CONTROLS = ("blank", "box_only", "contralateral_box")
#: Slices from the target's own plane.
Z_OFFSETS = (-1, 0, 1)
#: What a reader is asked instead: without a picture, with its options turned by one place, in other words.
REQUEST_CONTROLS = ("text_only", "options_rotated", "prompt_paraphrase")
#: What may be answered to each task.
TASK_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "presence": ("present", "absent"),
    "lobe": LOBES,
    "size": ANSWER_SIZES,
    "malignancy": ("malignant", "benign"),
}
TASKS = tuple(TASK_OPTIONS)
STATUSES = ("ok", "refused", "unparsed", "unsupported", "error")
ATTENUATIONS = ("solid", "part_solid", "ground_glass")
ANATOMIES = ("real", "procedural")
MASK_SOURCES = ("manual", "consensus", "gtv", "grown", "procedural", "unknown")


DATASET = text("dataset", "dataset key, for example DLCS24")
MODE = text("mode", "trial mode key, for example m02_size_detection_curve")
SOURCE = text("source", "image source: real, or the renderer that made the image")
ANATOMY = text("anatomy", "whether the anatomy is of real people or procedural", allowed=ANATOMIES)
PERSON = text("person_uid", "a human being, over datasets and aliases; '<scan>?' where unknown")
SCAN = text("scan_uid", "<dataset>/<ct id>")
NODULE = text("nodule_uid", "<dataset>/<annotation id>")
CASE = text("case_uid", "<trial>/<arm>/<number>; real: real/<dataset>/<annotation id>")
_SHA = "SHA-256 of the file's bytes"

#: The 53 columns of a published profile CSV, in their order. Percentages are unbounded here because
#: published tables hold values outside 0-100; the index says which to trust.
PROFILE_COLUMNS: tuple[Column, ...] = (
    text("ct_path", "CT file relative to raw_ct/"),
    *(number(f"coord{a}", f"nodule centre, world {a.lower()} (RAS)", "mm", null=True) for a in "XYZ"),
    *(millimetres(c, f"extent of the nodule's box along {a}") for c, a in zip("whd", "xyz", strict=True)),
    millimetres("nodule_mean_diam_mm", "diameter; what it measures is in diam_definition"),
    number("nodule_vol_mm3", "mask volume", "mm3", null=True, low=0),
    integer("organ_label_id", "organ label at the nodule", null=True, low=0, high=255),
    text("organ_label_name", "its name", null=True),
    text("nearby_organs_10mm", "organs within 10 mm of the centre, joined with ;", null=True),
    text("lung_side", "side", allowed=SIDES),
    text("lobe_name", "lobe with most of the nodule's surroundings", allowed=LOBES_OR_NONE),
    text("lung_zone", "third of the lungs' craniocaudal extent", allowed=ZONES),
    text(
        "central_peripheral",
        "peripheral: centre within 10 mm of the pleura",
        allowed=("central", "peripheral", "unknown"),
    ),
    percent("cranio_caudal_pct", "position in the lungs' box, 0 = inferior", bounded=False),
    percent("mediolateral_pct", "position in the same-side lung's box, 0 = patient left", bounded=False),
    percent("anteroposterior_pct", "position in the lungs' box, 0 = posterior", bounded=False),
    percent("lobe_cc_pct", "position among the lobe's occupied slices, 0 = inferior", bounded=False),
    percent("lobe_ml_pct", "position in the lobe's box, 0 = patient left", bounded=False),
    percent("lobe_ap_pct", "position in the lobe's box, 0 = posterior", bounded=False),
    *(
        millimetres(f"dist_to_{o}_mm", f"centre to the nearest voxel of the {o.replace('_', ' ')}")
        for o in ("trachea", "aorta", "heart", "esophagus", "pulmonary_vein", "superior_vena_cava")
    ),
    millimetres("pleural_distance_mm", "centre to the nearest voxel outside the lung"),
    millimetres("airway_distance_mm", "centre to the nearest voxel of airway or trachea"),
    integer("n_nodules_in_patient", "nodules of the scan", low=1),
    text("nearest_nodule_id", "annotation id of the nearest nodule of the scan", null=True),
    millimetres("nearest_nodule_dist_mm", "distance to it"),
    *(number(f"nearest_d{a}_mm", f"offset to it along {a}", "mm", null=True) for a in "xyz"),
    text("all_nodule_ids", "annotation ids of the scan's other nodules, joined with a comma", null=True),
    text("all_nodule_dists_mm", "their distances, same order", null=True),
    flag("ipsilateral", "nearest nodule on the same side", null=True),
    flag("nearest_same_lobe", "nearest nodule in the same lobe", null=True),
    flag("bilateral_distribution", "the scan has nodules on both sides"),
    text("reinsertion_lobe", "lobe to insert into", allowed=LOBES_OR_NONE),
    text("reinsertion_lung_side", "its side", allowed=SIDES),
    text("reinsertion_lung_zone", "its zone", allowed=ZONES),
    *(percent(f"reinsertion_lobe_{a}_pct", f"as lobe_{a}_pct", bounded=False) for a in ("cc", "ml", "ap")),
    *(
        percent(f"reinsertion_lung_{a}_pct", f"position in the lung box, {a}", bounded=False)
        for a in ("cc", "ml", "ap")
    ),
    millimetres("reinsertion_pleural_dist_mm", "as pleural_distance_mm"),
    millimetres("reinsertion_airway_dist_mm", "as airway_distance_mm"),
    millimetres("reinsertion_nodule_diam_mm", "as nodule_mean_diam_mm"),
)

_IDENTITY = (
    NODULE,
    DATASET,
    SCAN,
    PERSON,
    text("lesion_uid", "joins the findings that the dataset calls one lesion, over scans; else the nodule itself"),
    text("patient_id", "patient id as the dataset writes it", null=True),
    text("annotation_id", "annotation id, unique in the dataset"),
    integer("label", "1 malignant, 0 benign, null unknown", null=True, low=0, high=1),
    text("label_source", "what the label rests on", allowed=("histopathology", "radiology", "none")),
    text("population_type", "where the people came from", allowed=("screening", "diagnostic")),
    text("mask_source", "how the nodule mask was made", allowed=MASK_SOURCES),
    text("diam_definition", "what nodule_mean_diam_mm measures"),
    number("lobe_share", "share of the nodule's surroundings that lies in lobe_name", null=True, low=0, high=1),
    number("age", "age of the person", "years", null=True, low=0, high=120),
    text("sex", "harmonised sex", null=True, allowed=("M", "F")),
    text("smoking", "harmonised smoking status", null=True, allowed=("current", "former", "never")),
    text("missing_because", "why measured columns are null: no organ map, no mask, no origin", null=True),
    ANATOMY,
)


def _side_of(lobe: str) -> pl.Expr:
    return pl.col(lobe).str.extract("^(left|right)_lung")


def _profile_rules() -> tuple[Rule, ...]:
    """What ties the columns of a profile together. Warnings: a published table is taken as it is, and
    a row that breaks a rule on its position is left out of planning (``position_usable``)."""
    c = pl.col
    percents = [x.name for x in PROFILE_COLUMNS if x.unit == "%"]
    norm = (c("nearest_dx_mm") ** 2 + c("nearest_dy_mm") ** 2 + c("nearest_dz_mm") ** 2).sqrt()
    sphere = (6.0 * c("nodule_vol_mm3") / math.pi) ** (1 / 3)
    listed = c("all_nodule_ids").str.split(",").list.len() == c("all_nodule_dists_mm").str.split(",").list.len()
    return (
        *(Rule(f"{p} within 0-100", "a position in a box is a share of it", c(p).is_between(0, 100)) for p in percents),
        Rule(
            "lung_side is the side of lobe_name",
            "laterality",
            (c("lung_side") == _side_of("lobe_name")) | (c("lung_side") == "unknown"),
        ),
        Rule(
            "reinsertion_lung_side is the side of reinsertion_lobe",
            "laterality",
            (c("reinsertion_lung_side") == _side_of("reinsertion_lobe")) | (c("reinsertion_lung_side") == "unknown"),
        ),
        Rule(
            "nearest_nodule_dist_mm is the length of its offset",
            "within 0.1 mm or 1 %",
            (norm - c("nearest_nodule_dist_mm")).abs() <= pl.max_horizontal(0.1, c("nearest_nodule_dist_mm") * 0.01),
        ),
        Rule(
            "a nodule has a nearest one unless it is alone",
            "n_nodules_in_patient = 1 if and only if nearest_nodule_id is null",
            (c("n_nodules_in_patient") == 1) == c("nearest_nodule_id").is_null(),
        ),
        Rule(
            "nearest_nodule_id is another nodule",
            "no nodule is its own neighbour",
            c("nearest_nodule_id") != c("annotation_id"),
        ),
        Rule("as many all_nodule_ids as all_nodule_dists_mm", "the two lists run in parallel", listed),
        Rule(
            "nodule_mean_diam_mm fits nodule_vol_mm3",
            "within half and twice the sphere of that volume",
            c("nodule_mean_diam_mm").is_between(sphere / 2, sphere * 2),
        ),
        Rule(
            "nodule_mean_diam_mm fits the box",
            "no more than twice the box's longest edge",
            c("nodule_mean_diam_mm") <= 2 * pl.max_horizontal("w", "h", "d"),
        ),
        Rule(
            "reinsertion_nodule_diam_mm is nodule_mean_diam_mm",
            "within 1 %",
            (c("reinsertion_nodule_diam_mm") - c("nodule_mean_diam_mm")).abs() <= 0.01 * c("nodule_mean_diam_mm"),
        ),
    )


_PROFILE_RULES = _profile_rules()


def _answered() -> pl.Expr:
    """Whether a row's status is ok and its answer an option of its task; never null."""
    of_task = [(pl.col("task") == t) & pl.col("answer").is_in(list(options)) for t, options in TASK_OPTIONS.items()]
    return (pl.col("status") == "ok") & pl.any_horizontal(of_task).fill_null(False)


_REGISTRY = (
    Table(
        "profiles",
        "One row per nodule as its dataset publishes it, with harmonised ids.",
        ("dataset",),
        ("nodule_uid",),
        (
            *_IDENTITY,
            *PROFILE_COLUMNS,
            text("doubts", "what is doubtful in the files of its scan that were taken, codes joined with ;", null=True),
            text("extras", "native columns beyond the 53, as JSON"),
            integer("source_row", "row of the CSV, from 0", low=0),
            text("source_sha256", "SHA-256 of the CSV"),
        ),
        _PROFILE_RULES,
    ),
    Table(
        "scan_lists",
        "Every scan that a dataset names, those without a nodule too: the denominator.",
        ("dataset",),
        ("scan_uid",),
        (
            SCAN,
            DATASET,
            PERSON,
            text("ct_id", "CT id"),
            integer("n_nodules", "nodules of the scan", low=0),
            text("named_by", "where the scan is named", allowed=("profiles", "scan_list")),
            ANATOMY,
        ),
    ),
    Table(
        "findings",
        "What is unusual in a dataset's published tables, row by row counted. Nothing is dropped for it.",
        ("dataset",),
        ("dataset", "rule", "column"),
        (
            DATASET,
            text("rule", "what was expected"),
            text("column", "column, or columns"),
            text("severity", "warning or info", allowed=("warning", "info")),
            integer("rows", "rows that break it", low=0),
            integer("of_rows", "rows of the table", low=0),
            integers("first_rows", "first of them, from 0"),
            text("sample", "values there"),
            flag("known", "a known defect of the published table (datasets.yaml)"),
        ),
    ),
    Table(
        "nodules",
        "The harmonised index: every nodule of every dataset.",
        (),
        ("nodule_uid",),
        (
            *_IDENTITY,
            *PROFILE_COLUMNS,
            text(
                "size_bucket",
                "cohort bucket of reinsertion_nodule_diam_mm; null without a diameter",
                null=True,
                allowed=SIZE_BUCKETS,
            ),
            flag(
                "position_usable",
                "lobe known, its side right, the three reinsertion_lobe percentages within 0-100: planning may "
                "use the row",
            ),
            text("row_sha256", "hash over the 53 columns"),
            flag("has_organ_map", "an organ map of the scan is on disk"),
            flag("has_nodule_mask", "a mask of this nodule is on disk"),
            flag("has_ct", "the real CT is on disk"),
        ),
        _PROFILE_RULES,
        ((("scan_uid",), "scans", ("scan_uid",)), (("person_uid",), "patients", ("person_uid",))),
    ),
    Table(
        "scans",
        "Scans that a dataset names, those without a nodule too.",
        (),
        ("scan_uid",),
        (
            SCAN,
            DATASET,
            PERSON,
            text("ct_id", "CT id"),
            integer("n_nodules", "nodules of the scan", low=0),
            text(
                "annotation_completeness",
                "complete: a level or scan without a nodule may serve as a negative",
                allowed=("complete", "partial"),
            ),
            number("age", "age of the person", "years", null=True),
            text("sex", "M or F", null=True),
            text("smoking", "smoking status", null=True),
            flag("has_organ_map", "organ map on disk"),
            flag("has_ct", "real CT on disk"),
            ANATOMY,
        ),
        (),
        ((("person_uid",), "patients", ("person_uid",)),),
    ),
    Table(
        "patients",
        "People, over datasets and aliases.",
        (),
        ("person_uid",),
        (
            PERSON,
            text("datasets", "datasets that hold a scan of the person, joined with ;"),
            integer("n_scans", "scans", low=1),
            integer("n_nodules", "nodules", low=0),
            flag("person_known", "false where the dataset names no person and the scan stands for one"),
        ),
    ),
    Table(
        "nodule_map",
        "Two-dimensional map of the nodules (principal components of standardised features).",
        (),
        ("nodule_uid",),
        (
            NODULE,
            DATASET,
            number("x", "first component"),
            number("y", "second component"),
        ),
    ),
    Table(
        "hosts",
        "Scans that can receive nodules: canonical, nodule-free label map and its geometry.",
        ("dataset",),
        ("scan_uid",),
        (
            SCAN,
            DATASET,
            PERSON,
            text("map_sha256", "hash of the canonical nodule-free map; its name in the store"),
            text(
                "room_sha256",
                "hash of the host's clearance map; null: it has none, planned positions are not tested",
                null=True,
            ),
            integers("shape", "voxels along x, y, z (RAS)"),
            *(number(f"spacing_{a}", f"voxel size along {a}", "mm", low=0) for a in "xyz"),
            *(number(f"origin_{a}", f"world {a} of voxel 0", "mm") for a in "xyz"),
            integers("lung_box", "x0, x1, y0, y1, z0, z1 of the lungs, upper bound out"),
            integer("native_nodules", "nodules found in the native map and cleared", low=0),
            text("cleared", "cleared voxels: offset, shape and bits, see volumes.pack_bits"),
            number("age", "age of the person", "years", null=True),
            text("sex", "M or F", null=True),
            text("smoking", "smoking status", null=True),
            ANATOMY,
        ),
        (),
        ((("scan_uid",), "scans", ("scan_uid",)),),
    ),
    Table(
        "host_lobes",
        "One row per lobe of a host, of its largest component.",
        ("dataset",),
        ("scan_uid", "lobe"),
        (
            SCAN,
            DATASET,
            text("lobe", "lobe", allowed=LOBES),
            integer("voxels", "voxels", low=1),
            integers("box", "x0, x1, y0, y1, z0, z1, upper bound out"),
            integers("occupied", "first and last index of each run of occupied slices, in turn"),
            millimetres("fit_radius_mm", "radius of the largest sphere inside", null=False),
        ),
        (),
        ((("scan_uid",), "hosts", ("scan_uid",)),),
    ),
    Table(
        "donors",
        "Lesions cut from native maps, with where they were; dataset PROCEDURAL: drawn ones, in no index.",
        ("dataset",),
        ("nodule_uid",),
        (
            NODULE,
            DATASET,
            SCAN,
            PERSON,
            text("lesion", "native voxels: offset, shape and bits, see volumes.pack_bits"),
            *(number(f"spacing_{a}", f"voxel size along {a}", "mm", low=0) for a in "xyz"),
            integer("voxels", "voxels", low=1),
            number("volume_mm3", "volume", "mm3", low=0),
            millimetres("diameter_mm", "volume-equivalent diameter", null=False),
            number("sphericity", "surface of the equal-volume sphere over the mesh surface", low=0),
            number("solidity", "volume over that of the convex hull; low: lobulated or spiculated", low=0, high=1),
            number("elongation", "longest over shortest principal axis", low=1),
            millimetres("longest_mm", "greatest distance between two of its voxels", null=False),
            millimetres("reach_mm", "farthest voxel centre from its own centre", null=False),
            text("lesion_sha256", "hash of bits and spacing"),
            text(
                "mask_from",
                "where the voxels were found, or procedural: drawn",
                allowed=("nodule_seg", "organ_map", "procedural"),
            ),
            text("lobe", "lobe of most of what surrounds it, measured on the nodule-free map", allowed=LOBES_OR_NONE),
            *(percent(f"{a}_pct", f"measured position {a} of its centre in the lobe") for a in ("cc", "ml", "ap")),
        ),
    ),
    Table(
        "trials",
        "Trials as resolved, one row each.",
        ("mode",),
        ("trial",),
        (
            text("trial", "trial name"),
            MODE,
            text("planner", "sampled or twin", allowed=("sampled", "twin")),
            text("question", "what the trial asks"),
            text("size", "demo or paper"),
            integer("seed", "root seed"),
            text("overrides", "cohort fields set for this run, joined with ;"),
            flag("relaxed", "planned with --relax"),
            text("file_sha256", "hash of the resolved trial"),
            text("index_sha256", "hash of the index it was planned from"),
            text("pool_sha256", "hash of the donors and hosts that its arms could draw from"),
            text("resolved", "the resolved trial as JSON"),
            ANATOMY,
        ),
    ),
    Table(
        "arms",
        "Arms of a trial: what was asked, what was got.",
        ("mode",),
        ("trial", "arm"),
        (
            text("trial", "trial name"),
            MODE,
            text("arm", "arm name"),
            integer("number", "0-based place among the arms", low=0),
            text("varies", "the factor that the arm sets"),
            text("level", "its level"),
            text("published", "file stem in the published layout"),
            text("folder", "folder below the mode in the published layout; empty or ending in /"),
            integer("asked_cases", "cases asked for", low=0),
            integer("got_cases", "cases planned", low=0),
            integer("asked_malignant", "malignant findings asked for", null=True),
            integer("got_malignant", "malignant findings planned"),
            integer("clean_cases", "cases without any nodule", low=0),
            integer("donor_pool", "donors that met every constraint"),
            integer("host_pool", "hosts that met every constraint"),
            integer("donors", "different donor nodules used", low=0),
            number("donors_effective", "effective number of donor nodules: (Σ uses)² / Σ uses²", low=0),
            integer("host_persons", "different host people used", low=0),
            number("hosts_effective", "effective number of host people", low=0),
            integer("scaled", "nodules taken from beyond the wanted size and scaled", low=0),
            text("relaxations", "constraints given up for the arm, joined with ;"),
            text("marginals", "each marginal as calibrated, constrained, free or unavailable, as JSON"),
            text("note", "what the numbers mean where they surprise", null=True),
        ),
        (),
        ((("mode", "trial"), "trials", ("mode", "trial")),),
    ),
    Table(
        "cases",
        "The manifest's cases: one host scan each.",
        ("mode",),
        ("case_uid",),
        (
            CASE,
            MODE,
            text("trial", "trial name"),
            text("arm", "arm name"),
            integer("number", "0-based number in the arm", low=0),
            text("cohort_mode", "how host and donor relate", allowed=("native", "matched", "synthetic", "cross")),
            text("host_dataset", "dataset of the host"),
            text("host_scan_uid", "host scan"),
            text("host_person_uid", "host person"),
            number("host_age", "age of the host", "years", null=True),
            text("host_sex", "sex of the host", null=True),
            text("host_smoking", "smoking of the host", null=True),
            integer("n_nodules", "nodules planned; 0 for a clean case", low=0),
            flag("lesion_free_twin", "the host's lesion-free twin is planned as its negative"),
            text("attenuation", "how dense the case's nodules are rendered", allowed=ATTENUATIONS),
            number("mtf50_per_mm", "spatial frequency in plane at which the scan's MTF is one half", "1/mm", low=0),
            number("dose", "photons over those of the standard scan", low=0),
            millimetres("slice_mm", "slice thickness; null: the host's slice spacing"),
            integer("render_replicate", "0, or which rendering of the same pair this is", low=0),
            integer("seed", "seed of the case", low=0),
            ANATOMY,
        ),
        (),
        ((("host_scan_uid",), "hosts", ("scan_uid",)), (("mode", "trial", "arm"), "arms", ("mode", "trial", "arm"))),
    ),
    Table(
        "case_nodules",
        "The manifest's nodules: which donor goes where, asked and planned.",
        ("mode",),
        ("case_uid", "nodule_idx"),
        (
            CASE,
            MODE,
            integer("nodule_idx", "0 = primary", low=0),
            flag("present", "false: a clean case; only the place for guidance is planned"),
            text("donor_nodule_uid", "donor nodule"),
            text("donor_dataset", "dataset of the donor"),
            text("donor_person_uid", "person of the donor"),
            integer("label", "the donor's label; null for a clean case", null=True, low=0, high=1),
            text(
                "placement",
                "native: the donor's own voxels; profile: by lobe percentages",
                allowed=("native", "profile"),
            ),
            text(
                "insertion_mode",
                "where the percentages come from",
                allowed=("profile_faithful", "prescribed", "randomised"),
            ),
            text("lobe", "target lobe", allowed=LOBES_OR_NONE),
            *(
                percent(
                    f"declared_{a}_pct",
                    f"position {a} in the lobe that the trial declares: the donor's own, or drawn",
                    bounded=False,
                )
                for a in ("cc", "ml", "ap")
            ),
            *(
                percent(
                    f"{a}_pct",
                    f"planned position {a} in the lobe: the declared one, or the nearest where the nodule fits",
                    bounded=False,
                )
                for a in ("cc", "ml", "ap")
            ),
            millimetres(
                "declared_pleural_mm", "distance of the centre to the pleura that the trial declares; null: none"
            ),
            millimetres("declared_airway_mm", "the same, to airway or trachea"),
            millimetres(
                "fit_mm",
                "from the declared to the planned position; null: not tested, or it fits nowhere: the declared "
                "position stands",
            ),
            text(
                "fit",
                "verified: the host holds the nodule there (its clearance map, or the nodule's own voxels); nowhere: "
                "no place was found in its lobe; unverified: there was no map to test it with",
                allowed=("verified", "nowhere", "unverified"),
            ),
            millimetres("asked_diameter_mm", "diameter asked for", null=True),
            millimetres("donor_diameter_mm", "diameter of the donor", null=False),
            millimetres("planned_diameter_mm", "donor diameter times scale", null=False),
            number("scale", "isotropic scale", low=0),
            text("size_bucket", "bucket of planned_diameter_mm", allowed=SIZE_BUCKETS),
            millimetres("asked_pleural_mm", "distance of the centre to the pleura that is planned; null: none"),
            millimetres("asked_airway_mm", "the same, to airway or trachea"),
            millimetres("margin_mm", "free lung wanted around the nodule", null=False),
            *(
                number(f"rotation_{a}_deg", f"turn about {a} (fixed axes, in the order x, y, z)", "degrees")
                for a in "xyz"
            ),
            flag("mirrored", "mirrored left to right before it is turned"),
            flag("kept", "a nodule of the host's own that stays"),
            text("relaxations", "constraints given up, joined with ;"),
            text("why", "why this donor and host"),
        ),
        (),
        ((("case_uid",), "cases", ("case_uid",)), (("donor_nodule_uid",), "donors", ("nodule_uid",))),
    ),
    Table(
        "case_weights",
        "Weights over the cases of an arm that stand for other cohorts; no new images.",
        ("mode",),
        ("weighting", "replicate", "case_uid"),
        (
            MODE,
            text("weighting", "resample, or prevalence=<value>"),
            integer("replicate", "resample number; 0 for a prevalence", low=0),
            CASE,
            number("weight", "how much the case counts; the mean over the arm is 1", low=0),
        ),
        (),
        ((("case_uid",), "cases", ("case_uid",)),),
    ),
    Table(
        "balance",
        "What a cohort was asked to be, and what it is, by marginal.",
        ("mode",),
        ("trial", "arm", "marginal", "level"),
        (
            MODE,
            text("trial", "trial name"),
            text("arm", "arm name"),
            text(
                "marginal",
                "which",
                allowed=("label", "size", "lobe", "sex", "age", "smoking", "host_dataset", "donor_dataset", "presence"),
            ),
            text("level", "level"),
            text(
                "status",
                "calibrated: met by quota; constrained: limited by a filter; free: not asked for; unavailable: no data",
                allowed=("calibrated", "constrained", "free", "unavailable"),
            ),
            number("asked_share", "share asked for", null=True, low=0, high=1),
            number("got_share", "share planned", low=0, high=1),
            integer("asked", "cases asked for, by quota", null=True),
            integer("got", "cases planned", low=0),
            number(
                "standardised_difference",
                "(got - asked) over the pooled standard deviation of the two shares",
                null=True,
            ),
        ),
    ),
    Table(
        "feasibility",
        "Donors and hosts left after each constraint of an arm, and how many cases are feasible.",
        ("mode",),
        ("trial", "arm", "step"),
        (
            MODE,
            text("trial", "trial name"),
            text("arm", "arm name"),
            integer("step", "order", low=0),
            text("of", "what is counted", allowed=("donors", "hosts", "cases", "relaxation")),
            text("constraint", "constraint, stratum or relaxation"),
            integer("left", "donors or hosts left, or feasible cases", low=0),
            integer("needed", "how many are needed", null=True, low=0),
            flag("binding", "the constraint that keeps the arm from more cases"),
            text("price", "what a relaxation costs", null=True),
        ),
    ),
    Table(
        "insertions",
        "Inserted nodules as realised: the delta over the host map is the truth.",
        ("mode", "dataset"),
        ("case_uid", "nodule_idx"),
        (
            CASE,
            MODE,
            DATASET,
            integer("nodule_idx", "0 = primary", low=0),
            flag("present", "false: the place of a clean case, nothing stamped"),
            text("status", "done, or partial: a nodule of the case could not be placed", allowed=("done", "partial")),
            text("rules", "rules of placement", allowed=("strict", "compat")),
            text("donor_nodule_uid", "donor nodule"),
            text("donor_person_uid", "person of the donor"),
            text("host_scan_uid", "host scan"),
            text("host_person_uid", "person of the host"),
            integer("label", "donor's label", null=True),
            flag("kept", "a nodule of the host's own that stayed"),
            text(
                "placement",
                "native: the donor's own voxels; profile: by lobe percentages",
                allowed=("native", "profile"),
            ),
            text("host_map_sha256", "hash of the host map below the delta"),
            text("donor_sha256", "hash of the donor's voxels and spacing"),
            integer("seed", "seed of the case", low=0),
            text("lesion", "inserted voxels: offset, shape and bits, see volumes.pack_bits"),
            text("mask_uid", "hash of host map and lesions"),
            text("mask_path", "whole mask below the output folder; null if only the delta is kept", null=True),
            text("mask_sha256", _SHA, null=True),
            *(integer(f"centre_{a}", f"centre voxel along {a} (RAS)") for a in "ijk"),
            *(number(f"world_{a}", f"centre, world {a} (RAS)", "mm") for a in "xyz"),
            text("asked_lobe", "lobe asked for", allowed=LOBES_OR_NONE),
            text("lobe", "lobe of most of what surrounds the nodule, as profiles measure it", allowed=LOBES),
            number("lobe_share", "share of its surroundings in that lobe", low=0, high=1),
            *(percent(f"asked_{a}_pct", f"position asked for, {a}", bounded=False) for a in ("cc", "ml", "ap")),
            *(percent(f"{a}_pct", f"position got, {a}", bounded=False) for a in ("cc", "ml", "ap")),
            millimetres("shift_mm", "distance from the asked to the realised centre", null=False),
            millimetres("planned_diameter_mm", "diameter planned", null=False),
            millimetres("diameter_mm", "volume-equivalent diameter realised", null=False),
            number("volume_mm3", "volume realised", "mm3", low=0),
            integer("voxels", "voxels", low=1),
            text("size_bucket", "bucket of diameter_mm", allowed=SIZE_BUCKETS),
            millimetres("asked_pleural_mm", "distance of the centre to the pleura asked for; null: none"),
            millimetres("pleural_mm", "centre to the nearest voxel outside the lung"),
            millimetres("asked_airway_mm", "distance of the centre to airway or trachea asked for; null: none"),
            millimetres("airway_mm", "centre to the nearest voxel of airway or trachea"),
            millimetres(
                "margin_mm",
                "least distance of any of its voxels to the lung's outline, in quarters of a mm, to 63.75",
                null=False,
            ),
            integer(
                "outside_lung", "its voxels outside the five lobes; only native ones can have any in strict", low=0
            ),
            number("overlap", "share of its voxels that lie in other nodules of the case", low=0, high=1),
            number("scale", "isotropic scale", low=0),
            *(number(f"rotation_{a}_deg", f"turn about {a}", "degrees") for a in "xyz"),
            flag("mirrored", "mirrored left to right"),
            text("relaxations", "what differs from what was asked, joined with ;"),
            flag("cleared_site", "the nodule covers a place where a native one was cleared"),
            text(
                "empty",
                "voxels beside the nodule's own place, in the same lobe, that guidance surrounds on the lesion-free "
                "twin; null: not the primary nodule, or its outline fits nowhere else in the lobe",
                null=True,
            ),
            text(
                "empty_site",
                "a native nodule was cleared there, or there never was one",
                null=True,
                allowed=("cleared", "never"),
            ),
            millimetres("empty_pleural_mm", "its centre to the nearest voxel outside the lung"),
            text("empty_note", "why the empty place is not of the kind wanted", null=True),
            ANATOMY,
        ),
        (),
        (
            (
                (
                    "case_uid",
                    "nodule_idx",
                ),
                "case_nodules",
                (
                    "case_uid",
                    "nodule_idx",
                ),
            ),
        ),
    ),
    Table(
        "cts",
        "Rendered CTs: the lesion image and the lesion-free twin of each case.",
        ("source", "mode", "dataset"),
        ("case_uid", "is_lesion_free"),
        (
            CASE,
            SOURCE,
            MODE,
            DATASET,
            flag("is_lesion_free", "the host without any nodule"),
            text("image_uid", "hash of host, lesions, renderer, acquisition, seed"),
            text("twin_uid", "image_uid of the lesion-free twin"),
            text("weights_sha256", "hash of the renderer's weights", null=True),
            text("acquisition", "name of the acquisition"),
            number(
                "mtf50_per_mm",
                "spatial frequency in plane at which the scan's MTF is one half, as asked; null: not modelled",
                "1/mm",
                null=True,
                low=0,
            ),
            number("shown_mtf50_per_mm", "the same, as the host's pixels show it", "1/mm", null=True, low=0),
            number("dose", "photons over those of the standard scan; null: not modelled", null=True, low=0),
            millimetres("slice_mm", "slice thickness; null: the host's slice spacing, or not modelled"),
            text(
                "attenuation",
                "how dense its nodules are; null: it has none, or not modelled",
                null=True,
                allowed=ATTENUATIONS,
            ),
            text("path", "CT file, or patch over the twin, below the output folder"),
            text("sha256", _SHA),
            text(
                "kept",
                "what path holds: the image; what differs from the twin; the slices that hold lesions",
                allowed=("nifti", "patch", "planes"),
            ),
            number("lesion_hu", "mean HU over the lesion", "HU", null=True),
            number("background_hu", "mean HU in a 3-voxel shell around it", "HU", null=True),
            number("low_hu", "least HU", "HU"),
            number("high_hu", "greatest HU", "HU"),
            number(
                "twin_difference_hu",
                "median absolute difference to the lesion-free twin in the body beyond 10 mm of the lesions",
                "HU",
                null=True,
                low=0,
            ),
            flag(
                "paired",
                "that difference is small enough to compare the two as a pair; null: the twin itself",
                null=True,
            ),
            text("decoding", "latent voxels decoded at once, where memory decides; null: not decoded", null=True),
            integer(
                "filled_voxels",
                "voxels without a label inside the body that were rendered as the nearest tissue; the map in the store "
                "keeps them",
                low=0,
            ),
            integer("dropped_voxels", "voxels of specks beside the body that were rendered as air", low=0),
            text("trained_on", "what the renderer was trained on"),
            ANATOMY,
        ),
        (),
        ((("case_uid",), "cases", ("case_uid",)),),
    ),
    Table(
        "fidelity",
        "How far sets of CTs lie apart: real datasets from each other, rendered modes from real ones.",
        (),
        ("reference", "compared", "plane"),
        (
            text("reference", "set: real, real/<dataset>"),
            text("compared", "set: real/<dataset>, <renderer>/<mode>"),
            text("kind", "what is compared", allowed=("real_to_real", "real_to_synthetic")),
            text("plane", "slices across one axis, or the mean of the three", allowed=("XY", "YZ", "ZX", "average")),
            text(
                "metric",
                "fid: features of the weights named; descriptor_distance: of a descriptor, never to be "
                "compared with FID",
                allowed=("fid", "descriptor_distance"),
            ),
            text("extractor", "file of the weights, or the descriptor"),
            text("extractor_sha256", _SHA, null=True),
            number("value", "Fréchet distance; null: see note", null=True, low=0),
            integer("images_reference", "images of the reference", low=0),
            integer("images_compared", "images of the other", low=0),
            integer("images_matched", "images of each side for the columns that follow", null=True, low=0),
            number("matched", "mean distance of so many images of both; null: see flag", null=True, low=0),
            number("low", "its lower limit, from resampled scans", null=True, low=0),
            number("high", "its upper limit", null=True, low=0),
            number("floor", "median distance of two halves of the reference, of so many each", null=True, low=0),
            number("floor_low", "lower end of 95 of 100 such distances", null=True, low=0),
            number("floor_high", "upper end", null=True, low=0),
            text("protocol", "how slices are chosen, as JSON"),
            text("note", "why there is no value", null=True),
            text("flag", "why there is no matched distance, or why it should not be trusted", null=True),
            ANATOMY,
        ),
    ),
    Table(
        "host_overlaps",
        "Share of HU histograms that a lesion-free twin and the real CT of its host have in common.",
        (),
        ("source", "image_uid"),
        (
            SOURCE,
            text("image_uid", "the lesion-free twin"),
            text("scan_uid", "the host's scan"),
            DATASET,
            number("whole", "over the body; null: no voxel", null=True, low=0, high=1),
            number("lung", "over the five lobes", null=True, low=0, high=1),
        ),
    ),
    Table(
        "nodule_fidelity",
        "Rendered lesions beside their donor nodules in the donors' real CTs; empty on procedural anatomy.",
        (),
        ("source", "image_uid", "nodule_idx"),
        (
            SOURCE,
            text("image_uid", "the rendered image"),
            integer("nodule_idx", "which nodule of the case", low=0),
            CASE,
            text("attenuation", "how dense it is rendered", allowed=ATTENUATIONS),
            text("nodule_uid", "the donor nodule, which the real values are of"),
            text("host_person_uid", "person whose anatomy it is"),
            text("donor_person_uid", "person whose nodule it is"),
            millimetres("diameter_mm", "volume-equivalent diameter of the rendered mask", null=False),
            number(
                "overlap", "shared area of the HU histograms inside both, in bins of 50 HU", null=True, low=0, high=1
            ),
            number("edge", "mean HU gradient over its border voxels, rendered", "HU/mm", null=True, low=0),
            number("edge_real", "the same of the donor nodule", "HU/mm", null=True, low=0),
            number(
                "texture", "deviation of HU inside the border, rendered; null: too few voxels", "HU", null=True, low=0
            ),
            number("texture_real", "the same of the donor nodule", "HU", null=True, low=0),
            integer("voxels", "voxels, rendered", null=True, low=1),
            integer("voxels_real", "voxels of the donor nodule", null=True, low=1),
            text("note", "why there are no values", null=True),
        ),
    ),
    Table(
        "slices",
        "Evaluation slices: a target's plane and its neighbours, by preprocess profile, guidance and control.",
        ("source", "mode", "dataset"),
        ("slice_uid", "condition", "control", "case_uid"),
        (
            text("slice_uid", "hash of target_uid, z offset and preprocess profile"),
            text("target_uid", "hash of image and target; joins its z offsets, profiles, conditions and controls"),
            text("condition", "guidance drawn", allowed=CONDITIONS),
            text(
                "control",
                "none: the plane itself; blank: mean grey; box_only: guidance on mean grey; contralateral_box: "
                "guidance at the place mirrored left-right",
                allowed=("none", *PICTURE_CONTROLS),
            ),
            SOURCE,
            text("mode", "trial mode, or real"),
            DATASET,
            CASE,
            text("image_uid", "rendered image, or the scan of a real one"),
            text("published_id", "id in the published layout"),
            text("path", "picture (PNG, or uint8 array of a profile with npy) below the output folder"),
            text("sha256", _SHA),
            text("profile", "preprocess profile"),
            integer("slice_z", "index along the axis that the profile cuts across (z of an axial one; RAS)", low=0),
            integer("z_offset", "slices from the target's largest plane", low=min(Z_OFFSETS), high=max(Z_OFFSETS)),
            number("pixel_x_mm", "pixel width", "mm", low=0),
            number("pixel_y_mm", "pixel height", "mm", low=0),
            integer("width", "pixels", low=1),
            integer("height", "pixels", low=1),
            numbers("affine", "3×4 matrix, row by row: pixel (column, row, 0) to world mm (RAS)"),
            text(
                "presence",
                "whether the target is a nodule of the image, which its own plane (z offset 0) shows",
                allowed=("present", "absent"),
            ),
            text("lobe", "realised lobe of the target", null=True, allowed=LOBES_OR_NONE),
            number("lobe_share", "share of the target's surroundings in that lobe", null=True, low=0, high=1),
            text("size_class", "class of the realised diameter", null=True, allowed=ANSWER_SIZES),
            text("size_bucket", "cohort bucket of the realised diameter", null=True, allowed=SIZE_BUCKETS),
            millimetres("diameter_mm", "volume-equivalent diameter of the target's realised mask"),
            flag(
                "size_near_edge",
                "diameter_mm lies within a voxel (edge of the cube of its volume) of 5, 10 or 20 mm",
                null=True,
            ),
            flag(
                "mask_grown",
                "the target's mask was grown from a point; a rendered image shows its mask as it is, so false",
                null=True,
            ),
            text("planned_lobe", "lobe planned", null=True),
            millimetres("planned_diameter_mm", "diameter planned"),
            integer("label", "malignancy label of the target", null=True),
            integer("target_pixels", "nodule pixels of the target on this slice", low=0),
            text("negative_type", "what kind of negative", null=True, allowed=("twin", "level", "clean_scan")),
            text(
                "guidance_site",
                "where guidance is drawn: at the lesion; at its place on its lesion-free twin; where a native nodule "
                "was cleared; where there never was one",
                allowed=("lesion", "cleared_lesion", "cleared", "never"),
            ),
            flag("guidance_covers_target", "a pixel that was drawn over shows what guidance points at"),
            text("pair_uid", "joins the slices of a case"),
            flag("paired", "a lesion's slice and that of its place on its twin, which may be compared as a pair"),
            flag("other_lesions_in_slice", "another nodule is on this slice"),
            text("host_person_uid", "person whose anatomy it is"),
            text("donor_person_uid", "person whose nodule it is", null=True),
            text("arm", "arm of the trial", null=True),
            ANATOMY,
        ),
        (
            Rule(
                "a pair is a lesion and its place on the twin",
                "paired only where guidance_site is lesion or cleared_lesion",
                ~pl.col("paired") | pl.col("guidance_site").is_in(["lesion", "cleared_lesion"]),
                "error",
            ),
            Rule(
                "a blank shows no guidance, other controls do",
                "control and condition fit",
                (pl.col("control") == "none") | ((pl.col("control") == "blank") == (pl.col("condition") == "plain")),
                "error",
            ),
            Rule(
                "a positive has pixels on its own plane",
                "target_pixels > 0 where presence is present and z_offset is 0",
                (pl.col("presence") == "absent") | (pl.col("z_offset") != 0) | (pl.col("target_pixels") > 0),
                "error",
            ),
        ),
    ),
    Table(
        "generations",
        "What a reader returned for each request, before any scoring.",
        ("source", "reader", "mode", "dataset"),
        ("target_uid", "profile", "z_offsets", "condition", "control", "prompt_id"),
        (
            text("target_uid", "hash of image and target; of a whole scan its image_uid"),
            text("slice_uid", "slice at the centre of what was shown; null: a whole scan", null=True),
            text("profile", "preprocess profile"),
            text("z_offsets", "slices shown, counted from the centre, with commas; scan_<n>: up to n levels of a scan"),
            text("condition", "guidance", allowed=CONDITIONS),
            text("control", "what was shown or asked instead", allowed=("none", *PICTURE_CONTROLS, *REQUEST_CONTROLS)),
            text("prompt_id", "which prompt; of a reader without prompts the task"),
            text("task", "task", allowed=TASKS),
            SOURCE,
            text("reader", "reader"),
            text("mode", "trial mode, or real"),
            DATASET,
            text(
                "reader_revision",
                "hash of the reader's code, options and weights, without prompts; of a served model what its server "
                "says in place of weights, and then it ends in -unverified",
            ),
            text("prompt_sha256", "hash of the prompt; null without one", null=True),
            text("picture_sha256", "hash over the pictures shown, in z order; of one picture the hash of its file"),
            text(
                "generation_key",
                "hash of pictures, pixel size, condition, control, prompt, options and revision; of a reader that "
                "answers by id, of the slice as well",
            ),
            texts("options", "what could be answered, as asked, in order"),
            numbers("option_scores", "score of each option, in the same order; null: the reader gives none", null=True),
            number("outside_log_mass", "log-probability of everything but the options", null=True),
            text("raw_text", "what the reader wrote", null=True),
            integer("seed", "seed of the reader's own draws; null: it draws nothing", null=True),
            text("failure", "why nothing was returned: reason code and detail; null: something was", null=True),
        ),
        (
            Rule(
                "one score for each option",
                "option_scores run in parallel to options",
                pl.col("option_scores").list.len() == pl.col("options").list.len(),
                "error",
            ),
            Rule(
                "a failure returned nothing",
                "raw_text and option_scores are null where failure is not",
                pl.col("failure").is_null() | (pl.col("raw_text").is_null() & pl.col("option_scores").is_null()),
                "error",
            ),
        ),
        ((("slice_uid", "condition"), "slices", ("slice_uid", "condition")),),
    ),
    Table(
        "answers",
        "What a scorer made of each generation; made anew without asking a reader (its rescore).",
        ("source", "reader", "mode", "dataset"),
        ("target_uid", "profile", "z_offsets", "condition", "control", "task", "scorer"),
        (
            text("target_uid", "hash of image and target; of a whole scan its image_uid"),
            text("slice_uid", "slice at the centre of what was shown; null: a whole scan", null=True),
            text("profile", "preprocess profile"),
            text("z_offsets", "slices shown, counted from the centre, with commas; scan_<n>: up to n levels of a scan"),
            text("condition", "guidance", allowed=CONDITIONS),
            text("control", "what was shown or asked instead", allowed=("none", *PICTURE_CONTROLS, *REQUEST_CONTROLS)),
            text("task", "task", allowed=TASKS),
            text("scorer", "rule that made the answer"),
            SOURCE,
            text("reader", "reader"),
            text("mode", "trial mode, or real"),
            DATASET,
            text("generation_key", "what was scored; null: the reader does not do the task", null=True),
            text("picture_sha256", "hash over the pictures shown, in z order; of one picture the hash of its file"),
            text("scorer_version", "version of that rule"),
            text("answer", "one of the task's options, or null", null=True),
            number("score", "higher means more likely present", null=True),
            text("status", "how the answer came; ok exactly when there is one", allowed=STATUSES),
            text("reason", "why there is no answer", null=True),
        ),
        (
            Rule(
                "status is ok exactly when answer is one of the task's options",
                "refused, unparsed, unsupported and error have no answer",
                _answered() | ((pl.col("status") != "ok") & pl.col("answer").is_null()),
                "error",
            ),
            Rule(
                "a score belongs to an answer",
                "score is null unless status is ok",
                pl.col("score").is_null() | (pl.col("status") == "ok"),
                "error",
            ),
            Rule(
                "no answer has a reason",
                "reason is null exactly when status is ok",
                pl.col("reason").is_null() == (pl.col("status") == "ok"),
                "error",
            ),
        ),
        ((("slice_uid", "condition"), "slices", ("slice_uid", "condition")),),
    ),
    Table(
        "detections",
        "Marks of a reader that reads whole scans.",
        ("source", "reader", "mode", "dataset"),
        ("image_uid", "mark"),
        (
            text("image_uid", "image or scan"),
            SOURCE,
            text("reader", "reader"),
            text("mode", "trial mode, or real"),
            DATASET,
            text("reader_revision", "hash of the reader's code, options and weights"),
            integer("mark", "0-based rank by score", low=0),
            *(number(f"world_{a}", f"mark, world {a} (RAS)", "mm") for a in "xyz"),
            millimetres("diameter_mm", "diameter of the mark; null: the reader gives positions alone"),
            number("score", "higher means more suspicious"),
        ),
    ),
    Table(
        "splits",
        "Frozen lists of the pictures that reports score; modes may share a slice.",
        (),
        ("split", "source", "name", "slice_uid", "condition", "control"),
        (
            text("split", "split name"),
            text("source", "image source"),
            text("mode", "trial mode, or real"),
            text("name", "name of the list: the mode, or real-<dataset>"),
            text("slice_uid", "slice"),
            text("condition", "guidance", allowed=CONDITIONS),
            text("control", "control; none: the picture itself"),
            text("sha256", "SHA-256 of the picture when it was frozen"),
            text("list_sha256", "hash of the frozen list that holds it"),
        ),
        (),
        ((("slice_uid",), "slices", ("slice_uid",)),),
    ),
    Table(
        "metrics",
        "Every number of every report, with its interval.",
        ("analysis",),
        ("analysis", "split", "source", "reader", "task", "condition", "stratum", "metric"),
        (
            text("analysis", "mode or dataset that is reported"),
            text("split", "frozen split"),
            text("source", "image source"),
            text("reader", "reader"),
            text("task", "task; detection: marks on whole scans", allowed=(*TASKS, "detection")),
            text("condition", "guidance", allowed=CONDITIONS),
            text("stratum", "all; factor=level; or a factor, for a number over all its levels"),
            text("metric", "what is estimated"),
            number("estimate", "estimate; null if degenerate", null=True),
            number("low", "lower limit", null=True),
            number("high", "upper limit", null=True),
            text("method", "how the interval was made"),
            integer("k", "successes among what counts; null where the metric is no share", null=True, low=0),
            integer("n_slices", "slices that count; null where whole scans count", null=True, low=0),
            integer("n_pictures", "different pictures among them, by SHA-256", null=True, low=0),
            integer("n_cases", "different cases that count", null=True, low=0),
            integer("n_negatives", "negatives among what counts", null=True, low=0),
            integer("n_hosts", "host persons", null=True, low=0),
            integer("n_donors", "donor persons; a slice without a donor counts as none", null=True, low=0),
            number("n_effective", "independent cases that would give the same variance", null=True, low=0),
            integer("n_unanswered", "slices of the split without an answer", null=True, low=0),
            text("flag", "why a number is null or should not be tested", null=True),
            ANATOMY,
        ),
    ),
    Table(
        "metric_cases",
        "The cases behind the numbers of `metrics`: what each slice of the split was, and what was answered.",
        ("analysis",),
        ("analysis", "source", "reader", "task", "condition", "slice_uid", "case_uid"),
        (
            text("analysis", "mode or dataset that is reported"),
            text("split", "frozen split"),
            text("source", "image source"),
            text("reader", "reader"),
            text("task", "task", allowed=TASKS),
            text("condition", "guidance", allowed=CONDITIONS),
            text("slice_uid", "slice"),
            CASE,
            text("sha256", "SHA-256 of the picture"),
            text("truth", "the option that is right; null: not known, so the slice is not scored", null=True),
            text("answer", "one of the task's options, or null", null=True),
            number("score", "higher means more likely present", null=True),
            text("status", "how the answer came; null: the slice was not read", null=True, allowed=STATUSES),
            flag(
                "right", "whether the answer is the truth; no answer is wrong; null where the truth is null", null=True
            ),
            flag("one_n", "answered by every reader of the report in every task and condition"),
            flag("negative", "the slice shows no nodule"),
            texts("strata", "strata that it belongs to, as `metrics` names them; all is the first"),
            millimetres("diameter_mm", "volume-equivalent diameter of the target's realised mask"),
            text("host_person_uid", "person whose anatomy it is"),
            text("donor_person_uid", "person whose nodule it is; null: a cluster of its own", null=True),
        ),
        (
            Rule(
                "right exactly where the truth is known",
                "right is null where truth is null, and nowhere else",
                pl.col("right").is_null() == pl.col("truth").is_null(),
                "error",
            ),
        ),
        ((("slice_uid", "condition"), "slices", ("slice_uid", "condition")),),
    ),
    Table(
        "released",
        "What a downloaded release holds, file by file, as verified; nothing of it is recomputed.",
        ("kind",),
        ("kind", "path"),
        (
            text(
                "kind",
                "stage",
                allowed=(
                    "profiles",
                    "manifests",
                    "inserted_masks",
                    "generated_cts",
                    "slices",
                    "splits",
                    "results",
                    "inputs",
                ),
            ),
            text("mode", "mode, where it is of one", null=True),
            text("dataset", "dataset (of the host), where it is of one", null=True),
            text("path", "below the release; of a table also the part"),
            integer("rows", "rows, records, volumes or ids that it holds", null=True, low=0),
            text(
                "status",
                "whether it is as it should be",
                allowed=("ok", "missing", "damaged", "contradicts", "unexpected"),
            ),
            text("detail", "what was expected and what was got; of results their model, condition and task", null=True),
            text("sha256", _SHA, null=True),
        ),
    ),
    Table(
        "reviews",
        "The last verdict of each person who looked at a case; all verdicts are in the log `reviews/reviews.jsonl`.",
        (),
        ("case_uid", "reviewer"),
        (
            CASE,
            text("reviewer", "who looked"),
            text("verdict", "verdict", allowed=("accept", "reject")),
            text("reason", "why", null=True),
            integer("number", "place in the order of all reviews; of a case the greatest counts", low=1),
        ),
    ),
    Table(
        "rejected_cases",
        "Rejected cases: where and why.",
        ("stage", "partition"),
        ("stage", "partition", "case_uid", "nodule_idx"),
        (
            text("stage", "stage that rejected it"),
            text("partition", "partition of that stage"),
            CASE,
            integer("nodule_idx", "-1 = the whole case"),
            text("reason", "reason code", allowed=tuple(r.value for r in Reason)),
            text("detail", "what was expected and what was got"),
        ),
    ),
    Table(
        "platform_health",
        "State of every partition of the modes that were planned, when the asset was last made.",
        (),
        ("asset", "partition"),
        (
            text("asset", "asset"),
            text("stage", "its stage"),
            text("partition", "its partition: mode/dataset, one of them, or all"),
            text("state", "state", allowed=("up to date", "out of date", "missing", "failed")),
            integer("done", "cases, rows or requests that it holds", low=0),
            integer("rejected", "cases that it rejected", low=0),
            integer("retryable", "of those, rejected for a cause that may pass", low=0),
            text("detail", "why its last run failed", null=True),
        ),
    ),
)

TABLES: Mapping[str, Table] = {table.name: table for table in _REGISTRY}
