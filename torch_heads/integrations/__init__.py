"""Adapters to other libraries, each in a file of its own, each behind an extra."""
