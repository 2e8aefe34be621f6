"""Whole nodes, each in a network namespace of its own: what only a federation can show."""
