"""Counters: what a tally adds up, one state each, for the columns whose readings need it."""
