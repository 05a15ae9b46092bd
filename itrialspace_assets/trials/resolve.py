"""A trial file, a size, an arm and a run's overrides become one plan: each laid over the other, checked as a whole."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.validation import explain
from itrialspace_assets.trials.model import Cohort, Trial


@dataclass(frozen=True)
class PlannedArm:
    """An arm as it will be planned: its cohort with size, arm and overrides laid over."""

    name: str
    published: str
    folder: str
    varies: str
    level: str
    cohort: Cohort
    number: int  # 0-based place among the arms
    cases: int | None = None  # sampled: how many cases
    host_dataset: str | None = None  # twins
    donor_dataset: str | None = None


@dataclass(frozen=True)
class Resolved:
    """A trial at one size with a run's overrides: what is planned, and nothing else is read."""

    trial: Trial
    size: str
    overrides: tuple[str, ...]
    cohort: Cohort
    arms: tuple[PlannedArm, ...]


#: Keys of which a mapping holds one.
_EITHER = (frozenset({"value", "by_size"}),)


def lay_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping with another laid over it, key by key; shares of a distribution are replaced whole.

    Of two ways to say the same (a prevalence as one value or by size) the upper one replaces the other.
    """
    out = {k: v for k, v in below.items() if not any(k in pair and pair - {k} & above.keys() for pair in _EITHER)}
    for key, value in above.items():
        deep = isinstance(value, Mapping) and isinstance(out.get(key), Mapping) and key not in ("sizes", "lobes")
        out[key] = lay_over(out[key], value) if deep else value
    return out


def read_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """``cohort.n_cases=1000`` and the like as a partial cohort; values are YAML.

    Raises:
        ConfigError: no ``path=value``, or a path outside ``cohort``.
    """
    out: dict[str, Any] = {}
    for text in texts:
        path, mark, value = text.partition("=")
        keys = path.strip().split(".")
        if not mark or keys[0] != "cohort" or len(keys) < 2:
            raise ConfigError(f"--set {text!r}: expected cohort.<field>=<value>, for example cohort.n_cases=1000")
        try:
            found = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {text!r}: expected a YAML value, got {error}") from None
        at: dict[str, Any] = {keys[-1]: found}
        for key in reversed(keys[1:-1]):
            at = {key: at}
        out = lay_over(out, at)
    return out


def resolve(trial: Trial, size: str, overrides: Sequence[str] = (), known: Sequence[str] = ()) -> Resolved:
    """The plan of a trial at a size.

    Args:
        trial: the trial file.
        size: ``demo`` or ``paper``.
        overrides: ``cohort.<field>=<value>`` of this run.
        known: registered datasets, which ``all`` stands for in arms.

    Raises:
        ConfigError: the size is not in the file, or a combination is wrong; names the path.
    """
    if size not in trial.sizes:
        raise ConfigError(f"{trial.trial}: size {size!r}: expected one of {', '.join(trial.sizes)}")
    base = trial.cohort.model_dump(exclude_unset=True)
    base = lay_over(base, trial.sizes[size])
    late = read_overrides(overrides)
    whole = _cohort(trial, lay_over(base, late), f"sizes.{size}")
    arms = tuple(_listed(trial, base, late, whole) if trial.arms else _made(trial, base, late, whole, known))
    if len({a.name for a in arms}) != len(arms):
        raise ConfigError(f"{trial.trial}: arms: expected unique names, got {', '.join(a.name for a in arms)}")
    for arm in arms:
        if trial.planner == "sampled" and arm.cases is None:
            raise ConfigError(f"{trial.trial}: sizes.{size}.n_cases: a sampled trial needs it")
    return Resolved(trial, size, tuple(overrides), whole, arms)


def _cohort(trial: Trial, content: Mapping[str, Any], where: str) -> Cohort:
    try:
        return Cohort.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{trial.trial}: {where}: {explain(error, Cohort)}") from None


def _listed(trial: Trial, base: dict[str, Any], late: dict[str, Any], whole: Cohort) -> Iterable[PlannedArm]:
    counts = _shared_out([a.share for a in trial.arms], whole.n_cases) if trial.arms[0].share else None
    for number, arm in enumerate(trial.arms):
        cohort = _cohort(trial, lay_over(lay_over(base, arm.cohort), late), f"arms.{number}.cohort")
        cases = counts[number] if counts else cohort.n_cases
        yield PlannedArm(arm.name, arm.published, "", arm.varies, arm.level, cohort, number, cases)


def _shared_out(shares: Sequence[float | None], total: int | None) -> list[int]:
    from itrialspace_assets.trials.quotas import quota_sequence

    sequence = quota_sequence([s or 0.0 for s in shares], total or 0)
    return [int((sequence == i).sum()) for i in range(len(shares))]


def _made(
    trial: Trial, base: dict[str, Any], late: dict[str, Any], whole: Cohort, known: Sequence[str]
) -> Iterable[PlannedArm]:
    how = trial.arms_from
    assert how is not None

    def arm(number: int, name: str, varies: str, level: str, change: dict[str, Any], **more: Any) -> PlannedArm:
        cohort = _cohort(trial, lay_over(lay_over(base, change), late), f"arms_from ({level})")
        published = how.published.format(trial=trial.trial, level=level, number=number)
        return PlannedArm(
            name, published, more.pop("folder", ""), varies, level, cohort, number, cohort.n_cases, **more
        )

    def needed(field: str) -> Any:
        if (value := getattr(whole, field)) is None:
            raise ConfigError(f"{trial.trial}: arms_from {how.what}: expected {field} in the cohort or the size")
        return value

    def listed(given: list[str] | str | None) -> list[str]:
        return list(known) if given in (None, "all") else list(given or [])

    if how.what == "replicates":
        for i in range(needed("n_bootstrap")):
            yield arm(i, f"boot{i:03d}", "replicate", f"{i:03d}", {})
    elif how.what == "rounds":
        first = whole.prevalence
        if first is None or first.value is None:
            raise ConfigError(f"{trial.trial}: arms_from rounds: expected prevalence.value in the cohort")
        for i in range(needed("n_rounds")):
            value = round(first.value * how.decay**i, 10)
            yield arm(i, f"round{i + 1}", "round", str(i + 1), {"prevalence": {"value": value}})
    elif how.what == "vary":
        for i, value in enumerate(needed("values")):
            change: dict[str, Any] = {}
            for key in reversed(str(how.vary).split(".")):
                change = {key: change or value}
            name = "v" + f"{value:g}".replace(".", "_").replace("-", "m")
            yield arm(i, name, str(how.vary), f"{value:g}", change)
    elif how.what == "datasets":
        for i, name in enumerate(listed(needed("datasets"))):
            yield arm(i, name.lower(), "donor_dataset", name, {"donors": {"datasets": [name]}})
    elif how.what == "hosts":
        for i, name in enumerate(listed(needed("datasets"))):
            yield arm(i, name.lower(), "dataset", name, {}, folder=f"{name}/", host_dataset=name, donor_dataset=name)
    else:
        number = 0
        for host in listed(whole.hosts.datasets):
            for donor in listed(whole.donors.datasets):
                if host == donor:
                    continue
                level = f"{host}_x_{donor}"
                yield arm(
                    number,
                    level.lower(),
                    "crossing",
                    level,
                    {},
                    folder=f"{level}/",
                    host_dataset=host,
                    donor_dataset=donor,
                )
                number += 1
