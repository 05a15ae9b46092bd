"""What every other package stands on: errors, settings, files of YAML, seeds, fingerprints, locks, logs."""
