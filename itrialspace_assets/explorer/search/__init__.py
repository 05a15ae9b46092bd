"""Answers about nodules as frames and counts. Knows no server."""
