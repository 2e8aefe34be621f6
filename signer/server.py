"""The signer's own small server: 127.0.0.1 only, stops at SIGTERM, runs where USB tokens are used (Windows too)."""

from __future__ import annotations

import signal
import socket
import threading
from types import FrameType
from typing import Any

import structlog
from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from ca_bridge.errors import ConfigError
from signer.settings import SignerSettings
from signer.wallet import open_wallet
from signer.web import create_app

HOST = "127.0.0.1"
_log = structlog.get_logger("signer")
_MAX_BODY_SECONDS = 10


class _Handler(WSGIRequestHandler):
    """A caller that does not go on is dropped; addresses, which hold request ids, are not logged."""

    timeout = _MAX_BODY_SECONDS

    def version_string(self) -> str:
        """No versions: pages that guess at software learn nothing."""
        return "crosshall-signer"

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        """Nothing: the application logs what matters, without ids."""


def make(app: Flask, port: int) -> BaseWSGIServer:
    """A server for `app` on 127.0.0.1; port 0 takes a free one. Raises ConfigError `run.port_taken`."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise ConfigError("run.port_taken", f"{HOST}:{port}: {error.strerror}") from error
        listener.listen(64)
        return make_server(
            HOST, listener.getsockname()[1], app, threaded=True, request_handler=_Handler, fd=listener.detach()
        )


def serve(settings: SignerSettings) -> None:
    """Run the signer until SIGTERM or Ctrl-C.

    Raises ConfigError `run.port_taken`; SignerError `signer.module`, `signer.origins`.
    """
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        logger_factory=structlog.PrintLoggerFactory(),
    )
    server = make(create_app(settings, open_wallet(settings)), settings.port)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        # `shutdown` waits for the loop, which this handler interrupts: it must come from another thread.
        threading.Thread(target=server.shutdown, daemon=True).start()

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)
    _log.info("signer.ready", address=settings.origin)
    with server:
        server.serve_forever()
