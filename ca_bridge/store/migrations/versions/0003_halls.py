"""Sign-ins that went to or came from another hall, and sign-outs still to be told there.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Times are whole microseconds since 1970 (`tables.UtcTime`)."""
    op.create_table(
        "links",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("side", sa.String(8), nullable=False),
        sa.Column("node", sa.String(128), nullable=False),
        sa.Column("handle", sa.String(64), nullable=False),
        sa.Column("sid", sa.String(64), nullable=False),
        sa.Column("certificate_key", sa.String(200), nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("auth_time", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("ended", sa.BigInteger, nullable=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_links_handle", "links", ["side", "node", "handle"], unique=True)
    op.create_index("ix_links_sid", "links", ["sid"])
    op.create_index("ix_links_at", "links", ["at"])
    op.create_table(
        "hall_logouts",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("node", sa.String(128), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("queued", sa.BigInteger, nullable=False),
        sa.Column("due", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
    )
    op.create_index("ix_hall_logouts_due", "hall_logouts", ["due"])


def downgrade() -> None:
    """Forget them."""
    op.drop_table("hall_logouts")
    op.drop_table("links")
