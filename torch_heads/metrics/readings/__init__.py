"""Readings: the named metrics, each a formula over what a tally summed."""
