"""How long the command line and the code location take to start, beside `import dagster` alone."""

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "its --help": ["-m", "itrialspace_assets.cli.main", "--help"],
    "load every asset (itrialspace_assets.locations.all)": [
        "-W",
        "ignore",
        "-c",
        "import itrialspace_assets.locations.all",
    ],
    "baseline: import dagster": ["-W", "ignore", "-c", "import dagster"],
    "baseline: python alone": ["-c", "pass"],
}
REPEATS = 7


def main() -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(REPEATS):  # in turn, so that a slow moment of the machine hits all alike
        for name, arguments in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - started)
    base = statistics.median(seconds["baseline: import dagster"])
    for name, values in seconds.items():
        middle = statistics.median(values)
        print(
            f"{name:52} median {middle:5.2f} s  (min {min(values):.2f}, max {max(values):.2f})  "
            f"{middle / base:5.2f} x import dagster"
        )


if __name__ == "__main__":
    main()
