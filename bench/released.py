"""A release of many cases is analysed in an empty root: what taking it costs over making it, and equal reports.

One root plans, inserts, renders, cuts, reads, reports and releases; its release alone (what ``SHA256SUMS`` lists) is
taken in another root, which makes the reports again. Processor seconds of whole commands, children included. Fails if
a case was computed in the second root, or if a report differs by a byte.

    python -m bench.released [--cases 200]
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.partition import EACH, HOSTS, MODE, READERS, SPACING, TRIAL
from itrialspace_assets.base.fingerprints import hash_file
from itrialspace_assets.demo.root import make_root
from itrialspace_assets.release.parts import SUMS


def command(environment: dict[str, str], *words: str) -> float:
    """Processor seconds of an ``its`` command.

    Args:
        environment: added to that of this process.
        words: of the command.

    Raises:
        SystemExit: it failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "itrialspace_assets.cli.main", *words],
        check=False,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"its {' '.join(words)}:\n{done.stdout}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def contents(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder."""
    return {str(p.relative_to(folder)): hash_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=200, help=f"a multiple of {EACH}")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first, second, release = folder / "first", folder / "second", folder / "release"
        (folder / "trials").mkdir()
        trial = TRIAL.format(mode=MODE, dataset="DLCS24", each=EACH, arms=given.cases // EACH)
        (folder / "trials" / f"{MODE}.yaml").write_text(trial)
        (folder / "readers.yaml").write_text(READERS)
        environment = {
            "ITRIALSPACE_TRIALS_DIR": str(folder / "trials"),
            "ITRIALSPACE_READERS_CONFIG": str(folder / "readers.yaml"),
        }
        make_root(first / "data", hosts=HOSTS, spacing=SPACING)
        made = command(environment, "run", "--modes", MODE, "--to", "release", "--dir", str(first))
        sums = (first / "out" / SUMS).read_text().splitlines()
        for listed in (*(line.partition("  ")[2] for line in sums), SUMS):
            (release / listed).parent.mkdir(parents=True, exist_ok=True)
            os.link(first / "out" / listed, release / listed)
        taken = command(environment, "import-release", str(release), "--use", "all", "--dir", str(second))
        reported = command(environment, "run", "--modes", MODE, "--to", "report", "--dir", str(second))
        before, after = (contents(root / "out/reports") for root in (first, second))
        computed = list((second / "out/work").rglob("*.jsonl"))
    print(f"{given.cases} cases, {len(sums)} files released: made in {made:.1f} s of processors")
    print(f"  taken in {taken:.1f} s, reported on in {reported:.1f} s; {len(after)} files of reports")
    if computed or before != after:
        differ = [n for n in sorted(before | after) if before.get(n) != after.get(n)]
        raise SystemExit(
            f"NOT KEPT: {len(computed)} journals of computed cases, {len(differ)} files differ: {differ[:5]}"
        )
    print("  no case was computed again, and every report is the same bytes")


if __name__ == "__main__":
    main()
