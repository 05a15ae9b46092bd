"""Two million answers: appended in batches of 64, looked up, compacted; and the mock reader through the graph.

Named baseline of the same run: the same columns written as one Parquet file and read whole, which keeps nothing safe in
between. Peak memory is that of this process.

    python -m bench.ledger [--answers 2000000] [--asked 30000]
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from itrialspace_assets.base.fingerprints import replace_file, sha256_bytes
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.imaging.pictures import png
from itrialspace_assets.readers.ledger import SCHEMA, Ledger
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import write_table

BATCH = 64
OPTIONS = ["present", "absent"]


def rows(first: int, count: int) -> list[dict[str, Any]]:
    """Answers as a reader with scores and text gives them; keys as spread as hashes are."""
    return [
        {
            "generation_key": f"{(i * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128:032x}",
            "picture_sha256": f"{i // 3:064x}",
            "condition": "plain",
            "control": "none",
            "task": "presence",
            "prompt_id": "presence_1",
            "prompt_sha256": "0" * 64,
            "options": OPTIONS,
            "option_scores": [i % 997 / 997, i % 991 / 991],
            "outside_log_mass": -3.5,
            "raw_text": "present",
            "seconds": 0.001,
            "asked_ns": i,
        }
        for i in range(first, first + count)
    ]


def peak_mib() -> int:
    """Greatest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def ledger_of(answers: int, folder: Path) -> None:
    """Append, look up, compact and look up again; prints seconds of each."""
    ledger = Ledger(folder / "ledger")
    made = append = 0.0
    cpu = time.process_time()
    kept = []
    for start in range(0, answers, BATCH):
        began = time.perf_counter()
        batch = rows(start, min(BATCH, answers - start))
        between = time.perf_counter()
        ledger.append(batch)
        append += time.perf_counter() - between
        made += between - began
        kept.append(pl.Series([row["generation_key"] for row in batch]))
    began = time.perf_counter()
    ledger.seal()
    append += time.perf_counter() - began
    keys = pl.concat(kept)
    cpu = time.process_time() - cpu
    print(
        f"{answers} answers: appended in {append:.1f} s ({made:.1f} s to make them before; together {cpu:.1f} s of "
        f"processor time), {len(ledger.shards())} files"
    )
    cpu = time.process_time()
    look: list[str] = []
    for name, wanted in (("all", keys), ("12,000 of one mode", keys[answers // 2 : answers // 2 + 12_000])):
        began = time.perf_counter()
        found = ledger.lookup(wanted).height
        assert found == len(wanted)
        look.append(f"{name} in {time.perf_counter() - began:.1f} s")
    cpu = time.process_time() - cpu
    print(f"looked up: {', '.join(look)} ({cpu:.1f} s of processor time); peak memory {peak_mib()} MiB")
    began = time.perf_counter()
    before, after = ledger.compact()
    compacted = time.perf_counter() - began
    began = time.perf_counter()
    assert ledger.lookup(keys[answers // 2 : answers // 2 + 12_000]).height == min(12_000, answers - answers // 2)
    print(
        f"compacted in {compacted:.1f} s ({before} files before, {after} after); then 12,000 of one mode looked up in "
        f"{time.perf_counter() - began:.1f} s; peak memory {peak_mib()} MiB"
    )
    began = time.perf_counter()
    whole = pl.read_parquet(ledger.shards()).select(list(SCHEMA))
    whole.write_parquet(folder / "whole.parquet", compression="zstd")
    pl.read_parquet(folder / "whole.parquet")
    print(f"baseline, one file written and read: {time.perf_counter() - began:.1f} s")


def study(asked: int, folder: Path, workers: int) -> Settings:
    """A dataset of drawn slices with about so many requests, three tasks each."""
    (folder / "data" / "profiles").mkdir(parents=True)
    (folder / "data" / "profiles" / "LUNA16_nodule_profiles.csv").write_text("")
    config = folder / "readers.yaml"
    config.write_text("readers: {blob: {enabled: false}, mock: {enabled: true, options: {delay_ms: 1.0}}}")
    settings = load_settings(
        data_dir=folder / "data", output_dir=folder / "out", readers_config=config, workers=workers
    )
    noise = np.random.default_rng(0).integers(0, 255, (256, 256), dtype=np.uint8)
    made = []
    for i in range(asked // 3):
        picture = noise.copy()
        picture[0, :8] = np.frombuffer(i.to_bytes(8, "big"), np.uint8)
        data, path = png(picture), f"store/slices/{i:06}.png"
        replace_file(settings.output / path, data)
        made.append({"slice_uid": f"s{i:06}", "target_uid": f"t{i:06}", "path": path, "sha256": sha256_bytes(data)})
    same = {
        "condition": "plain", "control": "none", "source": REAL, "mode": REAL, "dataset": "LUNA16",
        "case_uid": "real/LUNA16/x", "image_uid": "LUNA16/x", "published_id": "x", "profile": "lung_axial",
        "slice_z": 0, "z_offset": 0, "pixel_x_mm": 0.7, "pixel_y_mm": 0.7, "width": 256, "height": 256,
        "presence": "absent", "target_pixels": 0, "negative_type": "level", "guidance_site": "never",
        "pair_uid": "x", "paired": False, "other_lesions_in_slice": False, "host_person_uid": "p",
        "anatomy": "procedural", "guidance_covers_target": False,
        "affine": [0.7, 0.0, 0.0, 0.0, 0.0, 0.7, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    }  # fmt: skip
    write_table(settings.output, "slices", [row | same for row in made], source=REAL, mode=REAL, dataset="LUNA16")
    return settings


def through_the_graph(asked: int, workers: int) -> None:
    """Answers a second of the mock reader at 1 ms an answer, with everything that a Dagster run does."""
    from itrialspace_assets import drive

    with tempfile.TemporaryDirectory() as name:
        settings = study(asked, Path(name), workers)
        choice = drive.choose(settings, "1", "LUNA16", "read", None)
        wanted = drive.partitions_with(settings, choice, "slices", ("mock",), (REAL,))
        began = time.perf_counter()
        failed = drive.drive_nodes(settings, choice, wanted)
        seconds = time.perf_counter() - began
        assert not failed
    print(
        f"mock reader, 1 ms an answer, {workers} workers: {asked} answers in {seconds:.1f} s, {asked / seconds:.0f}/s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=2_000_000)
    parser.add_argument("--asked", type=int, default=30_000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    if given.answers:
        with tempfile.TemporaryDirectory() as name:
            ledger_of(given.answers, Path(name))
    if given.asked:
        through_the_graph(given.asked, given.workers)


if __name__ == "__main__":
    main()
