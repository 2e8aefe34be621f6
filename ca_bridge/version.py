"""The version of this software: part of the code that runs, whatever the environment around it says is installed.

Two versions may run out of one environment (a checkout on `PYTHONPATH`), so its metadata would name only one of them.
Both distributions are built with this number (`pyproject.toml`).
"""

VERSION = "0.2.0"
