"""The tables, as code sees them. The migrations make them; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UtcTime(sa.types.TypeDecorator[datetime]):
    """An aware UTC time, kept as whole microseconds since 1970: the same, and the same order, on every database."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:  # noqa: ARG002
        """Python to database."""
        return None if value is None else (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        """Database to Python."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


metadata = sa.MetaData()

items = sa.Table(
    "items",
    metadata,
    sa.Column("kind", sa.String(40), primary_key=True),
    sa.Column("key", sa.String(64), primary_key=True, comment="SHA-256 of the key in hexadecimal"),
    sa.Column("value", sa.LargeBinary, nullable=False, comment="sealed JSON"),
    sa.Column("expires", UtcTime, nullable=False, index=True),
)

locks = sa.Table(
    "locks",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("token", sa.BigInteger, nullable=False, comment="only ever grows: the fencing token"),
    sa.Column("expires", UtcTime, nullable=False),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("sid", sa.String(64), primary_key=True),
    sa.Column("secret", sa.String(64), nullable=False, unique=True, comment="SHA-256 of the cookie"),
    sa.Column("person", sa.String(80), nullable=False, index=True),
    sa.Column("capacity", sa.String(16), nullable=False),
    sa.Column("level", sa.Integer, nullable=False),
    sa.Column("way", sa.String(16), nullable=False),
    sa.Column("domain", sa.String(200), nullable=False),
    sa.Column("ca", sa.String(200), nullable=False),
    sa.Column("certificate_key", sa.String(200), nullable=False),
    sa.Column("auth_time", UtcTime, nullable=False),
    sa.Column("checked_at", UtcTime, nullable=False),
    sa.Column("status_issued_at", UtcTime, nullable=True),
    sa.Column("rung", sa.String(16), nullable=False),
    sa.Column("snapshot", sa.String(64), nullable=False, comment="hash of the snapshot that judged it last"),
    sa.Column("created", UtcTime, nullable=False),
    sa.Column("expires", UtcTime, nullable=False, index=True),
    sa.Column("wrapped_key", sa.LargeBinary, nullable=False, comment="the session's data key, sealed"),
    sa.Column("holder", sa.LargeBinary, nullable=False, comment="leaf and identity, sealed under the data key"),
)

session_subjects = sa.Table(
    "session_subjects",
    metadata,
    sa.Column("sid", sa.String(64), sa.ForeignKey("sessions.sid", ondelete="CASCADE"), primary_key=True),
    sa.Column("sector", sa.String(40), primary_key=True),
    sa.Column("subject", sa.String(80), nullable=False),
    sa.Index("ix_session_subjects_subject", "sector", "subject"),
)

logouts = sa.Table(
    "logouts",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("person", sa.String(80), nullable=False),
    sa.Column("sid", sa.String(64), nullable=False, comment="empty: all of the person's sessions"),
    sa.Column("reason", sa.String(80), nullable=False),
    sa.Column("queued", UtcTime, nullable=False),
    sa.Column("due", UtcTime, nullable=False, index=True),
    sa.Column("attempts", sa.Integer, nullable=False),
)

people = sa.Table(
    "people",
    metadata,
    sa.Column("person", sa.String(80), primary_key=True),
    sa.Column("first_accreditation", sa.String(200), nullable=False),
    sa.Column("first_seen", UtcTime, nullable=False),
)

proofs = sa.Table(
    "proofs",
    metadata,
    sa.Column("person", sa.String(80), sa.ForeignKey("people.person", ondelete="CASCADE"), primary_key=True),
    sa.Column("accreditation", sa.String(200), primary_key=True),
    sa.Column("since", UtcTime, nullable=False),
    sa.Column("confirmed", UtcTime, nullable=True, comment="absent: held"),
    sa.Column("confirmed_by", sa.String(200), nullable=False),
)

releases = sa.Table(
    "releases",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("person", sa.String(80), nullable=False, index=True),
    sa.Column("window", sa.String(40), nullable=False),
    sa.Column("attributes", sa.String(200), nullable=False),
    sa.Column("at", UtcTime, nullable=False, index=True),
)

links = sa.Table(
    "links",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column(
        "side", sa.String(8), nullable=False, comment="given: evidence of a session here; taken: a session by it"
    ),
    sa.Column("node", sa.String(128), nullable=False, comment="the other hall's"),
    sa.Column("handle", sa.String(64), nullable=False, comment="SHA-256 of what both halls call the link"),
    sa.Column("sid", sa.String(64), nullable=False, index=True),
    sa.Column("certificate_key", sa.String(200), nullable=False),
    sa.Column("level", sa.Integer, nullable=False),
    sa.Column("auth_time", UtcTime, nullable=False),
    sa.Column("at", UtcTime, nullable=False, index=True),
    sa.Column("ended", UtcTime, nullable=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False, comment="the handle, and the evidence that was taken"),
    sa.Index("ix_links_handle", "side", "node", "handle", unique=True),
)

hall_logouts = sa.Table(
    "hall_logouts",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("node", sa.String(128), nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False, comment="the handle"),
    sa.Column("queued", UtcTime, nullable=False),
    sa.Column("due", UtcTime, nullable=False, index=True),
    sa.Column("attempts", sa.Integer, nullable=False),
)
