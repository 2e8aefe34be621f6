"""Verdicts: a bundle compiled into a snapshot, the path engine and the trust-list engine, batch (design §3, §4)."""
