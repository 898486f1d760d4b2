"""What people said, found among millions of verdicts and decisions"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, column in (("verdicts", "judge"), ("gate_decisions", "gate")):
        of_people = sa.text(f"substr({column}, 1, 6) = 'human:'")
        op.create_index(
            f"ix_{table}_people",
            table,
            [column],
            sqlite_where=of_people,
            postgresql_where=of_people,
        )
