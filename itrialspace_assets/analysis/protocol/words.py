"""A study in plain words, one screen."""

from itrialspace_assets.analysis.protocol.model import Study

_NEGATIVES = {
    "twin": "the same host without the nodule",
    "level": "another level of a real scan",
    "clean_scan": "a scan without a nodule",
}
_CORRECTIONS = {"holm": "Holm's steps", "max_t": "the largest statistic of the family"}


def in_words(study: Study) -> list[tuple[str, str]]:
    """Heading and sentence of each part of a study, in the order in which they are read."""
    first = study.primary
    of = study.populations
    named = {"mode": first.mode, "source": first.source, "reader": first.reader}
    where = ", ".join(f"{name} {value}" for name, value in named.items() if value is not None)
    every = [name for name, value in named.items() if value is None]
    primary = f"{first.metric} of {first.task}, condition {first.condition}, over all slices"
    primary += f"; {where}" if where else ""
    primary += f", compared with reader {first.against}" if first.against else ""
    primary += f"; one number for each {' and '.join(every)}" if every else "; one number"
    persons = " and ".join(c.removesuffix("_person_uid") for c in study.clusters)
    families = " and ".join(study.tests.families)
    tests = f"of {families}, corrected by {_CORRECTIONS[study.tests.correction]}" if families else "none is planned"
    kinds = [*_NEGATIVES] if study.negatives == "all" else study.negatives
    said = [
        ("Question", study.question or "not stated"),
        ("Context of use", study.context_of_use or "not stated"),
        ("Primary", primary),
        ("Estimand", first.estimand or "not stated"),
        *(
            (
                "Secondary",
                f"{', '.join(s.metrics)} of {s.task}; conditions {', '.join(s.conditions)}; "
                f"{'all slices' if s.strata == ['all'] else 'by ' + ', '.join(s.strata)}",
            )
            for s in study.secondary
        ),
        ("Modes", _listed(of.modes)),
        ("Real datasets", _listed(of.datasets)),
        ("Sources", _listed(of.sources)),
        ("Readers", f"{_listed(of.readers)}; {study.readers_are}"),
        ("Negatives", "; ".join(f"{kind} ({_NEGATIVES[kind]})" for kind in kinds)),
        (
            "Persons",
            f"answers that share a {persons} person are correlated; below {study.min_clusters} no test",
        ),
        ("Level", f"{study.alpha:g}; intervals cover {100 * (1 - study.alpha):g} %"),
        ("Comparisons", tests),
        (
            "Equivalence",
            f"within {study.margin.value:g}: {study.margin.reason}" if study.margin else "no margin",
        ),
        ("No answer", f"counts as {study.refusals}" + ("; endpoints again without" if study.sensitivity else "")),
        ("Rejected", "left out and counted; none is replaced"),
        ("Controls", ", ".join(study.controls) or "none"),
        *(("Limit", text) for text in study.limits),
    ]
    return said


def _listed(values: list[str] | str) -> str:
    return values if isinstance(values, str) else ", ".join(values)
