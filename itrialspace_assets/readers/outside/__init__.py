"""Readers that are programs of others: a container image, or a command of this machine. CT or slices in, JSON out."""
