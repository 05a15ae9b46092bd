"""iTrialSpace on Dagster: declare a virtual lesion trial in lung CT, materialize it, report it.

Imports run downwards: the roof (cli, drive, locations, definitions, graph) knows every stage; a stage (catalog,
release, analysis, readers, slices, synthesis, insertion, trials, index, hosts, intake, profiles) knows the stages
before it; support rooms (orchestration, resources, casework, records, imaging, base) know no stage.
"""

__version__ = "0.2.0"
