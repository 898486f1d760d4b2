"""Runs that evaluate a data set; on which surface and by which first-token rule a target is asked"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # In plain SQL, which both databases know: adding a check to a table of SQLite makes it anew.
    op.execute(
        "ALTER TABLE runs ADD COLUMN kind VARCHAR(16) DEFAULT 'search' NOT NULL "
        "CONSTRAINT ck_runs_kind CHECK (kind IN ('search', 'evaluate'))"
    )
    op.add_column(
        "targets",
        sa.Column("surface", sa.String(length=64), server_default="chat", nullable=False),
    )
    op.add_column("targets", sa.Column("first_token", sa.Text(), nullable=True))
