"""Levels of factors as reports show them: in their declared order, in words of the field. Never sorted as text."""

from collections.abc import Collection, Mapping, Sequence

from itrialspace_assets.imaging.anatomy import ANSWER_SIZES, LOBES, SIZE_BUCKETS

#: Factors whose levels have an order of their own.
ORDERED: Mapping[str, tuple[str, ...]] = {
    "size_bucket": SIZE_BUCKETS,
    "size_class": ANSWER_SIZES,
    "lobe": LOBES,
}
#: Name of a factor on an axis.
FACTORS = {
    "size_bucket": "size",
    "lobe": "lobe",
    "arm": "arm",
    "host_dataset": "dataset of the host",
    "donor_dataset": "dataset of the donor",
}


def factor_of(stratum: str) -> str:
    """Factor of a stratum; ``all`` of the whole."""
    return stratum.partition("=")[0]


def level_of(stratum: str) -> str:
    """Level of a stratum, as it stands in tables."""
    return stratum.partition("=")[2]


def in_order(factor: str, levels: Collection[str], arms: Sequence[str] = ()) -> list[str]:
    """Levels of a factor in their declared order; what is not declared comes last, as text.

    Args:
        factor: a column of strata.
        levels: those that occur.
        arms: names of the trial's arms in the order of its file.
    """
    declared = [*ORDERED.get(factor, ()), *(arms if factor == "arm" else ())]
    return sorted(set(levels), key=lambda level: (declared.index(level) if level in declared else len(declared), level))


def strata_in_order(strata: Collection[str], arms: Sequence[str] = ()) -> list[str]:
    """Strata by factor, as they first occur: the whole factor first, then its levels in declared order.

    Args:
        strata: ``all``, factor=level, or a factor, for a number over all its levels.
        arms: names of the trial's arms in the order of its file.
    """
    factors = dict.fromkeys(map(factor_of, strata))
    found = []
    for factor in factors:
        levels = [level_of(s) for s in strata if factor_of(s) == factor and s != factor]
        found += [factor] if factor in strata else []
        found += [f"{factor}={level}" for level in in_order(factor, levels, arms)]
    return found


def shown(level: str) -> str:
    """A level in short words: ``right upper lobe``, ``5–10 mm``."""
    if level in LOBES:
        side, _, place, lobe = level.split("_")
        return f"{side} {place} {lobe}"
    if level in SIZE_BUCKETS or level in ANSWER_SIZES:
        return level.replace("-", "–").replace("mm", " mm")
    return level
