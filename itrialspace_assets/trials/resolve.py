"""Resolves a trial: its file, a run size, each arm and a run's overrides become the cohorts that are planned.

Each is laid over the one before, and the result is checked as a whole: a wrong key or value is refused with its path
and the nearest known key. Reads no file and no data.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.plain_yaml import NotPlain, load_yaml
from itrialspace_assets.base.validation import explain
from itrialspace_assets.trials.model import ArmsFrom, Cohort, Trial
from itrialspace_assets.trials.quotas import quota_sequence


@dataclass(frozen=True)
class PlannedArm:
    """An arm as it will be planned.

    Attributes:
        name: the arm's name.
        published: file stem in the published layout.
        folder: folder below the mode in the published layout; empty or ending in /.
        varies: the factor that the arm sets.
        level: its level of that factor.
        cohort: the trial's cohort with run size, arm and overrides laid over.
        number: 0-based place among the arms.
        cases: how many cases; of a sampled trial.
        host_dataset: where its hosts are from; of a twin trial.
        donor_dataset: where its donors are from; of a twin trial.
    """

    name: str
    published: str
    folder: str
    varies: str
    level: str
    cohort: Cohort
    number: int
    cases: int | None = None
    host_dataset: str | None = None
    donor_dataset: str | None = None


@dataclass(frozen=True)
class Resolved:
    """A trial at one run size (``demo`` or ``paper``) with a run's overrides: all that planning reads of a file.

    ``trial`` holds what the run sets of ``twin``, ``arms_from`` and ``arms``; ``cohort`` and ``arms`` what it sets of
    the cohort.
    """

    trial: Trial
    size: str
    overrides: tuple[str, ...]
    cohort: Cohort
    arms: tuple[PlannedArm, ...]


#: Stem of a file of a made arm, whose level may be a number.
_FILE_STEM = re.compile(r"[A-Za-z0-9_.+-]{1,150}")
#: Keys that exclude each other.
_EITHER = (frozenset({"value", "by_size"}),)


def lay_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` with ``above`` laid over it, key by key; shares of a distribution are replaced whole.

    Of two keys that exclude each other (a prevalence as one value, or by size), the one in ``above`` stays.
    """
    out = {k: v for k, v in below.items() if not any(k in pair and pair - {k} & above.keys() for pair in _EITHER)}
    for key, value in above.items():
        deep = isinstance(value, Mapping) and isinstance(out.get(key), Mapping) and key not in ("sizes", "lobes")
        out[key] = lay_over(out[key], value) if deep else value
    return out


#: What ``--set`` may reach: the cohort, how twins are paired, how arms are made, one listed arm.
_SETTABLE = ("cohort", "twin", "arms_from", "arms")


def read_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """``cohort.n_cases=1000``, ``twin.pairing=crossed`` and the like as a partial trial; values are YAML.

    Below ``arms`` the next key is the name of an arm.

    Raises:
        ConfigError: no ``path=value``, or a path that cannot be set.
    """
    out: dict[str, Any] = {}
    for text in texts:
        path, mark, value = text.partition("=")
        keys = path.strip().split(".")
        if not mark or keys[0] not in _SETTABLE or len(keys) < (3 if keys[0] == "arms" else 2):
            raise ConfigError(
                f"--set {text!r}: expected cohort.<field>=<value>, for example cohort.n_cases=1000; or "
                "twin.<field>, arms_from.<field>, arms.<name>.<field>"
            )
        try:
            found = load_yaml(value)
        except NotPlain as error:
            raise ConfigError(f"--set {text!r}: expected a YAML value, got {error}") from None
        at: dict[str, Any] = {keys[-1]: found}
        for key in reversed(keys[:-1]):
            at = {key: at}
        out = lay_over(out, at)
    return out


def _overridden(trial: Trial, late: Mapping[str, Any]) -> Trial:
    """A trial with what a run sets of it beside its cohort laid over, checked as a whole.

    Raises:
        ConfigError: the trial has no such part, or the result is wrong; names the path.
    """
    if not late:
        return trial
    content = trial.model_dump(exclude_unset=True)
    for part in ("twin", "arms_from"):
        if part in late and content.get(part) is None:
            path = f"{part}.{next(iter(late[part]))}"
            raise ConfigError(f"{trial.trial}: --set {path}: means nothing here: it has no {part}")
    names = [arm.name for arm in trial.arms]
    for name in late.get("arms", {}):
        if name not in names:
            raise ConfigError(
                f"{trial.trial}: --set arms.{name}: expected one of its listed arms, "
                f"{', '.join(names) or 'of which it has none'}"
            )
    arms = late.get("arms", {})
    changed = {part: late[part] for part in ("twin", "arms_from") if part in late}
    if arms:
        changed["arms"] = [lay_over(arm, arms.get(arm["name"], {})) for arm in content["arms"]]
    try:
        return Trial.model_validate(lay_over(content, changed))
    except ValidationError as error:
        raise ConfigError(f"{trial.trial}: {explain(error, Trial)}") from None


def resolve(trial: Trial, size: str, overrides: Sequence[str] = (), known: Sequence[str] = ()) -> Resolved:
    """The cohorts of a trial at a run size.

    Args:
        trial: the trial file.
        size: run size, ``demo`` or ``paper``.
        overrides: ``cohort.<field>=<value>`` of this run, or of ``twin``, ``arms_from`` and ``arms.<name>``.
        known: registered datasets; ``all`` stands for them in arms.

    Raises:
        ConfigError: the size is not in the file, or a combination is wrong; names the path.
    """
    if size not in trial.sizes:
        raise ConfigError(f"{trial.trial}: size {size!r}: expected one of {', '.join(trial.sizes)}")
    given = read_overrides(overrides)
    late = given.pop("cohort", {})
    trial = _overridden(trial, given)
    base = trial.cohort.model_dump(exclude_unset=True)
    base = lay_over(base, trial.sizes[size])
    whole = _cohort(trial, lay_over(base, late), f"sizes.{size}")
    layers = _Layers(trial, base, late, whole)
    arms = tuple(_listed(layers) if trial.arms else _made(layers, known))
    if len({a.name for a in arms}) != len(arms):
        raise ConfigError(f"{trial.trial}: arms: expected unique names, got {', '.join(a.name for a in arms)}")
    files = [a.folder + a.published for a in arms]
    if len(set(files)) != len(files):
        where = "arms_from.published: expected {level} or {number} in it" if trial.arms_from else "arms.published"
        raise ConfigError(f"{trial.trial}: {where}: expected a file of its own for each arm, got {', '.join(files)}")
    for arm in arms:
        if trial.planner == "sampled" and arm.cases is None:
            raise ConfigError(f"{trial.trial}: sizes.{size}.n_cases: a sampled trial needs it")
    return Resolved(trial, size, tuple(overrides), whole, arms)


def refuse_unknown_names(resolved: Resolved, known: Sequence[str], sites: Sequence[str]) -> None:
    """Refuse a trial that names what is not there: a misspelt dataset that is to be left out would be left in.

    Args:
        resolved: the trial.
        known: registered datasets.
        sites: names of the sites.

    Raises:
        ConfigError: names arm, key, word and the nearest one.
    """
    for arm in resolved.arms:
        cohort, where = arm.cohort, f"{resolved.trial.trial}: arm {arm.name}"
        named = {
            "hosts.datasets": cohort.hosts.datasets,
            "hosts.exclude": cohort.hosts.exclude,
            "donors.datasets": cohort.donors.datasets,
            "donors.exclude": cohort.donors.exclude,
            "exclude_training": cohort.exclude_training,
            "datasets": cohort.datasets,
        }
        for key, names in named.items():
            for name in names if isinstance(names, list) else ():
                if name not in known:
                    raise ConfigError(f"{where}: {key}: {_expected('registered datasets', name, known)}")
        if cohort.site is not None and cohort.site not in sites:
            raise ConfigError(f"{where}: site: {_expected('sites', cohort.site, sites)}")


def _expected(what: str, got: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(got, known, 1)
    hint = f"; did you mean {near[0]!r}" if near else ""
    return f"expected one of the {what} {', '.join(known)}, got {got!r}{hint}"


@dataclass(frozen=True)
class _Layers:
    """What an arm's cohort is laid together from: ``base`` below the arm (trial and run size), ``late`` above it (the
    run's overrides); ``whole`` is both without an arm."""

    trial: Trial
    base: dict[str, Any]
    late: dict[str, Any]
    whole: Cohort

    def cohort(self, arm: Mapping[str, Any], where: str) -> Cohort:
        return _cohort(self.trial, lay_over(lay_over(self.base, arm), self.late), where)


def _cohort(trial: Trial, content: Mapping[str, Any], where: str) -> Cohort:
    try:
        return Cohort.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{trial.trial}: {where}: {explain(error, Cohort)}") from None


def _listed(layers: _Layers) -> Iterable[PlannedArm]:
    """The arms that a trial lists."""
    listed = layers.trial.arms
    counts = _split([a.share for a in listed], layers.whole.n_cases) if listed[0].share else None
    for number, arm in enumerate(listed):
        cohort = layers.cohort(arm.cohort, f"arms.{number}.cohort")
        cases = counts[number] if counts else cohort.n_cases
        yield PlannedArm(arm.name, arm.published, "", arm.varies, arm.level, cohort, number, cases)


def _split(shares: Sequence[float | None], total: int | None) -> list[int]:
    """Cases of each arm, by the arms' shares."""
    sequence = quota_sequence([s or 0.0 for s in shares], total or 0)
    return [int((sequence == i).sum()) for i in range(len(shares))]


@dataclass(frozen=True)
class _MadeArm:
    """An arm of ``arms_from``: what it is called, and the part of the cohort that it sets."""

    name: str
    varies: str
    level: str
    change: dict[str, Any]
    host_dataset: str | None = None
    donor_dataset: str | None = None


def _made(layers: _Layers, known: Sequence[str]) -> Iterable[PlannedArm]:
    """The arms that a trial makes by ``arms_from``."""
    trial, how = layers.trial, layers.trial.arms_from
    assert how is not None
    for number, arm in enumerate(_kinds(layers, how, known)):
        cohort = layers.cohort(arm.change, f"arms_from ({arm.level})")
        filled = {"{trial}": trial.trial, "{level}": arm.level, "{number}": str(number)}
        published = "".join(filled.get(part, part) for part in re.split(r"(\{\w+\})", how.published))
        if not _FILE_STEM.fullmatch(published):
            raise ConfigError(
                f"{trial.trial}: arms_from.published: expected letters, digits, _, ., - and {', '.join(filled)}, got "
                f"{how.published!r}, which becomes {published!r}"
            )
        yield PlannedArm(
            name=arm.name,
            published=published,
            folder=f"{arm.level}/" if arm.host_dataset else "",
            varies=arm.varies,
            level=arm.level,
            cohort=cohort,
            number=number,
            cases=cohort.n_cases,
            host_dataset=arm.host_dataset,
            donor_dataset=arm.donor_dataset,
        )


def _kinds(layers: _Layers, how: ArmsFrom, known: Sequence[str]) -> Iterable[_MadeArm]:
    trial, whole = layers.trial, layers.whole

    def needed(field: str) -> Any:
        if (value := getattr(whole, field)) is None:
            raise ConfigError(f"{trial.trial}: arms_from {how.what}: expected {field} in the cohort or the size")
        return value

    def listed(given: list[str] | str | None) -> list[str]:
        return list(known) if given in (None, "all") else list(given or [])

    if how.what == "replicates":
        for i in range(needed("n_bootstrap")):
            yield _MadeArm(f"boot{i:03d}", "replicate", f"{i:03d}", {})
    elif how.what == "rounds":
        first = whole.prevalence
        if first is None or first.value is None:
            raise ConfigError(f"{trial.trial}: arms_from rounds: expected prevalence.value in the cohort")
        for i in range(needed("n_rounds")):
            value = round(first.value * how.decay**i, 10)
            yield _MadeArm(f"round{i + 1}", "round", str(i + 1), {"prevalence": {"value": value}})
    elif how.what == "vary":
        for value in needed("values"):
            change: dict[str, Any] = {}
            for key in reversed(str(how.vary).split(".")):
                change = {key: change or value}
            name = "v" + f"{value:g}".replace(".", "_").replace("-", "m")
            yield _MadeArm(name, str(how.vary), f"{value:g}", change)
    elif how.what == "datasets":
        for name in listed(needed("datasets")):
            yield _MadeArm(name.lower(), "donor_dataset", name, {"donors": {"datasets": [name]}})
    elif how.what == "hosts":
        for name in listed(needed("datasets")):
            yield _MadeArm(name.lower(), "dataset", name, {}, host_dataset=name, donor_dataset=name)
    else:
        for host in listed(whole.hosts.datasets):
            for donor in listed(whole.donors.datasets):
                if host != donor:
                    level = f"{host}_x_{donor}"
                    yield _MadeArm(level.lower(), "crossing", level, {}, host_dataset=host, donor_dataset=donor)
