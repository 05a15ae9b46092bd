"""The published layout: writes it from the tables, and verifies one that was downloaded."""
