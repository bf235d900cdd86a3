"""Tallies, the readings of them, and the collection."""
