"""What every other room stands on: errors, settings, validation, seeds, fingerprints. Imports no other room."""
