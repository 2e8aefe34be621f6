"""How gunicorn runs the bridge and the demo's windows. Bind address, workers and threads are given on the command line.

Behind nginx on a unix socket; threads, because a request waits for the database or for Keycloak, never for long work.
"""

import os
from typing import Any

from prometheus_client import multiprocess

worker_class = "gthread"
threads = 8
timeout = 30
graceful_timeout = 10
keepalive = 75
# a client certificate arrives in one header: RSA-4096 with private extensions, URL-encoded, is about 6 kB
limit_request_field_size = 32768
limit_request_line = 8190
limit_request_fields = 60
# request lines hold transaction ids: the application writes its own line for each request, without them
accesslog = None
errorlog = "-"
loglevel = "warning"
# only nginx, running as the same user or as root, may speak to the socket
umask = 0o077


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 - gunicorn's signature
    """What a worker that ended told of itself alone counts no more; its counters stay."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
