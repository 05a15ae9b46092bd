"""The tissue renderer on a 512 x 512 x 256 map: the first image of a host, and each further case of it.

Named baseline of the same run: writing the whole CT once with the same writer. One process.

    python -m bench.rendering [--real FOLDER]
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np

from bench.insertion import cases_of, prepare, timed
from itrialspace_assets.geometry import read_volume, write_volume
from itrialspace_assets.insertion.insert import insert_case
from itrialspace_assets.settings import load_settings
from itrialspace_assets.synthesis.images import render_case

CASES = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, help="folder of real label maps; the first serves as host")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(data_dir=Path(folder), output_dir=Path(folder), workers=1)
        hosts = prepare(settings.output, given.real, 1)
        rows = [insert_case(p, settings).rows["insertions"][0] for p in cases_of(settings, hosts, CASES)]
        seconds, made = [], []
        for r in rows:
            payload = {"case_uid": r["case_uid"], "source": "tissue", "mode": "m", "dataset": "d", "map_sha256": r["host_map_sha256"], "lesions": [r["lesion"]], "anatomy": "procedural", "attenuation": "solid", "acquisition": {"mtf50_per_mm": 0.4, "dose": 1.0, "slice_mm": None}, "seed": 42}  # fmt: skip
            seconds.append(timed(lambda payload=payload: made.append(render_case(payload, settings))))
        ct = read_volume(settings.output / made[0].rows["cts"][0]["path"])
        writes = [timed(lambda: write_volume(settings.output / "again.nii.gz", ct)) for _ in range(5)]
        write, further = statistics.median(writes), statistics.median(seconds[1:])
        status = Path("/proc/self/status").read_text()
        print(f"{'real' if given.real else 'generated'} host {ct.array.shape}, one process, {CASES} cases")
        print(
            f"first of a host {seconds[0]:.2f} s; each further case {further:.3f} s = {further / write:.2f} x writing the CT ({write:.3f} s)"
        )
        print(
            f"{60 * len(seconds) / sum(seconds):.0f} cases a minute; peak {int(status.split('VmHWM:')[1].split()[0]) / 1024:.0f} MiB; {np.median([x.stat().st_size for x in settings.output.rglob('store/cts/**/*.nii.gz')]) / 1e6:.0f} MB a CT"
        )


if __name__ == "__main__":
    main()
