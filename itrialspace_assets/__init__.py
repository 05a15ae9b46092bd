"""iTrialSpace on Dagster: declare a virtual lesion trial in lung CT, materialize it, report it.

Imports run downwards: the roof (cli, api, care, drive, diagnosis, runner, locations, definitions, graph, demo) knows
every stage; a stage (explorer, catalog, release, analysis, readers, slices, synthesis, insertion, trials, index, hosts,
intake, profiles) knows the stages before it; support packages (sensors, orchestration, sql, resources, casework,
records, imaging, base) know no stage.
"""

__version__ = "0.2.0"
