"""`lint`: what is wrong with a bundle, before a person at a window finds out.

    lint_paths   CAs no path reaches, constraints that shut one out, mappings and levels that lead nowhere
    lint_tables  weak keys, dates, names, profiles, lists, denials
    lint_status  CRLs

A bundle that compiles is never refused for its findings: some are meant (a CA prepared for later).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ca_bridge.errors import CrosshallError
from ca_bridge.trust.bundle import read_bundle
from ca_bridge.verdict import lint_paths, lint_status, lint_tables
from ca_bridge.verdict.lint_paths import Paths
from ca_bridge.verdict.lint_rules import RULES, Finding
from ca_bridge.verdict.snapshot import Snapshot, compile_bundle

__all__ = ["RULES", "Finding", "Wishes", "lint", "lint_folder"]


@dataclass(frozen=True, slots=True)
class Wishes:
    """How much time must be left: of CA certificates and list entries; of CRLs (None: a quarter of their time)."""

    left: timedelta = timedelta(days=90)
    crl_left: timedelta | None = None


DEFAULT = Wishes()


def lint(snapshot: Snapshot, now: datetime, wishes: Wishes = DEFAULT) -> tuple[Finding, ...]:
    """Everything that is wrong with a compiled bundle at `now` (aware), errors first; empty when it is clean."""
    paths = Paths(snapshot)
    found = {
        *lint_paths.findings(paths),
        *lint_tables.findings(paths, now, wishes.left),
        *lint_status.findings(snapshot, now, wishes.crl_left),
    }
    return tuple(sorted(found, key=lambda f: (f.severity, f.code, f.subject, f.detail)))


def lint_folder(folder: Path, now: datetime, wishes: Wishes = DEFAULT) -> tuple[Finding, ...]:
    """`lint` of the bundle in `folder`; one that cannot be read is one finding, `lint.unreadable`. Never raises."""
    try:
        snapshot = compile_bundle(read_bundle(folder))
    except CrosshallError as error:
        return (Finding("lint.unreadable", str(folder), str(error)),)
    return lint(snapshot, now, wishes)
