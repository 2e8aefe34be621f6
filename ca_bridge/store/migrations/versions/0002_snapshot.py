"""Which snapshot judged a session's certificate last: the watcher asks for those that another one judged.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Sessions of before have no known snapshot: they are judged again at once."""
    op.add_column("sessions", sa.Column("snapshot", sa.String(64), nullable=False, server_default=""))


def downgrade() -> None:
    """Forget it."""
    op.drop_column("sessions", "snapshot")
