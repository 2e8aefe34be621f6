"""`python -m bench [K]`: run the measurements whose name contains K (all without)."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main() -> int:
    """Run each `bench/<name>.py` whose name contains the argument; exit code 2 when none does."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    names = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))
    chosen = [name for name in names if wanted in name]
    if not chosen:
        print(f"no measurement is called {wanted!r}; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    for module in [importlib.import_module(f"bench.{name}") for name in chosen]:
        if hasattr(module, "run"):  # the others are parts of measurements
            module.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
