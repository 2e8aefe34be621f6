"""The first tables.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table. Times are microseconds since 1970 in BIGINT columns."""
    op.create_table(
        "items",
        sa.Column("kind", sa.String(40), primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_items_expires", "items", ["expires"])
    op.create_table(
        "locks",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
    )
    _sessions()
    op.create_table(
        "logouts",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("person", sa.String(80), nullable=False),
        sa.Column("sid", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(80), nullable=False),
        sa.Column("queued", sa.BigInteger, nullable=False),
        sa.Column("due", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
    )
    op.create_index("ix_logouts_due", "logouts", ["due"])
    op.create_table(
        "people",
        sa.Column("person", sa.String(80), primary_key=True),
        sa.Column("first_accreditation", sa.String(200), nullable=False),
        sa.Column("first_seen", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "proofs",
        sa.Column("person", sa.String(80), sa.ForeignKey("people.person", ondelete="CASCADE"), primary_key=True),
        sa.Column("accreditation", sa.String(200), primary_key=True),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("confirmed", sa.BigInteger, nullable=True),
        sa.Column("confirmed_by", sa.String(200), nullable=False),
    )
    op.create_table(
        "releases",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("person", sa.String(80), nullable=False),
        sa.Column("window", sa.String(40), nullable=False),
        sa.Column("attributes", sa.String(200), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_releases_person", "releases", ["person"])
    op.create_index("ix_releases_at", "releases", ["at"])


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("sid", sa.String(64), primary_key=True),
        sa.Column("secret", sa.String(64), nullable=False, unique=True),
        sa.Column("person", sa.String(80), nullable=False),
        sa.Column("capacity", sa.String(16), nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("way", sa.String(16), nullable=False),
        sa.Column("domain", sa.String(200), nullable=False),
        sa.Column("ca", sa.String(200), nullable=False),
        sa.Column("certificate_key", sa.String(200), nullable=False),
        sa.Column("auth_time", sa.BigInteger, nullable=False),
        sa.Column("checked_at", sa.BigInteger, nullable=False),
        sa.Column("status_issued_at", sa.BigInteger, nullable=True),
        sa.Column("rung", sa.String(16), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary, nullable=False),
        sa.Column("holder", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_sessions_person", "sessions", ["person"])
    op.create_index("ix_sessions_expires", "sessions", ["expires"])
    op.create_table(
        "session_subjects",
        sa.Column("sid", sa.String(64), sa.ForeignKey("sessions.sid", ondelete="CASCADE"), primary_key=True),
        sa.Column("sector", sa.String(40), primary_key=True),
        sa.Column("subject", sa.String(80), nullable=False),
    )
    op.create_index("ix_session_subjects_subject", "session_subjects", ["sector", "subject"])


def downgrade() -> None:
    """There is nothing before the first version."""
    raise NotImplementedError
