"""The window of the department of ecology and environment (环保): registered for no attributes at all.

`gunicorn demo.windows.environment:app`; settings: the TOML file that `CROSSHALL_WINDOW_SETTINGS` names.
"""

from __future__ import annotations

from demo.windows._window import Department, Matter, from_environment

DEPARTMENT = Department(
    id="environment",
    attributes=False,
    matters=(
        Matter("noise-complaint", level=2),
        Matter("waste-transfer", level=3, max_age=600),
        Matter("discharge-permit", level=4),
    ),
)


def __getattr__(name: str) -> object:
    """`app` is made when it is asked for: importing this module needs no settings."""
    if name == "app":
        return from_environment(DEPARTMENT)
    raise AttributeError(name)
