"""The demo federation's certificates: built once into a cache, made fresh for each run.

    federation.toml, personas.toml, bundle/  ──build──▶  ~/.cache/crosshall/demo-<hash>/  ──materialise──▶  a run

`build` makes every key and certificate; `materialise` copies what a run needs, signs new CRLs, the origins list and a
TLS server certificate for the run's host names; `revoke` and `renew` change a run that is going on, `bundle.json` last.
"""

from demo.pki.cache import build
from demo.pki.run import DemoRun, materialise, renew, revoke

__all__ = ["DemoRun", "build", "materialise", "renew", "revoke"]
