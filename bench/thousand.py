"""All thirteen modes, the real sets and the three studies at about 1,000 cases a mode, by the commands of a user.

A procedural root of small hosts in seven datasets; three readers that know the truth and are right by declared chances
(kind ``mock``, under the names that ``virtual_lesion_study`` asks for). The frozen cohort of mode 8 and the real sets
are read under the controls of ``reader_trust`` too. Masks and CTs are kept as deltas. The shipped trial files run at
size paper, with the number of cases set as a user sets it (``--set``); the number of twins is that of the real nodules
and scans of the root. Every command is a process of its own: the clock, processor seconds of all its processes, and
the greatest memory of any one are printed. At the end: every report has its page, Markdown, tables and figures, and
nothing failed. Run it again with the same ``--dir``: what is up to date is not made again.

    python -m bench.thousand [--cases 1000] [--hosts 90] [--dir FOLDER]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from itrialspace_assets.analysis.reports.study_report import NAME
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.records.layout import MODES, REAL
from itrialspace_assets.records.store import table_files

STUDIES = ("demo", "virtual_lesion_study", "reader_trust")
CONTROLS = ("blank", "box_only", "contralateral_box")
OF_WORDS = ("text_only", "options_rotated", "prompt_paraphrase")
#: What each reader is right by; ours, so that size, lobe and box have an effect in one of them each.
PLANTED: dict[str, dict[str, Any]] = {
    "biomedclip": {"sensitivity": 0.6, "sizes": {"<5mm": -0.3, "20-30mm": 0.2, ">30mm": 0.3}},
    "llava_med": {"sensitivity": 0.7, "lobes": {"right_lung_middle_lobe": -0.3}},
    "medgemma": {"sensitivity": 0.8, "conditions": {"bbox": 0.1}},
}
#: Hosts and donors as often as a cohort needs them: the root has fewer than the published datasets.
FREE = ("cohort.hosts.max_uses=null", "cohort.donors.max_uses=null")
#: Voxels in plane (mm): the coarsest at which a lung holds the nodules; ours.
SPACING = 2.8
#: Pairs of a host dataset and a donor dataset, out of seven.
CROSSINGS = 7 * 6
#: Scans of a dataset over cases; ours: about three findings in four cases, for the twins.
HOSTS = 0.06
#: The mode whose pictures are read under controls.
CONTROLLED = 8


def sets_of(mode: str, cases: int) -> tuple[str, ...]:
    """What is set of a mode, so that all its arms together have about so many cases."""
    arms = {"m02": 6, "m03": 5, "m04": 4, "m05": 5, "m06": 5, "m07": 20, "m09": 3}
    each = f"cohort.n_cases={max(2, round(cases / arms.get(mode[:3], 1)))}"
    if mode[:3] in ("m11", "m12"):
        return ()
    if mode[:3] == "m13":
        of_a_pair = max(1, round(cases / CROSSINGS))
        return (f"cohort.max_hosts={of_a_pair}", f"cohort.max_donor_nodules={of_a_pair}")
    if mode[:3] == "m09":  # people come again once a round: as many scans of a person as the root needs
        return (each, "cohort.hosts.max_uses=2", *FREE[1:])
    return (each, *FREE)


@dataclass
class Spent:
    """What commands cost: seconds on the clock, processor seconds of all their processes, MiB of the greatest."""

    wall: float = 0.0
    cpu: float = 0.0
    peak: float = 0.0


def watched(child: subprocess.Popen[bytes]) -> Spent:
    """Wait for a command and say what its processes spent: those of its session, looked at twice a second.

    Workers of a pool are no children of the command, so ``wait4`` would not count them.
    """
    spent, seconds = Spent(), {}
    began, tick = time.perf_counter(), os.sysconf("SC_CLK_TCK")
    while child.poll() is None:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) != child.pid:
                    continue
                peak = next(line for line in (process / "status").read_text().splitlines() if line[:6] == "VmHWM:")
            except (OSError, StopIteration):  # it has ended
                continue
            seconds[process.name] = (int(fields[11]) + int(fields[12])) / tick
            spent.peak = max(spent.peak, int(peak.split()[1]) / 1024)
        time.sleep(0.5)
    spent.wall, spent.cpu = time.perf_counter() - began, sum(seconds.values())
    return spent


@dataclass
class Bench:
    """The commands of one run, and what they cost."""

    folder: Path
    spent: dict[str, Spent] = field(default_factory=lambda: defaultdict(Spent))
    partitions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        return load_settings(
            data_dir=self.folder / "data",
            output_dir=self.folder / "out",
            readers_config=self.folder / "controls.yaml",
        )

    def its(self, what: str, *words: str, study: str = STUDIES[0], controls: bool = False) -> None:
        """Run a command of ``its``; ends the benchmark where it fails.

        Args:
            what: the line of the costs that it is added to.
            words: of the command.
            study: that reports follow.
            controls: readers are asked under controls too.
        """
        own = {
            "READERS_CONFIG": str(self.folder / ("controls.yaml" if controls else "readers.yaml")),
            "CONTROLS": ",".join(CONTROLS) if controls else "",
            "MASKS": "delta",
            "CTS": "delta",
            "LOG": "json",
            "STUDY": study,
        }
        environment = os.environ | {f"ITRIALSPACE_{name}": value for name, value in own.items()}
        with (self.folder / "stdout.log").open("a") as out, (self.folder / "log.jsonl").open("a+") as log:
            out.write(f"$ its {' '.join(words)}\n")
            out.flush()
            end = log.seek(0, os.SEEK_END)
            command = [sys.executable, "-W", "ignore", "-m", "itrialspace_assets.cli.main", *words]
            child = subprocess.Popen(command, env=environment, stdout=out, stderr=log, start_new_session=True)
            used = watched(child)
            log.seek(end)
            said = log.readlines()
        if child.returncode:
            failed = f"its {' '.join(words)}: exit code {child.returncode}; {self.folder}"
            raise SystemExit("\n".join([failed, *said[-5:]]))
        spent = self.spent[what]
        spent.wall, spent.cpu, spent.peak = spent.wall + used.wall, spent.cpu + used.cpu, max(spent.peak, used.peak)
        lines = [json.loads(line) for line in said if line.startswith("{")]
        self.partitions += [line | {"study": study} for line in lines if "asset" in line]
        told = f"{used.wall:.0f} s, {used.cpu:.0f} processor seconds, {used.peak:.0f} MiB"
        print(f"  its {' '.join(words)}: {told}", flush=True)


def readers_of(controls: bool) -> dict[str, Any]:
    """The readers; with ``controls`` the last of them is asked in other words, another order and without a picture."""
    entries: dict[str, Any] = {"blob": {"enabled": False}, "table_example": {"enabled": False}}
    for seed, (name, planted) in enumerate(PLANTED.items()):
        entries[name] = {
            "kind": "mock",
            "location": "cpu",
            "enabled": True,
            "options": {"seed": seed, "refusal_rate": 0.01, "planted": planted},
            "profile": "lung_axial",
            "z_offsets": [0],
            "controls": list(OF_WORDS) if controls and seed == len(PLANTED) - 1 else [],
        }
    return {"readers": entries}


def run(bench: Bench, cases: int, hosts: int) -> None:
    """Everything, from a root to the catalog; the mode that is read under controls comes last of the modes."""
    where = ("--dir", str(bench.folder))
    for name, controls in (("readers.yaml", False), ("controls.yaml", True)):
        (bench.folder / name).write_text(yaml.safe_dump(readers_of(controls)))
    out = str(bench.folder / "data")
    bench.its("root", "demo-data", "--out", out, "--hosts", str(hosts), "--spacing", str(SPACING))
    locked = {study: bench.folder / "out" / "splits" / f"demo_v1.{study}.lock.json" for study in STUDIES}
    for study in (s for s, path in locked.items() if not path.exists()):
        bench.its("locks", "study", "lock", study, *where)
    bench.its("profiles to index", "run", "--to", "index", *where)
    for number in sorted(range(1, len(MODES) + 1), key=lambda n: n == CONTROLLED):
        sets = [word for value in sets_of(MODES[number - 1], cases) for word in ("--set", value)]
        words = ("run", "--modes", str(number), "--to", "read", "--size", "paper", *sets, *where)
        bench.its("cases", *words, controls=number == CONTROLLED)
    bench.its("fidelity", "run", "--only", "fidelity", *where)
    bench.its("splits", "run", "--only", "splits", *where)
    for study in STUDIES:
        bench.its("reports", "run", "--only", "report", *where, study=study, controls=True)
        require_reports(bench.settings, study)
    bench.its("catalog", "run", "--only", "catalog", *where, controls=True)


def require_reports(settings: Settings, study: str) -> None:
    """End the benchmark unless each report of a study is whole.

    Raises:
        SystemExit: a report or a part of it is missing.
    """
    names = (*MODES, *(f"{REAL}-{dataset}" for dataset in datasets(settings)), NAME)
    wrong = [f"{name}: {what}" for name in names for what in missing_of(settings, name, study)]
    if wrong:
        raise SystemExit(f"reports of {study}: expected whole, missing:\n" + "\n".join(wrong))
    print(f"  {len(names)} reports of {study} are whole", flush=True)


def missing_of(settings: Settings, name: str, study: str) -> Iterator[str]:
    """What a report lacks: its page, its Markdown, the study in it, tables in both forms, figures in both forms."""
    folder = settings.output / "reports" / name
    page, text = folder / "report.html", folder / "report.md"
    for path, held in ((page, "</html>"), (text, f"tudy {study}")):
        if not path.exists() or held not in path.read_text():
            yield f"{path.name} with {held!r}"
    for kind, suffixes in (("tables", (".csv", ".parquet")), ("figures", (".png", ".pdf"))):
        found = [{p.stem for p in (folder / kind).glob(f"*{suffix}") if p.stat().st_size} for suffix in suffixes]
        if not found[0] or found[0] != found[1]:
            yield f"{kind} as {' and '.join(suffixes)}"
    if not (settings.output / "tables" / "metrics" / name / "part.parquet").exists():
        yield "metrics"


def cases_by_mode(settings: Settings) -> pl.DataFrame:
    """Planned, inserted and rendered cases of each mode, its slices and its answers."""
    cases, rows = pl.col("case_uid").n_unique(), pl.len()
    wanted = {
        "planned": ("cases", cases),
        "inserted": ("insertions", cases),
        "rendered": ("cts", cases),
        "slices": ("slices", rows),
        "answers": ("answers", rows),
    }
    found = pl.DataFrame({"mode": [*MODES, REAL]})
    for name, (table, counted) in wanted.items():
        files = table_files(settings.output, table)
        of = pl.scan_parquet(files).group_by("mode").agg(counted.alias(name)).collect() if files else None
        found = found.join(of, on="mode", how="left") if of is not None else found
    return found


def told(bench: Bench) -> None:
    """Print cases of each mode, seconds of each stage and report, and the greatest memory."""
    with pl.Config(tbl_rows=-1, tbl_width_chars=120, tbl_hide_column_data_types=True, tbl_hide_dataframe_shape=True):
        print(cases_by_mode(bench.settings))
        if bench.partitions:
            made = pl.DataFrame(bench.partitions, infer_schema_length=None)
            stage = pl.when(pl.col("asset").str.ends_with("_report")).then(pl.col("asset") + " of " + pl.col("study"))
            by = made.with_columns(stage.otherwise(pl.col("asset")).alias("asset")).group_by("asset")
            worst = pl.col("partition").sort_by("seconds").last()
            print(
                by.agg(pl.len().alias("partitions"), pl.sum("seconds"), pl.max("seconds").alias("slowest"), worst)
                .sort("seconds", descending=True)
            )  # fmt: skip
    print(f"{'':<18} {'seconds':>8} {'processor':>10} {'greatest MiB':>13}")
    for what, spent in bench.spent.items():
        print(f"{what:<18} {spent.wall:8.0f} {spent.cpu:10.0f} {spent.peak:13.0f}")
    every = bench.spent.values()
    print(f"{'together':<18} {sum(s.wall for s in every):8.0f} {sum(s.cpu for s in every):10.0f}", end=" ")
    print(f"{max(s.peak for s in every):13.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000, help="of a mode")
    parser.add_argument("--hosts", type=int, help=f"scans a dataset; {HOSTS} of the cases, at least 4")
    parser.add_argument("--dir", type=Path, help="a folder that is kept; else a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = (given.dir or Path(name)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(folder)
        run(bench, given.cases, given.hosts or max(4, round(HOSTS * given.cases)))
        told(bench)


if __name__ == "__main__":
    main()
