"""The study report's part on real against synthetic slices, over two million answers in tables on disk.

Three readers, three tasks and four conditions on 42,382 slices of thirteen modes and 13,087 real ones of seven
datasets, as many as the published study. The tables are made in a process of its own, so that peak memory is that of
reading and comparing. Named baseline of the same run: reading the columns of ``answers`` that are needed.

    python -m bench.study_report [--cases 55469]
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from itrialspace_assets.analysis.frozen import ListKey, freeze
from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.reports.transfer_section import Asked, transfer_part
from itrialspace_assets.analysis.scoring.answer_table import answer_table
from itrialspace_assets.analysis.scoring.outcomes import study_outcomes
from itrialspace_assets.analysis.scoring.rows import Analysis
from itrialspace_assets.analysis.scoring.training import Trained, trained_on
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.imaging.anatomy import ANSWER_SIZES, LOBES
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.readers.requests import given
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import read_all, write_table
from itrialspace_assets.records.tables import TABLES, TASK_OPTIONS
from itrialspace_assets.trials.files import mode_keys

CONDITIONS, TASKS = ("plain", "bbox", "contour", "bbox_contour"), ("presence", "lobe", "size")
SYNTHETIC = 42_382 / 55_469
READERS = """readers:
  blob: {kind: blob, location: cpu, enabled: false, options: {threshold_hu: 480.0, marks: 10}}
  mock_a: {kind: mock, location: cpu, enabled: true, options: {seed: 1}}
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
        lists.setdefault((source, f"{REAL}-{dataset}" if source == REAL else mode), []).append(slices)
    for (source, name), frames in lists.items():
        rows = pl.concat(frames)
        freeze(settings, ListKey(settings.split, source, name), rows, "all")
        if source != REAL:
            cases_of(settings, name, rows.unique("case_uid", maintain_order=True), real, names)


def cases_of(settings: Settings, mode: str, rows: pl.DataFrame, real: list[np.ndarray], names: tuple[str, ...]) -> None:
    """``cases`` and the first nodule of each, in the columns that are read here; a twin's is a real finding."""
    twin = mode.startswith(("m11", "m12"))
    finding = np.arange(rows.height) % min(len(r) for r in real)
    which = [names.index(d) for d in rows["dataset"]]
    nodule = [f"{names[d]}/{real[d][f]}" for d, f in zip(which, finding, strict=True)]
    path = settings.output / "tables"
    nodules = pl.DataFrame(
        {"case_uid": rows["case_uid"], "donor_nodule_uid": nodule, "nodule_idx": [0] * rows.height}
    ).with_columns(mode=pl.lit(mode), placement=pl.lit("native" if twin else "seed"))
    for table, frame in (("cases", rows.select("case_uid")), ("case_nodules", nodules)):
        write_unchecked(path / table / mode / "part.parquet", filled(table, frame), table)


def write_unchecked(path: Path, rows: pl.DataFrame, table: str) -> None:
    """A file of a table whose other columns are null, which its rules would refuse."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    arrow = rows.to_arrow()
    contract = {b"itrialspace.contract": TABLES[table].contract.encode()}
    pq.write_table(arrow.replace_schema_metadata(contract), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=55_469)
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
        begun = clock()
        found = study_outcomes(settings)
        print(f"read and made right or wrong, {found.height} rows: {since(begun)}", flush=True)
        middle = clock()
        table = answer_table(found)
        asked, study = Asked(0.05), load_study(settings)
        trained = trained_on(settings) | {"mock_a": Trained.declared("LUNA16", datasets(settings))}
        part = transfer_part(table, study, Analysis("study", "bench", "real"), asked, trained, 42)
        print(f"compared, {len(part.rows)} rows of metrics: {since(middle)}")
        print(f"together: {since(begun)}; peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


def clock() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def since(begun: tuple[float, float]) -> str:
    """Seconds since a time, on the clock and of the processor."""
    wall, cpu = clock()
    return f"{wall - begun[0]:.1f} s, {cpu - begun[1]:.1f} processor seconds"


if __name__ == "__main__":
    main()
