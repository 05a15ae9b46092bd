"""The whole study report over two million answers in tables on disk: page, Markdown, charts, tables, ``metrics``.

Three readers, three tasks and four conditions on 42,382 slices of thirteen modes and 13,087 real ones of seven
datasets, as many as the published study, with every table that the report reads: plans, insertions, images, answers,
requests, the metrics of twenty reports before it, fidelity. All are made in a process of its own, so that peak memory
is that of the report. Named baseline of the same run: reading the columns of ``answers`` that are needed. The parts
that take longest are timed alone first (``--parts``): real against synthetic slices, and what the evidence gathers.

    python -m bench.study_report [--cases 55469] [--parts]
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from bench.reports import FACTORS, seen
from itrialspace_assets.analysis.evidence.gather import STUDY, gather
from itrialspace_assets.analysis.evidence.sections import evidence_part, stated
from itrialspace_assets.analysis.frozen import ListKey, freeze
from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.reports.study_report import build_study
from itrialspace_assets.analysis.reports.transfer_section import DeclaredMargin, transfer_part
from itrialspace_assets.analysis.scoring.answer_table import answer_table
from itrialspace_assets.analysis.scoring.metrics import score_cells
from itrialspace_assets.analysis.scoring.observations import strata_of
from itrialspace_assets.analysis.scoring.outcomes import study_outcomes
from itrialspace_assets.analysis.scoring.rows import Analysis, columns_of
from itrialspace_assets.analysis.scoring.training import trained_on
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.imaging.anatomy import ANSWER_SIZES, LOBES, SIZE_BUCKETS
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.readers.requests import given
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import read_all, table_path, write_table
from itrialspace_assets.records.tables import TABLES, TASK_OPTIONS
from itrialspace_assets.trials.files import mode_keys

CONDITIONS, TASKS = ("plain", "bbox", "contour", "bbox_contour"), ("presence", "lobe", "size")
SYNTHETIC = 42_382 / 55_469
#: The first states what it was trained on, so that results are made with and without that dataset; nobody is asked.
READERS = """readers:
  blob: {kind: blob, location: cpu, enabled: false, options: {threshold_hu: 480.0, marks: 10}}
  mock_a: {kind: callable, location: cpu, enabled: true, trained_on: LUNA16, options: {read: "bench.reports:main"}}
  mock_b: {kind: mock, location: cpu, enabled: true, options: {seed: 2}}
  mock_c: {kind: mock, location: cpu, enabled: true, options: {seed: 3}}
"""


def settings_of(root: Path) -> Settings:
    return load_settings(data_dir=root / "data", output_dir=root / "out", readers_config=root / "readers.yaml")


def filled(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with every column of a table; what is not given is null."""
    schema = TABLES[table].schema
    return rows.select(pl.col(c).cast(t) if c in rows.columns else pl.lit(None, t).alias(c) for c, t in schema.items())


def slices_of(source: str, mode: str, dataset: str, first: int, count: int, names: tuple[str, ...]) -> pl.DataFrame:
    """Slices of one partition under four conditions; of a twin trial those of the real findings of the same number.

    Args:
        source: image source.
        mode: trial mode, or ``real``.
        dataset: of the host.
        first: number of the first case.
        count: how many.
        names: all datasets.
    """
    rng = np.random.default_rng(first)
    case = np.arange(first, first + count)
    uid = [f"{source}/{c}" for c in case] if source != REAL else [f"real/{dataset}/{c}" for c in case]
    persons = [f"{dataset}/p{c // 2}" for c in case]
    rows = pl.DataFrame(
        {
            "slice_uid": [f"{c:032x}" for c in case],
            "target_uid": [f"{c:031x}t" for c in case],
            "case_uid": uid,
            "image_uid": [f"{c:031x}i" for c in case],
            "published_id": uid,
            "slice_z": case % 200,
            "lobe": rng.choice(LOBES, count),
            "size_class": rng.choice(ANSWER_SIZES, count),
            "diameter_mm": rng.uniform(3, 30, count),
            "pair_uid": uid,
            "host_person_uid": persons,
            "donor_person_uid": persons if source == REAL else [f"{names[c % 7]}/p{c % 13_092 // 2}" for c in case],
        }
    ).join(pl.DataFrame({"condition": CONDITIONS}), how="cross")
    return filled(
        "slices",
        rows.with_columns(
            path=pl.format("{}_{}.png", "slice_uid", "condition"),
            sha256=pl.format("{}{}", "slice_uid", pl.col("condition").replace_strict(
                {c: f"{i:032x}" for i, c in enumerate(CONDITIONS)})),
            control=pl.lit("none"), source=pl.lit(source), mode=pl.lit(mode), dataset=pl.lit(dataset),
            profile=pl.lit("lung_axial"), z_offset=pl.lit(0), pixel_x_mm=pl.lit(0.7), pixel_y_mm=pl.lit(0.7),
            width=pl.lit(512), height=pl.lit(512), affine=pl.lit([1.0] * 12, pl.List(pl.Float64)),
            presence=pl.lit("present"), size_near_edge=pl.lit(False), mask_grown=pl.lit(False),
            target_pixels=pl.lit(30), guidance_site=pl.lit("lesion"), guidance_covers_target=pl.lit(False),
            paired=pl.lit(source != REAL), other_lesions_in_slice=pl.lit(False), anatomy=pl.lit("real"),
        ),
    )  # fmt: skip


def answers_of(settings: Settings, slices: pl.DataFrame, reader: str, seed: int) -> pl.DataFrame:
    """Answers of one reader to all slices of a partition, seven in ten of them right."""
    how, truth = readers(settings)[reader], {"presence": "presence", "lobe": "lobe", "size": "size_class"}
    shown = given(how, slices, {}).drop("slice_z", "image_uid")
    rows = shown.join(slices.select("slice_uid", "condition", *truth.values()), on=["slice_uid", "condition"])
    rows = rows.join(pl.DataFrame({"task": TASKS}), how="cross")
    right = pl.Series(np.random.default_rng(seed).random(rows.height) < 0.7)
    said = pl.coalesce(
        pl.when(pl.col("task") == t).then(pl.when(right).then(c).otherwise(pl.lit(TASK_OPTIONS[t][-1])))
        for t, c in truth.items()
    )
    return filled(
        "answers",
        rows.with_columns(
            answer=said, status=pl.lit("ok"), scorer=pl.lit(how.scorer), scorer_version=pl.lit("1"),
            source=pl.lit(slices["source"][0]), mode=pl.lit(slices["mode"][0]), dataset=pl.lit(slices["dataset"][0]),
            reader=pl.lit(reader), generation_key=pl.col("picture_sha256"), score=pl.lit(0.5),
        ),
    )  # fmt: skip


def make(root: Path, cases: int) -> None:
    """All tables that the comparison reads, and the frozen lists."""
    (root / "data" / "profiles").mkdir(parents=True)
    (root / "readers.yaml").write_text(READERS)
    settings = settings_of(root)
    names, modes = tuple(datasets(settings)), [m for m in mode_keys(settings) if m.startswith("m")]
    synthetic = round(cases * SYNTHETIC)
    real = np.array_split(np.arange(synthetic, cases), len(names))
    parts = [(REAL, REAL, d, c) for d, c in zip(names, real, strict=True)]
    for mode, of in zip(modes, np.array_split(np.arange(synthetic), len(modes)), strict=True):
        parts += [("tissue", mode, d, c) for d, c in zip(names, np.array_split(of, len(names)), strict=True)]
    lists: dict[tuple[str, str], list[pl.DataFrame]] = {}
    for source, mode, dataset, of in parts:
        where = {"mode": mode, "dataset": dataset}
        slices = slices_of(source, mode, dataset, int(of[0]), len(of), names)
        write_table(settings.output, "slices", slices, source=source, **where)
        for at, reader in enumerate(readers(settings)):
            rows = answers_of(settings, slices, reader, int(of[0]) + at)
            write_table(settings.output, "answers", rows, source=source, reader=reader, **where)
            asked = rows.unique("generation_key", maintain_order=True)
            unchecked(settings, "generations", asked, source=source, reader=reader, **where)
        lists.setdefault((source, f"{REAL}-{dataset}" if source == REAL else mode), []).append(slices)
    scored = score_of_all(settings)
    for (source, name), frames in lists.items():
        rows = pl.concat(frames)
        freeze(settings, ListKey(settings.split, source, name), rows, "all")
        if source != REAL:
            plan_of(settings, name, rows.unique("case_uid", maintain_order=True), real, names)
        unchecked(settings, "metrics", scored.with_columns(source=pl.lit(source)), analysis=name)
    fidelity_of(settings, modes, names, synthetic)


def score_of_all(settings: Settings) -> pl.DataFrame:
    """Metrics of one report in every stratum, of the readers here; each report of the study is given the same."""
    rows = seen(300)
    rows = rows.with_columns(reader="mock_" + pl.col("reader").rank("dense").replace_strict({1: "a", 2: "b", 3: "c"}))
    of = Analysis("bench", settings.split, "real")
    scored = score_cells(rows, strata_of(rows, FACTORS), load_study(settings), of)
    return TABLES["metrics"].frame([columns_of(r) for r in scored])


def plan_of(settings: Settings, mode: str, rows: pl.DataFrame, real: list[np.ndarray], names: tuple[str, ...]) -> None:
    """Plan, insertions and images of a mode: six arms, one nodule a case; a twin's is a real finding.

    Args:
        settings: where tables lie.
        mode: trial mode.
        rows: a slice of each case.
        real: numbers of the real findings, by dataset.
        names: all datasets.
    """
    twin = mode.startswith(("m11", "m12"))
    at = np.arange(rows.height)
    finding = at % min(len(r) for r in real)
    which = [names.index(d) for d in rows["dataset"]]
    nodule = [f"{names[d]}/{real[d][f]}" for d, f in zip(which, finding, strict=True)]
    cases = rows.select(
        "case_uid", "lobe", "diameter_mm", "host_person_uid", "donor_person_uid", "image_uid"
    ).with_columns(
        dataset=rows["dataset"],
        arm=pl.Series([f"arm{i % 6}" for i in at]),
        number=pl.Series(at),
        host_dataset=rows["dataset"],
        host_scan_uid=rows["host_person_uid"],
        host_age=pl.Series(50.0 + at % 30),
        host_sex=pl.Series(np.array(["F", "M"])[at % 2]),
        size_bucket=pl.Series(np.array(SIZE_BUCKETS)[at % len(SIZE_BUCKETS)]),
        donor_nodule_uid=pl.Series(nodule),
        donor_dataset=pl.Series([uid.split("/")[0] for uid in nodule]),
        nodule_idx=pl.lit(0),
        label=pl.Series(at % 2),
        asked_lobe=pl.col("lobe"),
        planned_diameter_mm=pl.col("diameter_mm"),
        placement=pl.lit("native" if twin else "profile"),
        outside_lung=pl.lit(0),
        overlap=pl.lit(0.0),
        relaxations=pl.lit(""),
        twin_uid=pl.col("host_person_uid"),
        is_lesion_free=pl.lit(False),
        filled_voxels=pl.lit(0),
    )
    arms = pl.DataFrame({"arm": [f"arm{i}" for i in range(6)], "number": range(6), "asked_cases": rows.height // 6})
    unchecked(settings, "trials", pl.DataFrame({"trial": [mode]}), mode=mode)
    unchecked(settings, "arms", arms.with_columns(got_cases="asked_cases", relaxations=pl.lit("")), mode=mode)
    levels = pl.DataFrame({"marginal": "size", "level": SIZE_BUCKETS})
    unchecked(settings, "balance", arms.select("arm").join(levels, how="cross"), mode=mode)
    for table in ("cases", "case_nodules"):
        unchecked(settings, table, cases, mode=mode)
    images = pl.concat([cases, cases.with_columns(is_lesion_free=pl.lit(True), image_uid=pl.col("twin_uid"))])
    for dataset in names:
        here = {"mode": mode, "dataset": dataset}
        unchecked(settings, "insertions", cases.filter(pl.col("dataset") == dataset), **here)
        unchecked(settings, "cts", images.filter(pl.col("dataset") == dataset), source="tissue", **here)


def fidelity_of(settings: Settings, modes: list[str], names: tuple[str, ...], lesions: int) -> None:
    """Distances of each mode and real dataset from real ones in three planes and on average; each lesion's likeness."""
    rng = np.random.default_rng(0)
    sets = pl.DataFrame({"compared": [f"tissue/{m}" for m in modes] + [f"{REAL}/{d}" for d in names]})
    rows = sets.join(pl.DataFrame({"plane": ["XY", "YZ", "ZX", "average"]}), how="cross").with_columns(
        reference=pl.lit(REAL),
        kind=pl.when(pl.col("compared").str.starts_with(REAL)).then(pl.lit("real_to_real")).otherwise(
            pl.lit("real_to_synthetic")),
        note=pl.lit(None, pl.String), flag=pl.lit(None, pl.String),
    )  # fmt: skip
    unchecked(settings, "fidelity", rows)
    at = np.arange(lesions)
    measured = {c: rng.uniform(0.1, 0.9, lesions) for c in ("overlap", "edge", "edge_real", "texture", "texture_real")}
    persons = {f"{side}_person_uid": [f"{names[i % 7]}/p{i % 13_092 // 2}" for i in at] for side in ("host", "donor")}
    uids = {
        "image_uid": [f"{i:032x}" for i in at],
        "nodule_idx": np.zeros(lesions, int),
        "source": ["tissue"] * lesions,
    }
    unchecked(settings, "nodule_fidelity", pl.DataFrame(uids | measured | persons))


def unchecked(settings: Settings, table: str, rows: pl.DataFrame, **partition: str) -> None:
    """Write a partition of a table; a column that is not given is the first value that its contract allows.

    Args:
        settings: where tables lie.
        table: its name.
        rows: some of its columns.
        partition: values of its partition columns.
    """
    of_type = {"text": "bench", "integer": 1, "number": 1.0, "flag": True}
    columns = []
    for column in TABLES[table].columns:
        value = column.allowed[0] if column.allowed else of_type.get(column.type)
        given = partition.get(column.name)
        made = pl.col(column.name) if column.name in rows.columns and given is None else pl.lit(given or value)
        columns.append(made.cast(TABLES[table].schema[column.name]).alias(column.name))
    write_unchecked(table_path(settings.output, table, **partition), rows.select(columns), table)


def write_unchecked(path: Path, rows: pl.DataFrame, table: str) -> None:
    """A file of a table whose rows its rules might refuse: they are no results."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    arrow = rows.to_arrow()
    contract = {b"itrialspace.contract": TABLES[table].contract.encode()}
    pq.write_table(arrow.replace_schema_metadata(contract), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=55_469)
    parser.add_argument("--parts", action="store_true", help="time parts alone first; the peak is then of both")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        maker = multiprocessing.get_context("spawn").Process(target=make, args=(root, options.cases))
        maker.start()
        maker.join()
        if maker.exitcode:
            raise SystemExit(maker.exitcode)
        settings = settings_of(root)
        begun = clock()
        columns = [*TABLES["answers"].key, "slice_uid", "picture_sha256", "answer", "status"]
        count = sum(read_all(settings.output, "answers", columns, source=s).height for s in (REAL, "tissue"))
        print(f"{count} answers; baseline, their columns read: {since(begun)}")
        if options.parts:
            of_parts(settings)
        begun = clock()
        done = build_study(settings, {})
        print(
            f"the whole study report, {done.tables['metrics']} rows of metrics, {len(done.files)} files: {since(begun)}"
        )
        print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
        sizes = {path: (settings.output / path).stat().st_size for path in done.files}
        pages = {path: size for path, size in sizes.items() if path.endswith((".html", ".md"))}
        for path, size in pages.items():
            print(f"  {path}: {size / 2**20:.1f} MiB")
        tables = sum("/tables/" in path for path in sizes)
        print(f"  {tables} tables, {sum('/figures/' in path for path in sizes)} figures")


def of_parts(settings: Settings) -> None:
    """Print what the parts of the report take, each alone."""
    study = load_study(settings)
    begun = clock()
    found = study_outcomes(settings)
    print(f"  read and made right or wrong, {found.height} rows: {since(begun)}", flush=True)
    begun = clock()
    table = answer_table(found)
    analysis = Analysis("study", "bench", "real")
    part = transfer_part(table, study, analysis, DeclaredMargin(0.05), trained_on(settings), settings.seed)
    print(f"  compared, {len(part.rows)} rows of metrics: {since(begun)}", flush=True)
    begun = clock()
    evidence = gather(settings, study, STUDY, None, stated(study))
    print(f"  evidence gathered, {evidence.answers['n'].sum()} answers counted: {since(begun)}", flush=True)
    begun = clock()
    evidence_part(settings, evidence)
    print(f"  checklists, cards and scorecards: {since(begun)}", flush=True)


def clock() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def since(begun: tuple[float, float]) -> str:
    """Seconds since a time, on the clock and of the processor."""
    wall, cpu = clock()
    return f"{wall - begun[0]:.1f} s, {cpu - begun[1]:.1f} processor seconds"


if __name__ == "__main__":
    main()
