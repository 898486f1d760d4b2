"""What a proposal cost, in USD"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("proposals", schema=None) as proposals:
        proposals.add_column(sa.Column("cost_usd", sa.Double(), nullable=True))
