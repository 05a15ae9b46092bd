"""What a study asks for that this installation or its settings do not give. Nothing is run."""

from itrialspace_assets.analysis.protocol.model import Study
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.readers.registry import entries_of, readers
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.tables import PICTURE_CONTROLS
from itrialspace_assets.synthesis.renderers import enabled
from itrialspace_assets.trials.files import mode_keys


def missing(settings: Settings, study: Study) -> list[str]:
    """A line for each thing that the study names and that is not there or not enabled, with what to do."""
    of, known, on = study.populations, entries_of(settings), readers(settings)
    own = [r for r in (study.primary.reader, study.primary.against) if r is not None]
    wanted = own if of.readers == "all" else [*of.readers, *own]
    found = [
        f"reader {name}: {'not enabled' if name in known else 'unknown'}; enable it in your file of "
        "ITRIALSPACE_READERS_CONFIG"
        for name in dict.fromkeys(wanted)
        if name not in on
    ]
    sources = {REAL, *(r.name for r in enabled(settings))}
    found += [
        f"source {name}: not enabled; name it in ITRIALSPACE_RENDERERS"
        for name in ([] if of.sources == "all" else of.sources)
        if name not in sources
    ]
    modes = set(mode_keys(settings))
    found += [
        f"mode {name}: no such trial file; set ITRIALSPACE_TRIALS_DIR to the folder that holds it"
        for name in ([] if of.modes == "all" else of.modes)
        if name not in modes
    ]
    found += [
        f"dataset {name}: unknown; register it in datasets.yaml"
        for name in ([] if of.datasets == "all" else of.datasets)
        if name not in datasets(settings)
    ]
    drawn = {word.strip() for word in settings.conditions.split(",")}
    asked = {study.primary.condition, *(c for s in study.secondary for c in s.conditions)}
    found += [f"condition {name}: not drawn; name it in ITRIALSPACE_CONDITIONS" for name in sorted(asked - drawn)]
    shown = {word.strip() for word in settings.controls.split(",")}
    taking = [on[name] for name in (on if of.readers == "all" else of.readers) if name in on]
    for control in study.controls:
        if control in PICTURE_CONTROLS and control not in shown:
            found.append(f"control {control}: not drawn; name it in ITRIALSPACE_CONTROLS")
        elif control not in PICTURE_CONTROLS and (lacking := [r.name for r in taking if control not in r.controls]):
            found.append(f"control {control}: not asked of {', '.join(lacking)}; add it to `controls` of the reader")
    return found
