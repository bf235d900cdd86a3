"""Families: distributions of one label, each with its links, its loss and what metrics count."""
