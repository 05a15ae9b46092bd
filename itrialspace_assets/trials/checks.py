"""Checks of the stage ``trials``."""

import dagster as dg
import polars as pl

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.orchestration.check_factory import REGISTRY, Check, CheckOutcome, checks_of, listing
from itrialspace_assets.orchestration.nodes import Graph, Node
from itrialspace_assets.orchestration.partitions import Partitions
from itrialspace_assets.records.store import read_table
from itrialspace_assets.trials import build
from itrialspace_assets.trials.files import load_trial
from itrialspace_assets.trials.resolve import resolve
from itrialspace_assets.trials.verify import INDEX_COLUMNS, broken_rules, far_from_asked


def manifest(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """The finished manifest against the rules of a manifest, as its own record says that it was planned."""
    row = read_table(settings.output, "trials", **partition).row(0, named=True)
    overrides = [o for o in row["overrides"].split(";") if o]
    nodules = read_table(settings.output, "nodules", ["dataset", *INDEX_COLUMNS])
    names = nodules["dataset"].unique().sort().to_list()
    resolved = resolve(load_trial(settings, partition["mode"]), row["size"], overrides, names)
    arms, cases, plan = (read_table(settings.output, t, **partition) for t in ("arms", "cases", "case_nodules"))
    problems = broken_rules(resolved, arms, cases, plan, nodules)
    return not problems, {"cases": cases.height, "problems": listing(problems)}


def near_asked(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """Marginals met by quota against their shares; effective numbers beside them."""
    far = far_from_asked(read_table(settings.output, "balance", **partition))
    arms = read_table(settings.output, "arms", **partition)
    reuse = [
        f"{r['arm']}: {r['donors_effective']:.1f} effective donors, {r['hosts_effective']:.1f} effective host people"
        for r in arms.iter_rows(named=True)
    ]
    return not far, {"far": listing(far), "effective": listing(reuse)}


def feasible(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """Arms that are infeasible as asked, with the most cases that are feasible."""
    cases = read_table(settings.output, "feasibility", **partition).filter(
        (pl.col("of") == "cases") & pl.col("binding")
    )
    return cases.is_empty(), {
        "short": listing(
            [f"{r['arm']}: {r['left']} of {r['needed']}: {r['constraint']}" for r in cases.iter_rows(named=True)]
        )
    }


MANIFEST = Check(
    "manifest", "Labels, persons, counts, reuse, strata and exclusions are as the trial says.", manifest, blocking=True
)
BALANCE = Check(
    "balance", "Marginals met by quota lie within one and a half cases of their share.", near_asked, warns=True
)
FEASIBLE = Check("feasible", "Every arm is feasible as asked.", feasible, warns=True)


def checks(graph: Graph, partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Registry rules, the rules of a manifest, its balance; and whether a trial is feasible."""
    rules = {build.STEP.key: [REGISTRY, MANIFEST, BALANCE], build.FEASIBILITY.key: [REGISTRY, FEASIBLE]}
    return [checks_of(n, partitions, rules[n.step.key]) for n in graph.nodes if n.step.key in rules]
