"""Observations with planted effects: many answers without a graph, drawn by declared chances."""

from collections.abc import Callable, Mapping

import numpy as np
import polars as pl

from itrialspace_assets.imaging.anatomy import ANSWER_SIZES, LOBES, SIZE_BUCKETS

Floats = np.ndarray
#: Chance of "present" at a slice with a nodule, and without, by columns of the cases.
Chance = Callable[[pl.DataFrame], Floats]
_MM = dict(zip(SIZE_BUCKETS, (4.0, 7.5, 12.5, 17.5, 25.0, 35.0), strict=True))


def cases(
    n: int, seed: int, arms: tuple[str, ...] = ("all",), hosts: int = 60, donors: int = 60, **columns: object
) -> pl.DataFrame:
    """``n`` cases an arm; hosts and donors are crossed by chance, sizes and lobes drawn evenly unless given."""
    rng = np.random.default_rng(seed)
    total = n * len(arms)
    host, donor = rng.integers(0, hosts, total), rng.integers(0, donors, total)
    frame = pl.DataFrame(
        {
            "case_uid": [f"t/{i}" for i in range(total)],
            "arm": np.repeat(arms, n),
            "host_person_uid": [f"host/{h}" for h in host],
            "donor_person_uid": [f"donor/{d}" for d in donor],
            "donor_nodule_uid": [f"D/{i}" for i in range(total)],
            "donor_dataset": rng.choice(["A", "B", "C"], total),
            "host_dataset": rng.choice(["A", "B"], total),
            "dataset": "A",
            "lobe": rng.choice(LOBES, total),
            "size_bucket": rng.choice(SIZE_BUCKETS, total),
            "label": rng.integers(0, 2, total),
        }
    )
    given = {name: pl.Series(name, values) for name, values in columns.items()}  # type: ignore[arg-type]
    return frame.with_columns(**given).with_columns(
        diameter_mm=pl.col("size_bucket").replace_strict(_MM, return_dtype=pl.Float64),
        size_class=pl.lit(ANSWER_SIZES[1]),
        pair_uid="case_uid",
    )


def answered(
    of: pl.DataFrame,
    seed: int,
    sensitivity: Chance | float = 0.7,
    false_alarm: Chance | float = 0.2,
    conditions: Mapping[str, float] | None = None,
    readers: Mapping[str, float] | None = None,
    twins: bool = True,
) -> pl.DataFrame:
    """Answers to presence: a nodule's slice and, with ``twins``, the same plane without it.

    Args:
        of: cases.
        seed: of the draws.
        sensitivity: chance of "present" with a nodule.
        false_alarm: chance of "present" without.
        conditions: what each adds to the sensitivity.
        readers: what each adds to the sensitivity.
        twins: whether there are negatives.
    """
    rng = np.random.default_rng([seed, 1])
    parts = []
    for shown in (True, False)[: 2 if twins else 1]:
        how = sensitivity if shown else false_alarm
        chance = how(of) if callable(how) else np.full(of.height, how)
        truth = {c: pl.lit(None, of.schema[c]) for c in ("lobe", "size_bucket", "size_class", "diameter_mm", "label")}
        slices = of.with_columns(
            presence=pl.lit("present" if shown else "absent"),
            guidance_site=pl.lit("lesion" if shown else "cleared_lesion"),
            slice_uid=pl.col("case_uid") + ("+" if shown else "-"),
            **({} if shown else truth),
        )
        for condition, more in (conditions or {"plain": 0.0}).items():
            for reader, plus in (readers or {"mock": 0.0}).items():
                said = rng.random(of.height) < np.clip(chance + (more + plus if shown else 0.0), 0, 1)
                parts.append(
                    slices.with_columns(
                        condition=pl.lit(condition),
                        reader=pl.lit(reader),
                        answer=pl.Series(np.where(said, "present", "absent")),
                        score=pl.Series(np.where(said, 1.0, -1.0)),
                    )
                )
    return pl.concat(parts).with_columns(
        source=pl.lit("tissue"),
        task=pl.lit("presence"),
        status=pl.lit("ok"),
        log_odds=pl.lit(True),
        one_n=pl.lit(True),
        sha256=pl.col("slice_uid") + pl.col("condition"),
    )
