"""Building, opening and asking the index of 13,140 profiles: ours beside pandas doing the same job.

The baseline reads the seven CSVs, harmonises ids and labels, buckets sizes and answers the same
questions in memory, as the original does; it checks nothing and keeps nothing. Ours validates every
rule of the registry, writes Parquet, and opens it again.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.demo.paper import write_root
from itrialspace_assets.index import build as index_build
from itrialspace_assets.index.query import FEATURES, Index, WantedDonor, open_index
from itrialspace_assets.profiles import build as profiles_build
from itrialspace_assets.profiles.registry import datasets

REPEATS = 5


def seconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def build_ours(settings: Settings) -> None:
    shutil.rmtree(settings.output, ignore_errors=True)
    for name in datasets(settings):
        profiles_build.build(settings, {"dataset": name})
    index_build.build(settings, {})


def build_pandas(settings: Settings) -> pd.DataFrame:
    frames = []
    for name, entry in datasets(settings).items():
        frame = pd.read_csv(entry.profile_csv(settings.data), low_memory=False)
        frame["dataset"] = name
        frame["patient"] = frame[entry.patient].astype(str) if entry.patient else frame[entry.scan_person]
        frame["annotation_id"] = frame[entry.annotation].astype(str) if entry.annotation else frame["ct_path"]
        rule = entry.label
        if rule and rule.rule == "at_least":
            frame["unified"] = (frame[rule.column] >= rule.threshold).astype(float)
        elif rule and rule.rule == "words":
            frame["unified"] = frame[rule.column].str.strip().str.lower().map(rule.words)
        else:
            frame["unified"] = frame[rule.column] if rule and rule.column else (1.0 if rule else np.nan)
        frames.append(frame)
    whole = pd.concat(frames, ignore_index=True)
    whole["bucket"] = pd.cut(whole["reinsertion_nodule_diam_mm"], [0, 5, 10, 15, 20, 30, 1000], right=False)
    return whole


def similar_pandas(frame: pd.DataFrame, z: np.ndarray, lobes: np.ndarray, at: int) -> pd.DataFrame:
    square = ((z - z[at]) ** 2).sum(axis=1) + 9.0 * (lobes != lobes[at])
    square = np.where(frame["patient"].to_numpy() == frame["patient"].iloc[at], np.inf, square)
    return frame.iloc[np.argsort(square)[:10]]


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    settings = load_settings(data_dir=folder / "data", output_dir=folder / "out", workers=1)
    write_root(settings.data)
    rows: dict[str, tuple[list[float], list[float]]] = {}

    def pair(name: str, ours: Callable[[], object], theirs: Callable[[], object], times: int = REPEATS) -> None:
        ours()
        theirs()  # warm
        a, b = [], []
        for _ in range(times):
            a.append(seconds(ours))
            b.append(seconds(theirs))
        rows[name] = (a, b)

    pair("profiles and index from CSV (checked, written)", lambda: build_ours(settings), lambda: build_pandas(settings))
    pair(
        "index from profiles (checked and written)",
        lambda: index_build.build(settings, {}),
        lambda: build_pandas(settings),
    )
    pair("open again (baseline: read the CSVs again)", lambda: open_index(settings), lambda: build_pandas(settings))
    index: Index = open_index(settings)
    frame = build_pandas(settings)
    where = ["label=1", "nodule_mean_diam_mm=6..15", "reinsertion_lobe=right_lung_upper_lobe"]
    pair(
        "filter",
        lambda: index.where(where),
        lambda: frame[
            (frame["unified"] == 1)
            & frame["nodule_mean_diam_mm"].between(6, 15)
            & (frame["reinsertion_lobe"] == "right_lung_upper_lobe")
        ],
        50,
    )
    columns = [c for c, _ in FEATURES.values()]
    z = ((frame[columns] - frame[columns].mean()) / frame[columns].std()).fillna(0).to_numpy()
    lobes = frame["reinsertion_lobe"].to_numpy()
    uid = index.nodules["nodule_uid"][5000]
    pair("similar, k = 10", lambda: index.similar(uid), lambda: similar_pandas(frame, z, lobes, 5000), 50)
    place = WantedDonor("RUL", 60, 12, 10, 1, "no person")
    pair(
        "donors for a place",
        lambda: index.donors_for(place),
        lambda: (
            frame[frame["unified"] == 1]
            .assign(
                score=lambda d: (
                    5 * (d["reinsertion_lobe"] != "right_lung_upper_lobe")
                    + (d["reinsertion_lobe_cc_pct"] - 60).abs() / 100
                    + 0.8 * (d["reinsertion_pleural_dist_mm"] - 12).abs() / d["reinsertion_pleural_dist_mm"].max()
                    + 0.6 * (d["reinsertion_nodule_diam_mm"] - 10).abs() / d["reinsertion_nodule_diam_mm"].max()
                )
            )
            .nsmallest(10, "score")
        ),
        50,
    )
    print(f"{index.nodules.height} nodules; CPU ms of all threads, medians, in turn in one process, no imports")
    for name, (a, b) in rows.items():
        ours, theirs = statistics.median(a) * 1000, statistics.median(b) * 1000
        print(f"{name:46} ours {ours:8.1f}   pandas {theirs:8.1f}   ratio {ours / theirs:5.2f}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
