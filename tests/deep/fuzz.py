"""Coverage-guided fuzzing of one parser by atheris: `python -m tests.deep.fuzz TARGET CORPUS… [libFuzzer's options]`.

Ends with libFuzzer's figures (`-print_final_stats=1`), or with the input that broke the target.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["ca_bridge"]):
    from tests.deep.targets import TARGETS


def main() -> None:
    """Fuzz the target that the first argument names."""
    name = sys.argv.pop(1)
    atheris.Setup([*sys.argv, "-print_final_stats=1", "-max_len=4096"], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
