"""iTrialSpace on Dagster: declare a virtual lesion trial in lung CT, materialise it, report it.

One package per stage, in the order that data flows: profiles, index, hosts, trials, insertion,
synthesis, slices, readers, analysis, catalog, explorer. A stage imports from stages before it and
from the root modules, never from a later one. Domain modules never import dagster.
"""

__version__ = "0.1.0"
