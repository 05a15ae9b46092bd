"""Schedules, and the sensors that follow later."""
