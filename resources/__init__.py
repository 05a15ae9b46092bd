"""What assets are given by Dagster: settings, and how results become metadata. No domain logic."""
