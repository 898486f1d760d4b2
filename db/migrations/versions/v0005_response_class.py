"""Which kind of response a judge saw"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("verdicts", schema=None) as verdicts:
        verdicts.add_column(sa.Column("response_class", sa.String(length=16), nullable=True))
