"""The operator's log: one JSON object a line on standard error, with the request's number, and never who it was."""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog
from flask import g, has_request_context

_OURS = structlog.stdlib.ExtraAdder()


def configure(level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send the standard library's and structlog's records the same way: to `stream`, standard error when None."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _request_id,
    ]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _OURS],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _place_only,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for chatty in ("authlib", "urllib3", "alembic", "sqlalchemy", "limits"):
        # below WARNING these write tokens, addresses and values
        logging.getLogger(chatty).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        # not cached: a logger that was used before would keep the configuration of that time
        cache_logger_on_first_use=False,
    )


def _request_id(_logger: Any, _method: str, event: Any) -> Any:
    if has_request_context() and "request_id" not in event:
        event["request_id"] = g.get("request_id", "")
    return event


def _place_only(_logger: Any, _method: str, event: Any) -> Any:
    """An exception as kind and place: its text, and the values in its frames, may name a person."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if isinstance(info, tuple) and info[0] is not None:
        where = info[2]
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        event["exception"] = info[0].__name__
        event["place"] = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where is not None else ""
    event.pop("stack_info", None)
    return event
