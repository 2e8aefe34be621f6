"""Certification paths: the fold of RFC 5280 §6.1 (`validate`), policies, name constraints, budgets, `build`."""
