"""Writes simulated answers to the real slices of a procedural data root, as a table that came with the data.

Nobody gave them: they are drawn around the truth, which the demo knows because it drew the nodules too. They show how
answers of people or of other software are joined (kind ``table`` of ``readers.yaml``), and measure nothing.
"""

import math
from pathlib import Path

import polars as pl
import yaml

from itrialspace_assets.base.fingerprints import replace_file
from itrialspace_assets.base.seeds import draws, uniform
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.profiles.load import load_profiles
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.readers.registry import OWN_READERS
from itrialspace_assets.records.tables import CONDITIONS

#: Name of the reader in ``readers.yaml``, and its table below the data root.
READER, TABLE = "table_example", Path("readers") / "simulated_answers.csv"
#: Endings of published ids of slices with a nodule and, where all nodules of a scan are known, without one; with the
#: mean rating of each in standard deviations, and the rating that divides them (ours).
_ENDINGS, _DIVIDES = (("", 1.6), ("_neg", 0.0)), 0.8


def write_answers(settings: Settings, seed: int = 42) -> None:
    """Write the table and the file that names it.

    Args:
        settings: where the procedural data root lies.
        seed: root of every draw.
    """
    rows = []
    for name, dataset in datasets(settings).items():
        path = dataset.profile_csv(settings.data)
        if not path.exists():
            continue
        endings = _ENDINGS if dataset.annotation_completeness == "complete" else _ENDINGS[:1]
        for annotation in load_profiles(path, dataset, "procedural").profiles["annotation_id"]:
            for ending, mean in endings:
                uid = f"{name}/{annotation}{ending}"
                rows += [(uid, c, *_answer(mean + _noise(seed, uid, c))) for c in CONDITIONS]
    columns = ["published_id", "condition", "answer", "score"]
    table = pl.DataFrame(rows, columns, orient="row").with_columns(task=pl.lit("presence"))
    replace_file(settings.data / TABLE, table.write_csv().encode())
    entry = {"enabled": True, "sources": ["real"], "options": {"answers": str(TABLE), "by": "published_id"}}
    note = "# Simulated answers (iTrialSpace demo): drawn around the truth, given by nobody.\n"
    replace_file(settings.data / OWN_READERS, (note + yaml.safe_dump({"readers": {READER: entry}})).encode())


def _noise(seed: int, *identity: str) -> float:
    """A draw of the standard normal distribution (Box and Muller's transform)."""
    first, second = uniform(draws(seed, "simulated answers", *identity, n=2)).tolist()
    return math.sqrt(-2.0 * math.log(1.0 - first)) * math.cos(2.0 * math.pi * second)


def _answer(rating: float) -> tuple[str, float]:
    return ("yes" if rating >= _DIVIDES else "no", round(rating - _DIVIDES, 4))
