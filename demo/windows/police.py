"""The window of the public security bureau (公安): registered for name and identifiers.

`gunicorn demo.windows.police:app`; settings: the TOML file that `CROSSHALL_WINDOW_SETTINGS` names.
"""

from __future__ import annotations

from demo.windows._window import Department, Matter, from_environment

DEPARTMENT = Department(
    id="police",
    attributes=True,
    matters=(
        Matter("residence-permit", level=2),
        Matter("household-transfer", level=3, max_age=600),
        Matter("no-record-certificate", level=4),
    ),
)


def __getattr__(name: str) -> object:
    """`app` is made when it is asked for: importing this module needs no settings."""
    if name == "app":
        return from_environment(DEPARTMENT)
    raise AttributeError(name)
